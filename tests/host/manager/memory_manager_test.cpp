// SPDX-License-Identifier: Apache-2.0
#include "sluice/manager/memory_manager.hpp"

#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr TrustGroupId kGroup{7};
constexpr DedicatedPoolId kPool{9};

TEST_F(MemoryManagerTest, NothingIsCleanBeforeItWasScrubbed) {
  Memory memory(16 * 4096, std::byte{0xEE});
  const MemorySpan pieces[] = {memory.all()};
  const auto backing = ForeignMemory::create(pieces);
  ManualEngine engine;
  const auto made = *MemoryManager::create(**backing, engine);
  MemoryManager& manager = *made;
  EXPECT_EQ(manager.extents().bytes(ExtentState::Dirty), manager.extents().total());
  ASSERT_TRUE(manager.create_vm({kA, kCustomer, {}, {}, {}}));
  bool granted = false;
  ASSERT_TRUE(manager.allocate(kA, length(4), [&](Result<Grant> grant) {
    granted = true;
    ASSERT_TRUE(grant);
    EXPECT_EQ(first_not(grant->ranges.at(0).memory, std::byte{0}), std::nullopt);
  }));
  manager.poll();
  EXPECT_FALSE(granted);
  engine.end_all();
  manager.poll();
  EXPECT_TRUE(granted);
}

TEST_F(MemoryManagerTest, GrantIsAsLongAsItsClaimAndInsideThePool) {
  create(kA);
  const Grant grant = take(kA, 10);
  ByteCount total;
  for (const GrantedRange& range : grant.ranges) {
    total += length_of(range.memory);
    EXPECT_GE(range.memory.data(), pool_.all().data());
    EXPECT_FALSE(range.recycled);
    EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
  }
  EXPECT_EQ(total, length(10));
  EXPECT_FALSE(grant.waited);
  EXPECT_EQ(manager_.statistics().granted_clean, length(10));
}

TEST_F(MemoryManagerTest, TerminatedVmsMemoryIsScrubbedInTheBackground) {
  create(kA);
  const Grant grant = take(kA, 8);
  pool_.fill(std::byte{0xAA});
  ASSERT_TRUE(manager_.terminate(kA));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Scrubbing), length(8));
  settle();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), manager_.extents().total());
  EXPECT_EQ(first_not(grant.ranges[0].memory, std::byte{0}), std::nullopt);
  EXPECT_EQ(manager_.statistics().scrubbed, length(8));
}

TEST_F(MemoryManagerTest, StrangerWaitsForAnUrgentScrub) {
  create(kA);
  create(kB, kOtherCustomer);
  take(kA, 64);
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  ask(kB, 4, result);
  manager_.poll();
  EXPECT_FALSE(result) << "nothing is granted before its scrub is complete";
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_TRUE((*result)->waited);
  EXPECT_FALSE((*result)->ranges.at(0).recycled);
  EXPECT_EQ(manager_.statistics().scrubbed_for_claim[static_cast<std::size_t>(Reason::OtherDomain)], length(4));
}

