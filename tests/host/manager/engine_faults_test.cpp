// SPDX-License-Identifier: Apache-2.0
// Engines that refuse for good, say what cannot be, or make no progress; and handlers that end the manager.
#include <stdexcept>

#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};

class EngineFaults : public ManagerFixture, public ::testing::Test {
 protected:
  /// Memory dirty with A's data that nobody scrubs but for a claim.
  void leave_dirty(std::size_t pages) {
    create(kA);
    create(kB, kOtherCustomer);
    take(kA, pages);
    ASSERT_TRUE(manager_.change_scrub_settings(kA, {.timing = ScrubTiming::BeforeGrant}));
    ASSERT_TRUE(manager_.terminate(kA));
  }
  /// All memory dirty with A's data and one urgent scrub in flight for B, a stranger.
  void wait_for_a_scrub() {
    leave_dirty(64);
    ask(kB, 64, result_);
    ASSERT_EQ(engine_.running().size(), 1U);
  }
  void expect_given_up(const std::string& why) {
    for (int round = 0; round < 4; ++round) manager_.poll();
    ASSERT_TRUE(manager_.fault());
    EXPECT_NE(manager_.fault()->message.find(why), std::string::npos) << manager_.fault()->message;
    ASSERT_TRUE(result_);
    ASSERT_FALSE(*result_);
    EXPECT_EQ(result_->error().code, HostErrc::ScrubUnavailable);
    EXPECT_NE(result_->error().message.find(why), std::string::npos) << result_->error().message;
    EXPECT_FALSE(manager_.has_work());
  }
  std::optional<Result<Grant>> result_;
};

TEST_F(EngineFaults, RefusalEndsTheClaimWithItsCauseAndIsNoFaultForOthers) {
  leave_dirty(32);
  engine_.refuse_with(Error{DriverErrc::InvalidArgument, "a job that it cannot do"});
  ask(kB, 64, result_);
  manager_.poll();
  ASSERT_TRUE(result_);
  ASSERT_FALSE(*result_);
  EXPECT_EQ(result_->error().code, HostErrc::ScrubUnavailable);
  EXPECT_NE(result_->error().message.find("a job that it cannot do"), std::string::npos) << result_->error().message;
  EXPECT_FALSE(manager_.fault());
  EXPECT_FALSE(manager_.has_work()) << "only Busy is tried again";
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(32)) << "it would be refused for ever";
  EXPECT_EQ(take(kB, 32).ranges.size(), 1U) << "clean memory is there for all";
}

TEST_F(EngineFaults, RefusedBackgroundIsQuarantinedAndIsNoFault) {
  create(kA);
  take(kA, 64);
  engine_.refuse_with(Error{DriverErrc::OutsideWindow, "memory outside"});
  ASSERT_TRUE(manager_.terminate(kA));
  manager_.poll();
  EXPECT_FALSE(manager_.fault());
  EXPECT_FALSE(manager_.has_work());
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(64));
}

TEST_F(EngineFaults, OfABatchOnlyTheRefusedJobLeavesService) {
  create(kA);
  const Grant grant = take(kA, 64);
  const MemorySpan memory = grant.ranges.at(0).memory;
  engine_.set_window(memory.first(32 * 4096));
  // Two jobs at once: their neighbours stay A's.
  ASSERT_TRUE(manager_.change_scrub_settings(kA, {.timing = ScrubTiming::Scheduled, .delay = std::chrono::seconds(1)}));
  ASSERT_TRUE(manager_.release(kA, memory.subspan(40 * 4096, 4 * 4096)));
  ASSERT_TRUE(manager_.release(kA, memory.subspan(8 * 4096, 4 * 4096)));
  engine_.set_time(std::chrono::seconds(2));
  settle();
  EXPECT_FALSE(manager_.fault());
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(4));
  EXPECT_EQ(manager_.extents().find(memory.data() + 40 * 4096)->state(), ExtentState::Quarantined);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(4));
}

TEST_F(EngineFaults, EngineThatSaysThatItHasFailedIsGivenUp) {
  leave_dirty(64);
  engine_.refuse_with(Error{DriverErrc::EngineFailed, "out of order"});
  ask(kB, 64, result_);
  expect_given_up("out of order");
  const auto late = manager_.allocate(kB, length(1), [](const Result<Grant>&) {});
  EXPECT_FALSE(late);
}

