// SPDX-License-Identifier: Apache-2.0
// A dedicated pool and its VM, or its VMs: who gets what is in it, and what becomes of it when one leaves.
#include <gmock/gmock.h>

#include "support/recycling_fixture.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr TrustGroupId kGroup{7};
constexpr DedicatedPoolId kPool{9};
constexpr DedicatedPoolId kOther{10};

class PoolsOfVms : public RecyclingTest {
 protected:
  [[nodiscard]] PoolFacts facts(DedicatedPoolId pool) const { return manager_.dedicated_pool(pool).value(); }
};

TEST_F(PoolsOfVms, AreNotScrubbedWhileTheirVmLives) {
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  for (int round = 0; round < 3; ++round) {
    const Grant grant = take(kA, 16);
    write(grant);
    EXPECT_EQ(look(grant).recycled, round == 0 ? 0U : 16U);
    give_back(kA, grant);
    settle();
  }
  EXPECT_EQ(manager_.statistics().scrub_jobs, 0U);
}

TEST_F(PoolsOfVms, AreScrubbedWhenTheirVmEnds) {
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  const Grant given = take(kA, 8);
  const Pages before = write(given);
  give_back(kA, given);
  const Pages held = write(take(kA, 4));
  ASSERT_TRUE(manager_.terminate(kA));
  settle();
  EXPECT_EQ(with_data(before), 0U);
  EXPECT_EQ(with_data(held), 0U);
  EXPECT_EQ(facts(kPool).free, length(16));
  create(kB, kCustomer, {}, kPool);
  EXPECT_EQ(look(take(kB, 16)), (Seen{16, 0, 0, 0}));
}

TEST_F(PoolsOfVms, AreDirtyForTheNextVmAtOnce) {
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  const Pages old = write(take(kA, 16));
  ASSERT_TRUE(manager_.terminate(kA));
  create(kB, kCustomer, {}, kPool);
  EXPECT_EQ(look(more(kB, 16), old), (Seen{16, 0, 16, 0}));
}

TEST_F(PoolsOfVms, SeveralInOneDoNotShareUnlessItWasMadeSo) {
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  create(kB, kCustomer, {}, kPool);
  const Grant grant = take(kA, 16);
  const Pages old = write(grant);
  give_back(kA, grant);
  EXPECT_EQ(look(more(kB, 16), old), (Seen{16, 0, 16, 0}));
}

TEST_F(PoolsOfVms, SeveralInOneShareByTheirTrustGroup) {
  fill_pool(kPool, 16);
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  ASSERT_TRUE(manager_.create_vm({kA, kCustomer, kPool, kGroup, {}}));
  ASSERT_TRUE(manager_.create_vm({kB, kCustomer, kPool, kGroup, {}}));
  const Pages old = write(take(kA, 16));
  ASSERT_TRUE(manager_.terminate(kA));
  const Grant grant = more(kB, 16);
  EXPECT_EQ(look(grant, old), (Seen{16, 16, 16, 16}));
  EXPECT_EQ(grant.ranges.at(0).reason, Reason::TrustGroup);
}

TEST_F(PoolsOfVms, ThatShareAreScrubbedWhenTheLastOfThemEnds) {
  fill_pool(kPool, 16, {.placement = {}, .shares = true});
  create(kA, kCustomer, {}, kPool);
  create(kB, kCustomer, {}, kPool);
  const Pages old = write(take(kA, 16));
  ASSERT_TRUE(manager_.terminate(kA));
  settle();
  EXPECT_EQ(with_data(old), 16U) << "B may have it";
  const Grant some = take(kB, 4);
  EXPECT_EQ(look(some, old), (Seen{4, 4, 4, 4}));
  ASSERT_TRUE(manager_.terminate(kB));
  settle();
  EXPECT_EQ(with_data(old), 0U) << "also what B never had";
}

TEST_F(PoolsOfVms, MemoryBeyondThePoolIsScrubbedForTheOthersThere) {
  for (const bool shares : {false, true}) {
    SCOPED_TRACE(shares);
    const DedicatedPoolId pool(shares ? 20 : 21);
    const VmId one(shares ? 20 : 30);
    const VmId other(shares ? 21 : 31);
    fill_pool(pool, 4, {.placement = {}, .shares = shares});
    create(one, kCustomer, {}, pool);
    create(other, kCustomer, {}, pool);
    take(one, 4);
    const Grant beyond = take(one, 8);
    const Pages old = write(beyond);
    give_back(one, beyond);
    const std::size_t left = shares ? 56 : 60;
    EXPECT_EQ(look(more(other, left), old), (Seen{left, 0, 8, 0}));
    ASSERT_TRUE(manager_.terminate(one));
    ASSERT_TRUE(manager_.terminate(other));
    settle();
  }
}