TEST_F(MemoryManagerTest, UrgentJobsOvertakeBackgroundOnes) {
  ManagerFixture fixture(64, {.max_jobs_in_flight = 1, .background_job_length = length(1)});
  fixture.create(kA);
  fixture.create(kB, kOtherCustomer);
  fixture.take(kA, 64);
  ASSERT_TRUE(fixture.manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  fixture.ask(kB, 2, result);
  fixture.engine_.end_all();
  fixture.manager_.poll();
  ASSERT_EQ(fixture.engine_.running().size(), 1U);
  EXPECT_EQ(fixture.engine_.running()[0].job.urgency, Urgency::Urgent);
  fixture.settle();
  EXPECT_TRUE(result && *result);
}

TEST_F(MemoryManagerTest, AVmIsNotifiedOfItsMemoryBeforeItCanRebootOrEnd) {
  create(kA);
  std::optional<Result<Grant>> result;
  ask(kA, 4, result);
  ASSERT_EQ(manager_.extents().bytes(ExtentState::Owned), length(4)) << "granted already";
  EXPECT_EQ(manager_.begin_reboot(kA).error().code, HostErrc::WrongState);
  EXPECT_EQ(manager_.terminate(kA).error().code, HostErrc::WrongState);
  manager_.poll();
  ASSERT_TRUE(result && *result);
  EXPECT_TRUE(manager_.begin_reboot(kA));
}

TEST_F(MemoryManagerTest, RebootGivesTheSameMemoryBackUnscrubbed) {
  create(kA);
  const Grant before = take(kA, 8);
  pool_.fill(std::byte{0xAA});
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Reserved), length(8));
  settle();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Reserved), length(8)) << "it is kept out of the pool";
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(manager_.finish_reboot(kA, length(8), [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
  manager_.poll();
  ASSERT_TRUE(result && *result);
  ASSERT_EQ((*result)->ranges.size(), 1U);
  EXPECT_EQ((*result)->ranges[0].memory.data(), before.ranges[0].memory.data());
  EXPECT_TRUE((*result)->ranges[0].recycled);
  EXPECT_EQ((*result)->ranges[0].reason, Reason::SameVmAfterReboot);
  EXPECT_EQ(first_not((*result)->ranges[0].memory, std::byte{0xAA}), std::nullopt);
  EXPECT_EQ(manager_.statistics().recycled_for(Reason::SameVmAfterReboot), length(8));
}

TEST_F(MemoryManagerTest, RebootToASmallerSizeScrubsTheExcess) {
  create(kA);
  take(kA, 8);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(manager_.finish_reboot(kA, length(3), [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Owned), length(3));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Reserved), length(0));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(61));
}

