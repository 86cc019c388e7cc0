// SPDX-License-Identifier: Apache-2.0
// First come, first served: claims that wait, and memory that waits for its scrub in the background.
#include <numeric>

#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};

/// An engine that is given one job at a time, and three VMs of strangers that hold 16, 16 and 32 pages. The last page
/// is being scrubbed: what is released now waits its turn.
class Order : public ManagerFixture, public ::testing::Test {
 protected:
  using Pages = std::vector<std::pair<std::size_t, std::size_t>>;  ///< first page and how many

  explicit Order(std::size_t job_pages = 64)
      : ManagerFixture(64, {.max_jobs_in_flight = 1, .background_job_length = length(job_pages)}) {
    create(kA, CustomerId(1));
    create(kB, CustomerId(2));
    create(kOther, CustomerId(3));
    create(kClaimant, CustomerId(4));
    EXPECT_EQ(place(take(kA, 16).ranges.at(0).memory).first, 0U);
    EXPECT_EQ(place(take(kB, 16).ranges.at(0).memory).first, 16U);
    EXPECT_EQ(place(take(kOther, 32).ranges.at(0).memory).first, 32U);
    release(kOther, 63);
    EXPECT_EQ(engine_.running().size(), 1U);
  }

  void release(VmId vm, std::size_t page, std::size_t pages = 1) {
    ASSERT_TRUE(manager_.release(vm, pool_.part(page * 4096, pages * 4096)));
  }
  [[nodiscard]] std::pair<std::size_t, std::size_t> place(MemorySpan memory) const {
    return {static_cast<std::size_t>(memory.data() - pool_.all().data()) / 4096, memory.size() / 4096};
  }
  /// Ends the job that runs and all that follow it. What they were, in order, without the first.
  Pages rest_of_the_scrubs() {
    Pages done;
    for (int round = 0; round < 100 && manager_.has_work(); ++round) {
      if (!engine_.running().empty()) done.push_back(place(engine_.running().front().job.memory));
      engine_.end_all();
      manager_.poll();
    }
    if (!done.empty()) done.erase(done.begin());
    return done;
  }

  static constexpr VmId kOther{3};
  static constexpr VmId kClaimant{4};
};

TEST_F(Order, OfTheBackgroundIsThatOfTheReleases) {
  release(kB, 20);
  release(kA, 8);
  release(kB, 24);
  release(kA, 4);
  EXPECT_EQ(rest_of_the_scrubs(), (Pages{{20, 1}, {8, 1}, {24, 1}, {4, 1}}));
}

TEST_F(Order, JoinedMemoryKeepsTheEarlierTurn) {
  release(kA, 4);
  release(kA, 8);
  release(kB, 20);
  release(kB, 17);
  release(kA, 3);   // before what was released earlier
  release(kB, 18);  // behind it
  EXPECT_EQ(rest_of_the_scrubs(), (Pages{{3, 2}, {8, 1}, {20, 1}, {17, 2}}));
}

TEST_F(Order, GapThatIsFilledTakesTheEarliestTurnOfAll) {
  release(kA, 5);
  release(kB, 20);
  release(kA, 3);
  release(kA, 4);  // 3 to 5 are one
  EXPECT_EQ(rest_of_the_scrubs(), (Pages{{3, 3}, {20, 1}}));
}

class OrderOfPieces : public Order {
 protected:
  OrderOfPieces() : Order(4) {}
};

TEST_F(OrderOfPieces, CutMemoryKeepsItsTurnPieceByPiece) {
  release(kA, 0, 10);
  release(kB, 20);
  release(kA, 12, 2);
  EXPECT_EQ(rest_of_the_scrubs(), (Pages{{0, 4}, {4, 4}, {8, 2}, {20, 1}, {12, 2}}));
}

TEST_F(Order, ClaimTakesTheOldestAndTheRestOfItKeepsItsTurn) {
  release(kA, 0, 6);
  release(kB, 20);
  release(kA, 8);
  std::optional<Result<Grant>> result;
  ask(kClaimant, 3, result);  // also the page that is being scrubbed
  EXPECT_EQ(rest_of_the_scrubs(), (Pages{{0, 2}, {2, 4}, {20, 1}, {8, 1}}));
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(place((*result)->ranges.at(0).memory).first, 63U);
  EXPECT_EQ(place((*result)->ranges.at(1).memory).first, 0U);
}

TEST_F(Order, AbandonedClaimGivesEachPartItsOldTurn) {
  release(kA, 0);
  release(kB, 20);
  release(kA, 8);
  release(kB, 24);
  std::optional<Result<Grant>> result;
  const ClaimId claim = ask(kClaimant, 3, result);
  release(kA, 12);
  ASSERT_TRUE(manager_.abandon(claim));
  EXPECT_EQ(rest_of_the_scrubs(), (Pages{{0, 1}, {20, 1}, {8, 1}, {24, 1}, {12, 1}}));
}

TEST_F(Order, CancelledScrubTakesItsOldTurn) {
  release(kA, 0);
  engine_.end_all();
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 1U) << "the scrub of page 0";
  release(kB, 20);
  std::optional<Result<Grant>> result;
  const ClaimId claim = ask(kA, 1, result);
  ASSERT_TRUE(engine_.running().front().cancel_requested);
  ASSERT_TRUE(manager_.abandon(claim));
  EXPECT_EQ(rest_of_the_scrubs(), (Pages{{0, 1}, {20, 1}})) << "the first of these follows the cancelled one";
}

