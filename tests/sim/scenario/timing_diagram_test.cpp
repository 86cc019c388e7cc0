// SPDX-License-Identifier: Apache-2.0
#include "sluice/scenario/timing_diagram.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace sluice::inline device {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TimingDiagram, ShowsLevelsLabelsAndOnlyWhatMoves) {
  std::array<CyclePins, 4> cycles;
  for (std::uint64_t cycle = 0; cycle < cycles.size(); ++cycle) {
    cycles[cycle].cycle = 100 + cycle;
    cycles[cycle].data.awready = true;
  }
  cycles[1].data.awvalid = cycles[2].data.awvalid = true;
  cycles[1].data.awaddr = 0x1'0000'1040;
  cycles[2].data.awaddr = 0x1'0000'2000;
  cycles[3].data.bvalid = true;
  cycles[3].data.bresp = 2;
  cycles[0].register_write = cycles[3].register_write = true;
  cycles[0].register_address = 0x80C;
  cycles[3].register_address = 0x8C4;
  const std::string text = timing_diagram(cycles, "a title");
  EXPECT_THAT(text, HasSubstr(R"({"name": "ap_clk", "wave": "p..."})"));
  EXPECT_THAT(text, HasSubstr(R"({"name": "register write", "wave": "=x.=", "data": ["TAIL", "SLOT1"]})"));
  EXPECT_THAT(text, HasSubstr(R"({"name": "AWVALID", "wave": "01.0"})"));
  EXPECT_THAT(text, HasSubstr(R"({"name": "AWREADY", "wave": "1..."})"));
  EXPECT_THAT(text, HasSubstr(R"({"name": "AWADDR", "wave": "x==x", "data": ["1040", "2000"]})"));
  EXPECT_THAT(text, HasSubstr(R"({"name": "BRESP", "wave": "x..=", "data": ["SLVERR"]})"));
  EXPECT_THAT(text, HasSubstr(R"("head": {"text": "a title", "tick": 100})"));
  EXPECT_THAT(text, Not(HasSubstr("\"WVALID")));
  EXPECT_THAT(text, Not(HasSubstr("m01_axi")));
  EXPECT_THAT(text, Not(HasSubstr("interrupt")));
}

}  // namespace
}  // namespace sluice::inline device
