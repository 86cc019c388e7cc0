// SPDX-License-Identifier: Apache-2.0
// Random bytes, and erasing: what is asked of an engine that can, and what is done where it cannot.
#include <cstring>
#include <set>

#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};

class FillMethods : public MemoryManagerTest {
 protected:
  void use(bool verifies, bool fills_random) {
    engine_.offer(verifies, fills_random);
    manager_.poll();
  }
  /// A wrote to all memory and has ended; its scrub runs.
  void end_a(FillMethod method) {
    ASSERT_TRUE(manager_.create_vm({kA, kCustomer, {}, {}, {}, {.method = method}}));
    take(kA, 64);
    pool_.fill(std::byte{0xAA});
    manager_.reset_statistics();
    ASSERT_TRUE(manager_.terminate(kA));
    ASSERT_EQ(engine_.running().size(), 1U);
  }
  [[nodiscard]] const ScrubJob& job() const { return engine_.running().front().job; }
  [[nodiscard]] ByteCount in(ExtentState state) const { return manager_.extents().bytes(state); }
};

TEST_F(FillMethods, EraseIsZerosThatTheEngineReadsBack) {
  use(true, true);
  end_a(FillMethod::Erase);
  EXPECT_EQ(job().operation, Operation::FillVerify);
  EXPECT_EQ(job().pattern, 0U);
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(64));
}

TEST_F(FillMethods, EraseOfMemoryThatDiffersQuarantinesAllOfIt) {
  use(true, true);
  end_a(FillMethod::Erase);
  engine_.end(0, Outcome::Failed, 8 * kPageSize.value(), FailureCause::Mismatch);
  settle();
  EXPECT_EQ(in(ExtentState::Quarantined), length(64));
  EXPECT_EQ(manager_.statistics().scrubs_failed, 1U);
}

TEST_F(FillMethods, EraseThatFailsLeavesNothingCleanThatWasNotReadBack) {
  use(true, true);
  end_a(FillMethod::Erase);
  engine_.end(0, Outcome::Failed, 8 * kPageSize.value(), FailureCause::SlaveError, 55 * kPageSize.value());
  manager_.poll();
  EXPECT_EQ(in(ExtentState::Clean), length(0)) << "the prefix was written and not read";
  EXPECT_EQ(in(ExtentState::Quarantined), length(1));
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(63));
}

TEST_F(FillMethods, EraseIsReadBackHereWhereTheEngineCannotVerify) {
  use(false, false);
  end_a(FillMethod::Erase);
  EXPECT_EQ(job().operation, Operation::Fill);
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(64));
  EXPECT_EQ(manager_.statistics().scrubs_failed, 0U);
}

TEST_F(FillMethods, EraseOfMemoryThatTakesNoStoresIsSeenHere) {
  use(false, false);
  end_a(FillMethod::Erase);
  const Completion lie{engine_.running().front().id, job().cookie, Outcome::Zeroed, FailureCause::None, length(64), {}};
  for (std::byte& byte : pool_.part(0, 40 * kPageSize.value() + 17)) byte = std::byte{0};  // the rest took nothing
  engine_.complete(lie);
  manager_.poll();
  EXPECT_EQ(in(ExtentState::Quarantined), length(64));
  EXPECT_EQ(in(ExtentState::Clean), length(0));
  EXPECT_EQ(manager_.statistics().quarantined, length(64));
  EXPECT_EQ(manager_.statistics().scrubs_failed, 1U);
}

TEST_F(FillMethods, EraseForAClaimThatReadsBackWrongGoesOnWithOtherMemory) {
  use(false, false);
  ASSERT_TRUE(manager_.create_vm(
      {kB, kCustomer, {}, {}, {}, {.timing = ScrubTiming::BeforeGrant, .method = FillMethod::Erase}}));
  std::optional<Result<Grant>> result;
  ask(kB, 4, result);
  ASSERT_EQ(engine_.running().size(), 1U);
  pool_.fill(std::byte{0xAA});
  engine_.complete({engine_.running().front().id, job().cookie, Outcome::Zeroed, FailureCause::None, length(4), {}});
  manager_.poll();
  EXPECT_FALSE(result) << "it has other memory to wait for";
  EXPECT_EQ(in(ExtentState::Quarantined), length(4));
  EXPECT_EQ(in(ExtentState::Owned), length(0));
}

TEST_F(FillMethods, OthersAreNotReadBack) {
  use(false, false);
  end_a(FillMethod::Zeros);
  EXPECT_EQ(job().operation, Operation::Fill);
  engine_.complete({engine_.running().front().id, job().cookie, Outcome::Zeroed, FailureCause::None, length(64), {}});
  manager_.poll();
  EXPECT_EQ(in(ExtentState::Clean), length(64)) << "the engine's word is enough";
}

TEST_F(FillMethods, RandomBytesComeFromAnEngineThatHasAGenerator) {
  use(true, true);
  end_a(FillMethod::Random);
  EXPECT_EQ(job().operation, Operation::FillRandom);
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(64));
}

TEST_F(FillMethods, RandomMemoryOfTwoJobsIsNotJoined) {
  ManagerFixture fixture(64, {.background_job_length = length(32)});
  fixture.engine_.offer(true, true);
  fixture.manager_.poll();
  ASSERT_TRUE(fixture.manager_.create_vm({kA, kCustomer, {}, {}, {}, {.method = FillMethod::Random}}));
  fixture.take(kA, 64);
  ASSERT_TRUE(fixture.manager_.terminate(kA));
  fixture.settle();
  const ExtentTable& table = fixture.manager_.extents();
  std::size_t extents = 0;
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) ++extents;
  EXPECT_EQ(extents, 2U);
}

TEST_F(FillMethods, RandomIsAnotherPatternInEachManagerWhereTheEngineHasNoGenerator) {
  std::set<std::uint64_t> patterns;
  for (int manager = 0; manager < 2; ++manager) {
    ManagerFixture fixture;
    ASSERT_TRUE(fixture.manager_.create_vm({kA, kCustomer, {}, {}, {}, {.method = FillMethod::Random}}));
    for (int round = 0; round < 2; ++round) {
      fixture.take(kA, 64);
      ASSERT_TRUE(fixture.manager_.release(kA, fixture.pool_.all()));
      ASSERT_EQ(fixture.engine_.running().size(), 1U);
      const ScrubJob& job = fixture.engine_.running().front().job;
      EXPECT_EQ(job.operation, Operation::Fill);
      EXPECT_NE(job.pattern, 0U) << "the ledger knows that as zeros";
      patterns.insert(job.pattern);
      fixture.settle();
    }
  }
  EXPECT_EQ(patterns.size(), 4U) << "the same configuration has not the same bytes";
}

TEST_F(FillMethods, WhatANewEngineCannotDoIsMadeAnew) {
  use(true, true);
  end_a(FillMethod::Random);
  engine_.offer(false, false);  // another one has taken over before it was given this
  engine_.end(0, Outcome::Failed, 0, FailureCause::BadDescriptor, 64 * kPageSize.value());
  manager_.poll();
  EXPECT_EQ(in(ExtentState::Quarantined), length(0));
  ASSERT_EQ(engine_.running().size(), 1U);
  EXPECT_EQ(job().operation, Operation::Fill);
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(64));
}

}  // namespace
}  // namespace sluice::test