TEST_F(PoolsOfVms, AreUsedUpBeforeAnySharedMemory) {
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool, {.recycle_on_reboot = false});
  const Pages old = write(take(kA, 16));
  EXPECT_EQ(look(reboot(kA, 16), old), (Seen{16, 0, 16, 0})) << "its own memory, scrubbed";
  EXPECT_EQ(facts(kPool).free, length(0));
  EXPECT_EQ(look(more(kA, 4), old).old, 0U) << "what it needs beyond is shared";
}

TEST_F(PoolsOfVms, GrowByWhatTheVmHoldsAndGiveItThatAfterTheReboot) {
  for (const bool reuse : {true, false}) {
    SCOPED_TRACE(reuse);
    const DedicatedPoolId pool(reuse ? 20 : 21);
    const VmId vm(reuse ? 20 : 21);
    fill_pool(pool, 8);
    create(vm, kCustomer, {}, pool, {.recycle_on_reboot = reuse, .grow_pool_on_reboot = true});
    const Pages old = write(take(vm, 20));
    ASSERT_TRUE(manager_.begin_reboot(vm));
    EXPECT_EQ(facts(pool).size, length(20));
    const std::size_t kept = reuse ? 20 : 0;
    EXPECT_EQ(look(back(vm, 20), old), (Seen{20, kept, 20, kept}));
    EXPECT_EQ(facts(pool).size, length(20));
    ASSERT_TRUE(manager_.terminate(vm));
    settle();
  }
}

TEST_F(PoolsOfVms, AreMadeInOneCallForSoManyVmsAsAreExpected) {
  std::map<DedicatedPoolId, Result<void>> filled;
  const auto handler = [&](DedicatedPoolId pool, const Result<void>& result) { filled.emplace(pool, result); };
  const auto made = manager_.create_dedicated_pools(DedicatedPoolId(100), 4, kCustomer, length(48), handler);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->size(), 4U);
  settle();
  ASSERT_EQ(filled.size(), 4U);
  for (std::uint64_t id = 100; id < 104; ++id) {
    EXPECT_TRUE(filled.at(DedicatedPoolId(id)));
    EXPECT_TRUE(facts(DedicatedPoolId(id)).ready);
    EXPECT_EQ(facts(DedicatedPoolId(id)).size, length(12));
  }
}

TEST_F(PoolsOfVms, AreAllMadeOrNone) {
  int calls = 0;
  const auto handler = [&](DedicatedPoolId, const Result<void>&) { ++calls; };
  const auto too_long = manager_.create_dedicated_pools(DedicatedPoolId(100), 2, kCustomer, length(80), handler);
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, HostErrc::OutOfMemory);
  const auto uneven = manager_.create_dedicated_pools(DedicatedPoolId(100), 3, kCustomer, length(16), handler);
  ASSERT_FALSE(uneven);
  EXPECT_THAT(uneven.error().message, HasSubstr("65536 bytes for 3 pools of equal length: give a multiple of 3"));
  EXPECT_FALSE(manager_.create_dedicated_pools(DedicatedPoolId(100), 0, kCustomer, length(16), handler));
  EXPECT_FALSE(manager_.create_dedicated_pools(DedicatedPoolId(~0ULL), 2, kCustomer, length(16), handler));
  fill_pool(DedicatedPoolId(101), 4);
  const auto used = manager_.create_dedicated_pools(DedicatedPoolId(100), 2, kCustomer, length(16), handler);
  ASSERT_FALSE(used);
  EXPECT_EQ(used.error().code, HostErrc::IdUsedBefore);
  settle();
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(manager_.dedicated_pool(DedicatedPoolId(100)), std::nullopt);
  EXPECT_EQ(manager_.extents().bytes_in({}), length(60));
  EXPECT_TRUE(manager_.create_dedicated_pools(DedicatedPoolId(102), 2, kCustomer, length(60), handler));
  settle();
  EXPECT_EQ(calls, 2);
}