/// One engine that refuses for a while, and one that takes one job of a batch at a time.
class OrderOfABatch : public MemoryManagerTest {
 protected:
  OrderOfABatch() {
    for (std::uint64_t vm = 1; vm <= 4; ++vm) create(VmId(vm), CustomerId(vm));
    for (std::uint64_t vm = 1; vm <= 4; ++vm) held_.push_back(take(VmId(vm), 16).ranges.at(0).memory);
    engine_.set_busy(true);
  }
  void release(std::uint64_t vm, std::size_t page) {
    ASSERT_TRUE(manager_.release(VmId(vm), held_.at(vm - 1).subspan(page * 4096, 4096)));
    released_.push_back(held_[vm - 1].data() + page * 4096);
  }
  /// Where the jobs began, in the order in which they came to the engine.
  std::vector<const std::byte*> jobs() {
    std::vector<const std::byte*> found;
    engine_.set_busy(false);
    for (int round = 0; round < 100 && manager_.has_work(); ++round) {
      manager_.poll();
      for (const ManualEngine::Job& job : engine_.running()) found.push_back(job.job.memory.data());
      engine_.end_all();
    }
    manager_.poll();
    return found;
  }
  std::vector<MemorySpan> held_;
  std::vector<const std::byte*> released_;
};

TEST_F(OrderOfABatch, IsKeptByAnEngineThatWasBusy) {
  for (const std::uint64_t vm : {2U, 1U, 3U, 2U, 1U}) release(vm, released_.size() * 3);
  for (int look = 0; look < 3; ++look) manager_.poll();
  EXPECT_EQ(jobs(), released_);
}

TEST_F(OrderOfABatch, IsKeptByAnEngineThatTakesAPart) {
  engine_.take_at_most(2);
  for (const std::uint64_t vm : {2U, 1U, 3U, 2U, 1U}) release(vm, released_.size() * 3);
  EXPECT_EQ(jobs(), released_);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(5));
}

TEST_F(OrderOfABatch, ClaimsAreServedInTheOrderInWhichTheyCame) {
  engine_.take_at_most(1);
  for (std::size_t page = 0; page < 3; ++page) release(4, 4 * page);
  std::vector<std::uint64_t> served;
  for (const std::uint64_t vm : {3U, 1U, 2U}) {
    ASSERT_TRUE(manager_.allocate(VmId(vm), length(1), [&served, vm](const Result<Grant>& grant) {
      if (grant) served.push_back(vm);
    }));
  }
  EXPECT_EQ(jobs(), released_);
  EXPECT_EQ(served, (std::vector<std::uint64_t>{3, 1, 2}));
}

/// 32 pages are scrubbed in one job, and VM 2 has claimed 8 of them: 24 will be left for whoever waits. The others are
/// held by VM 1.
class Waiting : public MemoryManagerTest {
 protected:
  Waiting() {
    for (std::uint64_t vm = 1; vm <= 6; ++vm) create(VmId(vm), CustomerId(vm));
    rest_ = take(VmId(1), 32).ranges.at(0).memory;
    take(VmId(6), 32);
    EXPECT_TRUE(manager_.terminate(VmId(6)));
    manager_.poll();
    EXPECT_EQ(engine_.running().size(), 1U);
    claim(2, 8);
  }
  void claim(std::uint64_t vm, std::size_t pages) {
    const auto claim = manager_.allocate(VmId(vm), length(pages), [this, vm](const Result<Grant>& grant) {
      if (!ending_) (grant ? served_ : refused_).push_back(vm);
    });
    if (!claim) refused_.push_back(vm);
  }
  using Vms = std::vector<std::uint64_t>;
  MemorySpan rest_;
  Vms served_;
  Vms refused_;
};

TEST_F(Waiting, ClaimsAreMetByAge) {
  claim(5, 8);
  claim(3, 8);
  claim(4, 8);
  settle();
  EXPECT_EQ(served_, (Vms{2, 5, 3, 4}));
  EXPECT_EQ(refused_, Vms{});
}

TEST_F(Waiting, WhatEarlierClaimsWillTakeIsPromisedToNobodyElse) {
  claim(5, 20);
  claim(3, 5);
  EXPECT_EQ(refused_, Vms{3}) << "4 pages are left";
  claim(4, 4);
  settle();
  EXPECT_EQ(served_, (Vms{2, 5, 4}));
}

TEST_F(Waiting, MemoryThatComesBetweenTwoPollsGoesToTheEarliest) {
  claim(5, 8);
  ASSERT_TRUE(manager_.release(VmId(1), rest_.first(8 * 4096)));
  claim(3, 8);
  // With the job fails the hope of all but one: the first of all has lost its part, and finds nothing any more.
  engine_.end(0, Outcome::Failed, 0, FailureCause::SlaveError);
  settle();
  EXPECT_EQ(served_, Vms{5});
  EXPECT_EQ(refused_, (Vms{2, 3}));
}

TEST_F(Waiting, ClaimThatLostItsPartLooksBeforeLaterOnes) {
  claim(5, 8);
  engine_.end(0, Outcome::Failed, 0, FailureCause::SlaveError);
  ASSERT_TRUE(manager_.release(VmId(1), rest_.first(8 * 4096)));
  settle();
  EXPECT_EQ(served_, Vms{2});
  EXPECT_EQ(refused_, Vms{5});
}

TEST_F(Waiting, AbandonedClaimLeavesItsShareToTheNext) {
  std::optional<Result<Grant>> given_up;
  const ClaimId first = ask(VmId(5), 24, given_up);
  claim(3, 1);
  EXPECT_EQ(refused_, Vms{3});
  ASSERT_TRUE(manager_.abandon(first));
  claim(4, 24);
  settle();
  EXPECT_EQ(served_, (Vms{2, 4}));
}

}  // namespace
}  // namespace sluice::test
