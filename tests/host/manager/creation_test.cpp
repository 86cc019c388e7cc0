// SPDX-License-Identifier: Apache-2.0
// What a manager is made of is looked at before anything is scrubbed.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/ledger.hpp"
#include "support/manual_engine.hpp"
#include "support/memory.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

class Bricks final : public BackingMemory {
 public:
  explicit Bricks(std::vector<Brick> bricks) : bricks_(std::move(bricks)) {}
  [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }

 private:
  std::vector<Brick> bricks_;
};

class Creation : public ::testing::Test {
 protected:
  [[nodiscard]] MemorySpan pages(std::size_t first, std::size_t count) const {
    return memory_.part(first * 4096, count * 4096);
  }
  /// The message of the refusal; empty: it was made.
  [[nodiscard]] std::string refusal(std::vector<Brick> bricks, const ScrubberConfig& config = {}) {
    const Bricks memory(std::move(bricks));
    const auto made = MemoryManager::create(memory, engine_, config);
    if (made) return "";
    EXPECT_EQ(made.error().code, HostErrc::InvalidArgument);
    return made.error().message;
  }

  Memory memory_{64 * 4096};
  ManualEngine engine_;
};

TEST_F(Creation, NamesTheBrickThatTheEngineDoesNotReach) {
  engine_.set_window(pages(0, 32));
  EXPECT_EQ(refusal({{pages(0, 16)}, {pages(16, 16)}}), "");
  EXPECT_NE(refusal({{pages(0, 16)}, {pages(16, 17)}}).find("brick 1 "), std::string::npos);
  EXPECT_NE(refusal({{pages(40, 16)}, {pages(0, 16)}}).find("brick 0 "), std::string::npos);
}

TEST_F(Creation, RecoveryNamesTheBrickThatTheEngineDoesNotReach) {
  const TemporaryFolder folder("/dev/shm");
  auto memory = FileMemory::open(folder.path(), ByteCount(1 << 20), 2);
  ASSERT_TRUE(memory) << memory.error().message;
  auto ledger = Ledger::open(folder.path() / "ledger", (*memory)->bricks());
  ASSERT_TRUE(ledger) << ledger.error().message;
  engine_.set_window((*memory)->bricks()[0].memory);
  const auto made = MemoryManager::recover(**memory, engine_, **ledger);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, HostErrc::InvalidArgument);
  EXPECT_NE(made.error().message.find("brick 1 "), std::string::npos) << made.error().message;
}

TEST_F(Creation, RefusesBricksThatShareAByte) {
  EXPECT_NE(refusal({{pages(0, 16)}, {pages(32, 8)}, {pages(15, 4)}}).find("bricks 0 and 2 overlap"),
            std::string::npos);
  EXPECT_NE(refusal({{pages(0, 16)}, {pages(0, 16)}}).find("bricks 0 and 1 overlap"), std::string::npos);
  EXPECT_NE(refusal({{pages(8, 2)}, {pages(0, 32)}}).find("bricks 0 and 1 overlap"), std::string::npos);
  EXPECT_EQ(refusal({{pages(16, 16)}, {pages(0, 16)}}), "") << "neighbours share nothing";
}

TEST_F(Creation, RefusesBricksThatAreNotWholePages) {
  EXPECT_NE(refusal({}), "");
  EXPECT_NE(refusal({{memory_.part(0, 0)}}), "");
  EXPECT_NE(refusal({{memory_.part(0, 5000)}}), "");
  EXPECT_NE(refusal({{memory_.part(1, 4096)}}), "");
  EXPECT_NE(refusal({{pages(0, 16), -1, PageKind::Huge2MiB}}), "");
}

TEST_F(Creation, RefusesBricksThatPassTheLastAddress) {
  auto* const last = reinterpret_cast<std::byte*>(std::numeric_limits<std::uintptr_t>::max() - 4095);
  EXPECT_NE(refusal({{MemorySpan(last, 1 << 20)}}).find("passes the end"), std::string::npos);
}

TEST_F(Creation, RefusesConfigurationsThatCannotBeKept) {
  EXPECT_NE(refusal({{pages(0, 16)}}, {.max_jobs_in_flight = 0}), "");
  EXPECT_NE(refusal({{pages(0, 16)}}, {.background_rate = -1.0}), "");
  EXPECT_NE(refusal({{pages(0, 16)}}, {.background_rate = std::numeric_limits<double>::quiet_NaN()}), "");
  EXPECT_NE(refusal({{pages(0, 16)}}, {.idle_after = std::chrono::nanoseconds(-1)}), "");
}

}  // namespace
}  // namespace sluice::test