TEST_F(MemoryManagerTest, RebootToALargerSizeAddsCleanMemory) {
  create(kA);
  take(kA, 8);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(manager_.finish_reboot(kA, length(20), [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
  manager_.poll();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Owned), length(20));
  EXPECT_EQ(manager_.statistics().recycled_for(Reason::SameVmAfterReboot), length(8));
  EXPECT_EQ(manager_.statistics().granted_clean, length(8 + 12)) << "8 at its creation";
}

TEST_F(MemoryManagerTest, RebootIsScrubbedWhereSettingsForbidTheSkip) {
  create(kA, kCustomer, {}, {}, {.recycle_on_reboot = false, .recycle_within_vm = false});
  take(kA, 64);
  pool_.fill(std::byte{0xAA});
  ASSERT_TRUE(manager_.begin_reboot(kA));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(manager_.finish_reboot(kA, length(64), [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
  manager_.poll();
  EXPECT_FALSE(result);
  settle();
  ASSERT_TRUE(result && *result);
  for (const GrantedRange& range : (*result)->ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
  EXPECT_EQ(manager_.statistics().scrubbed_for_claim[static_cast<std::size_t>(Reason::Forbidden)], length(64));
}

TEST_F(MemoryManagerTest, BalloonGetsItsOwnMemoryBackAndCancelsItsScrub) {
  create(kA);
  const Grant grant = take(kA, 8);
  const MemorySpan given_back = grant.ranges[0].memory.last(4 * 4096);
  pool_.fill(std::byte{0xAA});
  ASSERT_TRUE(manager_.release(kA, given_back));
  ASSERT_EQ(engine_.running().size(), 1U);
  std::optional<Result<Grant>> result;
  ask(kA, 4, result);
  EXPECT_TRUE(engine_.running()[0].cancel_requested);
  manager_.poll();
  EXPECT_FALSE(result) << "not while the engine may still write to it";
  engine_.end(0, Outcome::Cancelled, 4096);
  manager_.poll();
  ASSERT_TRUE(result && *result);
  EXPECT_TRUE((*result)->waited);
  EXPECT_EQ((*result)->ranges.at(0).memory.data(), given_back.data());
  EXPECT_EQ((*result)->ranges.at(0).reason, Reason::SameVm);
  EXPECT_EQ(manager_.statistics().scrubs_cancelled, 1U);
  EXPECT_EQ(manager_.statistics().saved_by_cancel, length(3));
  EXPECT_EQ(manager_.statistics().scrubbed_before_cancel, length(1));
}

TEST_F(MemoryManagerTest, CancelThatComesTooLateGivesCleanMemory) {
  create(kA);
  const Grant grant = take(kA, 8);
  ASSERT_TRUE(manager_.release(kA, grant.ranges[0].memory));
  std::optional<Result<Grant>> result;
  ask(kA, 8, result);
  engine_.end(0, Outcome::Zeroed, 8 * 4096);
  manager_.poll();
  ASSERT_TRUE(result && *result);
  EXPECT_FALSE((*result)->ranges.at(0).recycled);
  EXPECT_EQ(manager_.statistics().cancels_too_late, 1U);
  EXPECT_EQ(manager_.statistics().recycled_for(Reason::SameVm), length(0)) << "nothing was skipped";
}

TEST_F(MemoryManagerTest, QueuedScrubIsDroppedWithoutTheEngineHearingOfIt) {
  ManagerFixture fixture(64, {.background = false});
  fixture.settle();
  fixture.create(kA);
  std::optional<Result<Grant>> first;
  fixture.ask(kA, 8, first);  // the pool was not scrubbed in the background: this is
  fixture.settle();
  ASSERT_TRUE(first && *first);
  ASSERT_TRUE(fixture.manager_.release(kA, (*first)->ranges[0].memory));
  EXPECT_TRUE(fixture.engine_.running().empty());
  const Grant again = fixture.take(kA, 8);
  EXPECT_TRUE(again.ranges[0].recycled);
  EXPECT_EQ(fixture.manager_.statistics().taken_from_queue, fixture.length(8));
}

TEST_F(MemoryManagerTest, TrustGroupSharesAndOthersDoNot) {
  create(kA, kCustomer, kGroup);
  create(kB, kCustomer, kGroup);
  create(VmId(3), kCustomer);
  take(kA, 64);
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> shared;
  ask(kB, 4, shared);
  engine_.end(0, Outcome::Cancelled, 0);
  manager_.poll();
  ASSERT_TRUE(shared && *shared);
  EXPECT_EQ((*shared)->ranges.at(0).reason, Reason::TrustGroup);
  EXPECT_TRUE((*shared)->ranges.at(0).recycled);
  std::optional<Result<Grant>> stranger;
  ask(VmId(3), 4, stranger);
  settle();
  ASSERT_TRUE(stranger && *stranger);
  EXPECT_FALSE((*stranger)->ranges.at(0).recycled);
}

TEST_F(MemoryManagerTest, ChangeOfMembershipForcesAScrub) {
  create(kA, kCustomer, kGroup);
  create(kB, kCustomer, kGroup);
  create(VmId(3), kCustomer, kGroup);
  take(kA, 64);
  ASSERT_TRUE(manager_.terminate(kA));
  ASSERT_TRUE(manager_.change_trust_group(VmId(3), {}));
  std::optional<Result<Grant>> result;
  ask(kB, 4, result);
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_FALSE((*result)->ranges.at(0).recycled);
  EXPECT_EQ(manager_.statistics().scrubbed_for_claim[static_cast<std::size_t>(Reason::GroupChanged)], length(4));
}

TEST_F(MemoryManagerTest, ChangeOfMembershipWhileAClaimWaitsForcesAScrubToo) {
  create(kA, kCustomer, kGroup);
  create(kB, kCustomer, kGroup);
  create(VmId(3), kCustomer, kGroup);
  take(kA, 64);
  pool_.fill(std::byte{0xAA});
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  ask(kB, 64, result);
  ASSERT_TRUE(engine_.running()[0].cancel_requested);
  ASSERT_TRUE(manager_.change_trust_group(VmId(3), {}));
  engine_.end(0, Outcome::Cancelled, 0);
  manager_.poll();
  EXPECT_FALSE(result);
  settle();
  ASSERT_TRUE(result && *result);
  for (const GrantedRange& range : (*result)->ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
}

TEST_F(MemoryManagerTest, DedicatedPoolThatSharesKeepsItsMemoryUnscrubbedForItsVms) {
  std::optional<Result<void>> ready;
  ASSERT_TRUE(manager_.create_dedicated_pool(kPool, kCustomer, length(16), [&](Result<void> made) { ready = made; },
                                             {.placement = {}, .shares = true}));
  manager_.poll();
  ASSERT_TRUE(ready && *ready);
  create(kA, kCustomer, {}, kPool);
  create(kB, kCustomer, {}, kPool);
  create(VmId(3), kOtherCustomer);
  take(kA, 16);
  ASSERT_TRUE(manager_.terminate(kA));
  settle();
  EXPECT_EQ(manager_.statistics().scrub_jobs, 0U) << "no scrub between uses inside the pool";
  EXPECT_EQ(manager_.available_to(VmId(3)), length(48)) << "and nobody else gets it";
  const Grant again = take(kB, 20);
  EXPECT_EQ(manager_.statistics().recycled_for(Reason::DedicatedPool), length(16));
  EXPECT_EQ(manager_.statistics().granted_clean, length(16 + 4)) << "its shortfall comes from the shared pool";
  ASSERT_TRUE(manager_.terminate(kB));
  ASSERT_TRUE(manager_.destroy_dedicated_pool(kPool));
  settle();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), manager_.extents().total()) << "scrubbed at the end";
}

TEST_F(MemoryManagerTest, DedicatedPoolIsScrubbedBeforeItIsFilled) {
  create(kA, kOtherCustomer);
  take(kA, 64);
  ASSERT_TRUE(manager_.terminate(kA));
  bool ready = false;
  ASSERT_TRUE(manager_.create_dedicated_pool(kPool, kCustomer, length(16),
                                             [&](Result<void> made) { ready = made.has_value(); }));
  EXPECT_EQ(manager_.create_vm({kB, kCustomer, kPool, {}, {}}).error().code, HostErrc::WrongState);
  settle();
  EXPECT_TRUE(ready);
  create(kB, kCustomer, {}, kPool);
  const Grant grant = take(kB, 16);
  for (const GrantedRange& range : grant.ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
}

/// What A wrote came to B by way of their group; C shares only a pool with B.
TEST_F(MemoryManagerTest, MemoryOfMixedLineageDoesNotReachAThirdVm) {
  ASSERT_TRUE(manager_.create_dedicated_pool(kPool, kCustomer, length(4), [](const Result<void>&) {},
                                             {.placement = {}, .shares = true}));
  manager_.poll();
  create(kA, kCustomer, kGroup);
  create(kB, kCustomer, kGroup, kPool);
  create(VmId(3), kCustomer, {}, kPool);
  take(kA, 40);
  pool_.fill(std::byte{0xAA});
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> by_group;
  ask(kB, 44, by_group);
  engine_.end(0, Outcome::Cancelled, 0);
  manager_.poll();
  ASSERT_TRUE(by_group && *by_group);
  EXPECT_EQ(manager_.statistics().recycled_for(Reason::TrustGroup), length(40));
  ASSERT_TRUE(manager_.terminate(kB));
  std::optional<Result<Grant>> by_pool;
  ask(VmId(3), 40, by_pool);
  settle();
  ASSERT_TRUE(by_pool && *by_pool);
  EXPECT_EQ(manager_.statistics().recycled_for(Reason::DedicatedPool), length(4)) << "which B alone wrote";
  std::size_t scrubbed = 0;
  for (const GrantedRange& range : (*by_pool)->ranges) scrubbed += range.recycled ? 0 : range.memory.size();
  EXPECT_EQ(scrubbed, 36 * 4096U);
}

}  // namespace
}  // namespace sluice::test
