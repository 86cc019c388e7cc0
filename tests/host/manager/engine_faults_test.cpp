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
  /// All memory dirty with A's data and one urgent scrub in flight for B, a stranger.
  void wait_for_a_scrub() {
    create(kA);
    create(kB, kOtherCustomer);
    take(kA, 64);
    engine_.set_busy(true);
    ASSERT_TRUE(manager_.terminate(kA));
    ask(kB, 64, result_);
    engine_.set_busy(false);
    manager_.poll();
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

TEST_F(EngineFaults, RefusalForGoodEndsTheClaimWithItsCause) {
  engine_.refuse_with(Error{DriverErrc::InvalidArgument, "a job that is too long"});
  wait_for_a_scrub();
  expect_given_up("a job that is too long");
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Dirty), length(64)) << "nothing was accepted";
}

TEST_F(EngineFaults, RefusedBackgroundStaysDirtyAndIsAFault) {
  create(kA);
  take(kA, 64);
  engine_.refuse_with(Error{DriverErrc::OutsideWindow, "memory outside"});
  ASSERT_TRUE(manager_.terminate(kA));
  manager_.poll();
  ASSERT_TRUE(manager_.fault());
  EXPECT_FALSE(manager_.has_work());
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Dirty), length(64));
}

TEST_F(EngineFaults, EngineThatReportsTooFewBytesIsGivenUp) {
  wait_for_a_scrub();
  engine_.end(0, Outcome::Zeroed, 4096);
  expect_given_up("4096 bytes");
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
  expect_given_up("threw from poll()");
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(64));
}

TEST_F(EngineFaults, EngineWithoutProgressIsGivenUp) {
  wait_for_a_scrub();
  for (int second = 1; second < 100; ++second) {
    engine_.set_time(std::chrono::seconds(second));
    manager_.poll();
    if (second == 30) {
      EXPECT_FALSE(manager_.fault());
    }
  }
  expect_given_up("made no progress");
}

TEST_F(EngineFaults, EngineThatStaysBusyWithNothingInFlightIsGivenUp) {
  engine_.set_busy(true);
  wait_for_a_scrub();
  engine_.set_busy(true);
  engine_.break_off();
  for (int second = 1; second < 100; ++second) {
    engine_.set_time(std::chrono::seconds(second));
    manager_.poll();
  }
  expect_given_up("made no progress");
}

TEST_F(EngineFaults, FailureQuarantinesOnlyWhatIsInDoubt) {
  wait_for_a_scrub();
  engine_.end(0, Outcome::Failed, 10 * 4096 + 5, FailureCause::SlaveError, 20 * 4096 + 5);
  manager_.poll();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(34));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(10));
  settle();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(30));
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
