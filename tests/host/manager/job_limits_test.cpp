// SPDX-License-Identifier: Apache-2.0
// What one engine can take at once is not what a VM may be given at once.
#include <gtest/gtest.h>

#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/extent_table.hpp"
#include "support/manual_engine.hpp"
#include "support/memory.hpp"

namespace sluice::test {
namespace {

constexpr std::size_t kPages = 64;
constexpr ByteCount kLongest{8 * 4096};

/// A dirty pool, and an engine that takes short jobs.
class JobLimits : public ::testing::Test {
 protected:
  /// Ends every job, checks its length, and polls, until nothing is left to do.
  void settle() {
    for (int round = 0; round < 1000 && manager_->has_work(); ++round) {
      for (const ManualEngine::Job& job : engine_.running()) {
        EXPECT_LE(length_of(job.job.memory), kLongest);
        urgent_ += job.job.urgency == Urgency::Urgent ? 1 : 0;
      }
      engine_.end_all();
      manager_->poll();
    }
    EXPECT_FALSE(manager_->has_work());
    EXPECT_FALSE(manager_->fault());
  }
  void start(const ScrubberConfig& config) {
    manager_ = std::move(MemoryManager::create(*backing_, engine_, config)).value();
  }

  Memory pool_{kPages * 4096, std::byte{0xEE}};
  MemorySpan pieces_[1] = {pool_.all()};
  std::unique_ptr<ForeignMemory> backing_ = std::move(ForeignMemory::create(pieces_)).value();
  ManualEngine engine_{4, kLongest};
  std::unique_ptr<MemoryManager> manager_;
  std::size_t urgent_ = 0;
};

TEST_F(JobLimits, AnUrgentExtentLongerThanTheEnginesLongestJobIsScrubbedInPieces) {
  start({.background = false});
  ASSERT_TRUE(manager_->create_vm({VmId(1), CustomerId(1), {}, {}, {}, {}, {}}));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(manager_->allocate(VmId(1), ByteCount(kPages * 4096),
                                 [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ((*result)->ranges.size(), 1U);
  EXPECT_EQ(urgent_, kPages / 8);
  for (const std::byte byte : (*result)->ranges[0].memory) ASSERT_EQ(byte, std::byte{0});
}

TEST_F(JobLimits, ABackgroundExtentLongerThanTheEnginesLongestJobIsScrubbedInPieces) {
  start({});
  settle();
  EXPECT_EQ(manager_->extents().bytes(ExtentState::Clean), ByteCount(kPages * 4096));
}

TEST_F(JobLimits, AFailedPiecePutsNoMoreThanItselfOutOfService) {
  start({});
  manager_->poll();
  ASSERT_GE(engine_.running().size(), 2U);
  engine_.end(0, Outcome::Zeroed, kLongest.value());
  engine_.end(0, Outcome::Failed, 0, FailureCause::SlaveError);
  settle();
  EXPECT_EQ(manager_->extents().bytes(ExtentState::Quarantined), kLongest);
  EXPECT_EQ(manager_->extents().bytes(ExtentState::Clean), ByteCount(kPages * 4096) - kLongest);
}

}  // namespace
}  // namespace sluice::test