TEST_F(PoolsOfVms, LeaveTheSharedPoolItsMinimum) {
  manager_.keep_shared(length(40));
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool, {.grow_pool_on_reboot = true});
  const auto refused = manager_.grow_dedicated_pool(kPool, length(9), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::OutOfMemory);
  EXPECT_THAT(refused.error().message, HasSubstr("36864 bytes for a dedicated pool: the shared pool has 196608 and "
                                                 "keeps 163840"));
  EXPECT_FALSE(manager_.create_dedicated_pool(kOther, kCustomer, length(9), {}));
  ASSERT_TRUE(manager_.create_dedicated_pool(kOther, kCustomer, length(4), {}));
  EXPECT_FALSE(manager_.grow_dedicated_pool(kPool, length(5), {})) << "4 are on their way";
  settle();
  take(kA, 40);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_GE(manager_.extents().bytes_in({}), length(40)) << "nor do they grow by a reboot";
  manager_.keep_shared(length(0));
  EXPECT_TRUE(manager_.grow_dedicated_pool(kPool, length(9), {}));
}

TEST_F(PoolsOfVms, GetNothingOfASharedPoolThatKeepsMoreThanThereIs) {
  fill_pool(kPool, 16);
  manager_.keep_shared(ByteCount(~0ULL));
  EXPECT_EQ(manager_.shared_minimum(), ByteCount(~0ULL));
  EXPECT_EQ(manager_.grow_dedicated_pool(kPool, length(1), {}).error().code, HostErrc::OutOfMemory);
  EXPECT_EQ(manager_.create_dedicated_pool(kOther, kCustomer, length(1), {}).error().code, HostErrc::OutOfMemory);
  create(kA, kCustomer, {}, kPool, {.grow_pool_on_reboot = true});
  take(kA, 20);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(facts(kPool).size, length(16));
}

/// A reboot adds 8 pages to A's pool only if the shared pool keeps its minimum without what the other pool is to get.
TEST_F(PoolsOfVms, DoNotGrowByARebootIntoWhatOthersWereToGet) {
  manager_.keep_shared(length(40));
  fill_pool(kPool, 8);
  create(kA, kCustomer, {}, kPool, {.grow_pool_on_reboot = true});
  create(kB, kOtherCustomer);
  take(kA, 16);
  give_back(kB, take(kB, 48));
  ASSERT_TRUE(manager_.create_dedicated_pool(kOther, kCustomer, length(12), {}));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  settle();
  EXPECT_EQ(facts(kPool).size, length(8));
  EXPECT_EQ(manager_.extents().bytes_in({}), length(44));
}

TEST_F(PoolsOfVms, MoveMemoryDirectlyFromOneToAnother) {
  fill_pool(kPool, 16);
  fill_pool(kOther, 4);
  create(kA, kCustomer, {}, kPool);
  create(kB, kCustomer, {}, kOther);
  const Grant grant = take(kA, 16);
  const Pages old = write(grant);
  give_back(kA, grant);
  ASSERT_TRUE(manager_.move_between_pools(kPool, kOther, length(12)));
  EXPECT_EQ(facts(kPool).size, length(4));
  EXPECT_EQ(facts(kOther).size, length(16));
  EXPECT_EQ(manager_.extents().bytes_in({}), length(44)) << "the shared pool has no part in it";
  const Seen seen = look(more(kB, 16), old);
  EXPECT_EQ(seen, (Seen{16, 0, 12, 0}));
  const auto too_much = manager_.move_between_pools(kPool, kOther, length(5));
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, HostErrc::OutOfMemory);
  EXPECT_EQ(manager_.move_between_pools(kPool, kPool, length(1)).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(manager_.move_between_pools(kPool, DedicatedPoolId(404), length(1)).error().code, HostErrc::UnknownId);
}

TEST_F(PoolsOfVms, WhatLeavesOneIsDirtyForItsOldVmToo) {
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool, {.recycle_within_dedicated_pool = false});
  const Grant grant = take(kA, 16);
  const Pages old = write(grant);
  give_back(kA, grant);
  ASSERT_TRUE(manager_.shrink_dedicated_pool(kPool, length(8)));
  EXPECT_EQ(look(more(kA, 64), old), (Seen{64, 0, 16, 0}));
}

