// SPDX-License-Identifier: Apache-2.0
// Engines that throw from any call or report more than they were asked for. Such an engine is given up: what it may
// still write is quarantined, and everything else goes on.
#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr VmId kNeighbour{3};

class EngineLies : public ManagerFixture, public ::testing::Test {
 protected:
  /// B, a stranger, waits for 32 pages that A has left. A neighbour holds 16 pages, and 16 are clean.
  void wait_for_a_scrub() {
    create(kA);
    create(kB, kOtherCustomer);
    create(kNeighbour, CustomerId(3));
    held_ = take(kNeighbour, 16).ranges.at(0).memory;
    take(kA, 32);
    ASSERT_TRUE(manager_.terminate(kA));
    ask(kB, 48, result_);
    manager_.poll();
    ASSERT_FALSE(result_);
  }
  void expect_given_up(const std::string& why, std::size_t quarantined = 32) {
    for (int round = 0; round < 4; ++round) manager_.poll();
    ASSERT_TRUE(manager_.fault());
    EXPECT_NE(manager_.fault()->message.find(why), std::string::npos) << manager_.fault()->message;
    ASSERT_TRUE(result_);
    ASSERT_FALSE(*result_);
    EXPECT_EQ(result_->error().code, HostErrc::ScrubUnavailable);
    EXPECT_FALSE(manager_.has_work());
    EXPECT_EQ(manager_.jobs_in_flight(), 0U);
    EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(quarantined));
    // What is clean serves claims as before, and holders keep what they have.
    EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(16));
    EXPECT_EQ(manager_.extents().bytes(ExtentState::Owned), length(16));
    EXPECT_EQ(take(kB, 16).ranges.size(), 1U);
    EXPECT_TRUE(manager_.release(kNeighbour, held_));
    EXPECT_EQ(manager_.extents().bytes(ExtentState::Dirty), length(48 - quarantined));
  }
  MemorySpan held_;
  std::optional<Result<Grant>> result_;
};

TEST_F(EngineLies, ThatThrowFromSubmitAreGivenUp) {
  create(kA);
  create(kB, kOtherCustomer);
  create(kNeighbour, CustomerId(3));
  held_ = take(kNeighbour, 16).ranges.at(0).memory;
  take(kA, 32);
  engine_.throw_from_submit();
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> later;
  const auto claim = manager_.allocate(kB, length(48), [&](Result<Grant> grant) { result_.emplace(std::move(grant)); });
  if (!claim) result_.emplace(claim.error());
  if (result_) {  // the engine was given up when the background asked it
    EXPECT_EQ(result_->error().code, HostErrc::OutOfMemory) << "what is in doubt is quarantined";
    result_.emplace(Error{HostErrc::ScrubUnavailable, "as above"});
  }
  expect_given_up("confused by jobs");
}

TEST_F(EngineLies, ThatThrowFromCancelAreGivenUp) {
  wait_for_a_scrub();
  // The neighbour takes back what it releases: the scrub of that is cancelled.
  ASSERT_TRUE(manager_.release(kNeighbour, held_.first(8 * 4096)));
  manager_.poll();
  engine_.throw_from_cancel();
  std::optional<Result<Grant>> again;
  ask(kNeighbour, 8, again);
  for (int round = 0; round < 4; ++round) manager_.poll();
  ASSERT_TRUE(manager_.fault());
  EXPECT_NE(manager_.fault()->message.find("confused by a cancel"), std::string::npos) << manager_.fault()->message;
  ASSERT_TRUE(result_ && again);
  EXPECT_EQ(result_->error().code, HostErrc::ScrubUnavailable);
  EXPECT_EQ(again->error().code, HostErrc::ScrubUnavailable);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(40));
  EXPECT_FALSE(manager_.has_work());
}

TEST_F(EngineLies, ThatReportMoreThanTheJobAreGivenUp) {
  for (const Outcome outcome : {Outcome::Zeroed, Outcome::Cancelled, Outcome::Failed}) {
    SCOPED_TRACE(to_string(outcome));
    ManagerFixture fixture;
    fixture.create(kA);
    fixture.create(kB, kOtherCustomer);
    fixture.take(kA, 64);
    ASSERT_TRUE(fixture.manager_.terminate(kA));
    std::optional<Result<Grant>> result;
    fixture.ask(kB, 64, result);
    fixture.manager_.poll();
    const ManualEngine::Job job = fixture.engine_.running().at(0);
    const FailureCause cause = outcome == Outcome::Failed ? FailureCause::SlaveError : FailureCause::None;
    fixture.engine_.complete({job.id, job.job.cookie, outcome, cause, ByteCount(job.job.memory.size() + 1), {}});
    for (int round = 0; round < 4; ++round) fixture.manager_.poll();
    ASSERT_TRUE(fixture.manager_.fault());
    ASSERT_TRUE(result);
    EXPECT_EQ(result->error().code, HostErrc::ScrubUnavailable);
    EXPECT_EQ(fixture.manager_.extents().bytes(ExtentState::Quarantined), ManagerFixture::length(64));
    EXPECT_FALSE(fixture.manager_.has_work());
  }
}

TEST_F(EngineLies, ThatCallMoreThanTheRestUnaffectedAreGivenUp) {
  wait_for_a_scrub();
  const ManualEngine::Job job = engine_.running().at(0);
  engine_.complete({job.id, job.job.cookie, Outcome::Failed, FailureCause::SlaveError, ByteCount(16 * 4096),
                    ByteCount(job.job.memory.size() - 15 * 4096)});
  expect_given_up("unaffected");
}

TEST_F(EngineLies, ThatCompleteAJobTwiceAreGivenUp) {
  wait_for_a_scrub();
  std::optional<Result<Grant>> other;
  ASSERT_TRUE(manager_.release(kNeighbour, held_.first(8 * 4096)));  // another job, which is in flight when it lies
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 2U);
  const ManualEngine::Job job = engine_.running().at(0);
  engine_.end(0, Outcome::Zeroed, job.job.memory.size());
  engine_.complete({job.id, job.job.cookie, Outcome::Zeroed, FailureCause::None, length(32), {}});
  for (int round = 0; round < 4; ++round) manager_.poll();
  ASSERT_TRUE(manager_.fault());
  EXPECT_GE(manager_.extents().bytes(ExtentState::Quarantined), length(8)) << "nobody knows what it still writes";
  EXPECT_FALSE(manager_.has_work());
}

}  // namespace
}  // namespace sluice::test