TEST_F(EngineFaults, EngineThatReportsTooFewBytesIsGivenUp) {
  wait_for_a_scrub();
  engine_.end(0, Outcome::Zeroed, 4096);
  expect_given_up("4096 of 262144 bytes");
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(64));
}

TEST_F(EngineFaults, EngineThatNamesAnUnknownJobIsGivenUp) {
  wait_for_a_scrub();
  engine_.complete({{0, 99}, 99, Outcome::Zeroed, FailureCause::None, ByteCount(4096)});
  expect_given_up("does not have");
}

TEST_F(EngineFaults, EngineThatThrowsIsGivenUp) {
  wait_for_a_scrub();
  engine_.throw_from_poll();
  expect_given_up("poll() threw");
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(64));
}

TEST_F(EngineFaults, EngineWithoutProgressIsGivenUp) {
  wait_for_a_scrub();
  for (int second = 1; second < 200; ++second) {
    engine_.set_time(std::chrono::seconds(second));
    manager_.poll();
    if (second == 60) {
      EXPECT_FALSE(manager_.fault());
    }
  }
  expect_given_up("made no progress");
}

TEST_F(EngineFaults, EngineThatStaysBusyWithNothingInFlightIsGivenUp) {
  leave_dirty(64);
  engine_.set_busy(true);
  ask(kB, 64, result_);
  for (int second = 1; second < 200; ++second) {
    engine_.set_time(std::chrono::seconds(second));
    manager_.poll();
  }
  expect_given_up("Busy");
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Dirty), length(64)) << "it never had it";
}

TEST_F(EngineFaults, JobsThatWaitWhenTheEngineFailsStayDirty) {
  ManagerFixture fixture(64, {.background_job_length = length(4)});
  fixture.create(kA);
  const Grant grant = fixture.take(kA, 64);
  fixture.engine_.set_busy(true);
  ASSERT_TRUE(fixture.manager_.terminate(kA));
  fixture.engine_.break_down();
  for (int round = 0; round < 4; ++round) fixture.manager_.poll();
  EXPECT_TRUE(fixture.manager_.fault());
  EXPECT_FALSE(fixture.manager_.has_work());
  EXPECT_EQ(fixture.manager_.extents().bytes(ExtentState::Dirty), length(64));
}

TEST_F(EngineFaults, FailureQuarantinesOnlyWhatIsInDoubt) {
  wait_for_a_scrub();
  engine_.end(0, Outcome::Failed, 10 * 4096 + 5, FailureCause::SlaveError, 20 * 4096 + 5);
  manager_.poll();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(34));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(10));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Dirty), length(20)) << "as before";
}

TEST_F(EngineFaults, StoppedManagerRefusesEveryClaimAtOnce) {
  create(kA);
  manager_.stop();
  const auto claim = manager_.allocate(kA, length(1), [](const Result<Grant>&) {});
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code, HostErrc::ScrubUnavailable);
  EXPECT_FALSE(manager_.has_work());
}

TEST_F(EngineFaults, HandlersMayPollAgain) {
  create(kA);
  int calls = 0;
  for (int claim = 0; claim < 3; ++claim) {
    ASSERT_TRUE(manager_.allocate(kA, length(1), [&](const Result<Grant>&) {
      ++calls;
      manager_.poll();
    }));
  }
  manager_.poll();
  EXPECT_EQ(calls, 3);
}

TEST_F(EngineFaults, HandlersMayDestroyTheManagerAndTheOthersAreAbandoned) {
  create(kA);
  int abandoned = 0;
  ASSERT_TRUE(manager_.allocate(kA, length(1), [&](const Result<Grant>&) { owned_.reset(); }));
  ASSERT_TRUE(manager_.allocate(kA, length(1), [&](const Result<Grant>& result) {
    abandoned += !result && result.error().code == HostErrc::Abandoned ? 1 : 0;
  }));
  manager_.poll();
  EXPECT_EQ(owned_, nullptr);
  EXPECT_EQ(abandoned, 1);
}

TEST_F(EngineFaults, ReleaseThatWrapsIsRefused) {
  create(kA);
  const Grant grant = take(kA, 8);
  std::byte* const begin = grant.ranges.at(0).memory.data();
  const auto released = manager_.release(kA, MemorySpan(begin, SIZE_MAX - 4095));
  ASSERT_FALSE(released);
  EXPECT_EQ(released.error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Owned), length(8));
}

}  // namespace
}  // namespace sluice::test