TEST_F(PoolsOfVms, MergeWhileVmsOfBothLive) {
  fill_pool(kPool, 8);
  fill_pool(kOther, 8);
  create(kA, kCustomer, {}, kPool);
  create(kB, kCustomer, {}, kOther);
  const Grant of_a = take(kA, 8);
  const Grant of_b = take(kB, 4);
  const Grant given = take(kB, 4);
  write(of_a);
  write(of_b);
  const Pages old = write(given);
  give_back(kB, given);
  ASSERT_TRUE(manager_.merge_dedicated_pools(kPool, kOther));
  EXPECT_EQ(manager_.dedicated_pool(kOther), std::nullopt);
  EXPECT_EQ(facts(kPool).vms, 2U);
  EXPECT_EQ(facts(kPool).size, length(16));
  EXPECT_EQ(manager_.profile(kB)->pool, kPool);
  EXPECT_EQ(look(more(kA, 4), old), (Seen{4, 0, 4, 0})) << "what was in the other pool is scrubbed";
  give_back(kB, of_b);
  EXPECT_EQ(look(more(kB, 4), pages_of(of_b)), (Seen{4, 4, 4, 4})) << "what it held is still its own";
  ASSERT_TRUE(manager_.terminate(kA));
  ASSERT_TRUE(manager_.terminate(kB));
  EXPECT_TRUE(manager_.destroy_dedicated_pool(kPool));
}

TEST_F(PoolsOfVms, MergeTakesTheClaimsOfItsVmsAlong) {
  fill_pool(kPool, 8);
  fill_pool(kOther, 8);
  create(kB, kCustomer, {}, kOther);
  create(kA, kOtherCustomer);
  const Grant others = take(kA, 48);
  write(others);
  give_back(kA, others);
  std::optional<Result<Grant>> waiting;
  ask(kB, 16, waiting);
  ASSERT_FALSE(waiting) << "half of it is scrubbed first";
  ASSERT_TRUE(manager_.merge_dedicated_pools(kPool, kOther));
  manager_.poll();
  ASSERT_TRUE(waiting && *waiting) << "its pool has enough now";
  EXPECT_EQ(facts(kPool).free, length(0));
}

TEST_F(PoolsOfVms, AreMadeForAVmThatRunsAndLeftAgain) {
  create(kA);
  const Grant before = take(kA, 8);
  write(before);
  fill_pool(kPool, 16);
  ASSERT_TRUE(manager_.change_dedicated_pool(kA, kPool));
  EXPECT_EQ(facts(kPool).vms, 1U);
  const Grant grant = take(kA, 16);
  EXPECT_EQ(facts(kPool).free, length(0));
  const Pages old = write(grant);
  give_back(kA, grant);
  const Pages held = write(take(kA, 4));
  ASSERT_TRUE(manager_.change_dedicated_pool(kA, {}));
  settle();
  EXPECT_EQ(with_data(old), 4U) << "only what it still holds";
  for (const Extent* extent = manager_.extents().first_place(); extent != nullptr;
       extent = manager_.extents().next_place(*extent)) {
    const MemorySpan memory = manager_.extents().memory(*extent);
    if (held.contains(memory.data())) {
      ASSERT_TRUE(manager_.release(kA, memory));
    }
  }
  settle();
  EXPECT_EQ(with_data(old), 0U) << "it went back to the pool and was scrubbed there";
  EXPECT_EQ(facts(kPool).free, length(16));
  EXPECT_TRUE(manager_.destroy_dedicated_pool(kPool));
}

TEST_F(PoolsOfVms, WhatAVmWroteOutsideIsNotSharedWhenItComesBack) {
  fill_pool(kPool, 8, {.placement = {}, .shares = true});
  create(kA, kCustomer, {}, kPool);
  create(kB, kCustomer, {}, kPool);
  const Grant grant = take(kA, 8);
  ASSERT_TRUE(manager_.change_dedicated_pool(kA, {}));
  const Pages old = write(grant);
  ASSERT_TRUE(manager_.change_dedicated_pool(kA, kPool));
  give_back(kA, grant);
  EXPECT_EQ(look(more(kB, 8), old), (Seen{8, 0, 8, 0}));
}

TEST_F(PoolsOfVms, RefuseAVmThatDoesNotFit) {
  create(kA);
  create(kB, kOtherCustomer);
  fill_pool(kPool, 8);
  EXPECT_EQ(manager_.change_dedicated_pool(VmId(404), kPool).error().code, HostErrc::UnknownId);
  EXPECT_EQ(manager_.change_dedicated_pool(kA, DedicatedPoolId(404)).error().code, HostErrc::UnknownId);
  EXPECT_EQ(manager_.change_dedicated_pool(kB, kPool).error().code, HostErrc::ForeignCustomer);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(manager_.change_dedicated_pool(kA, kPool).error().code, HostErrc::WrongState);
  back(kA, 4);
  EXPECT_TRUE(manager_.change_dedicated_pool(kA, kPool));
}

}  // namespace
}  // namespace sluice::test
