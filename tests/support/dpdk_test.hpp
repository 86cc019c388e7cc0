// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>

#include <string>

#include "support/program.hpp"

namespace sluice::test {

/// DPDK's own test program, with its tests of DMA devices.
inline Outcome run_dpdk_test(const std::string& environment, const std::string& options = "") {
  return run_program("env " + environment +
                     " DPDK_TEST=dmadev_autotest dpdk-test --no-huge --no-pci -m 256 --no-telemetry --no-shconf -l 0 " +
                     options + " < /dev/null");
}

/// It has run every group of tests on this device, and skipped none.
inline void expect_all_groups_passed(const Outcome& outcome, const std::string& device) {
  EXPECT_EQ(outcome.exit_code, 0);
  const std::size_t begin = outcome.output.find("[" + device + "]");
  ASSERT_NE(begin, std::string::npos) << outcome.output;
  const std::string ours = outcome.output.substr(begin, outcome.output.find("###", begin) - begin);
  for (const char* group : {"copy Tests", "burst capacity Tests", "error handling Tests", "fill Tests"}) {
    EXPECT_THAT(ours, ::testing::HasSubstr(group));
  }
  EXPECT_THAT(ours, ::testing::Not(::testing::HasSubstr("skip")));
}

}  // namespace sluice::test
