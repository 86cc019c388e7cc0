// SPDX-License-Identifier: Apache-2.0
// What a manager knows again after a crash of dedicated pools.
#include "host/memory/recovery.hpp"

namespace sluice::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr DedicatedPoolId kPool{7};
constexpr DedicatedPoolId kOther{8};
constexpr DedicatedPoolId kShared{};

class RecoveryOfPools : public Recovery {
 protected:
  /// A VM of a pool, or of none.
  static VmProfile member(VmId vm, DedicatedPoolId pool) { return {vm, kCustomer, pool, {}, {}, {}, {}}; }
  void create(VmId vm, DedicatedPoolId pool) {
    const auto created = manager_->create_vm(member(vm, pool));
    ASSERT_TRUE(created) << created.error().message;
  }
  void adopt_pool(DedicatedPoolId pool, const PoolOptions& options = {}) {
    const auto adopted = manager_->adopt_dedicated_pool(pool, kCustomer, options);
    ASSERT_TRUE(adopted) << adopted.error().message;
  }
  Grant adopt(VmId vm, DedicatedPoolId pool) {
    auto grant = manager_->adopt(member(vm, pool));
    EXPECT_TRUE(grant) << (grant ? "" : grant.error().message);
    return grant ? *grant : Grant{};
  }
  void release_all(VmId vm, const Grant& grant) {
    for (const GrantedRange& range : grant.ranges) ASSERT_TRUE(manager_->release(vm, range.memory));
  }
  static void fill(const Grant& grant, std::byte value) {
    for (const GrantedRange& range : grant.ranges) std::fill(range.memory.begin(), range.memory.end(), value);
  }
  static bool is_zeroed(MemorySpan memory) {
    return std::all_of(memory.begin(), memory.end(), [](std::byte value) { return value == std::byte{0}; });
  }
  static std::uint64_t pages_in_all(const Grant& grant) {
    std::uint64_t pages = 0;
    for (const GrantedRange& range : grant.ranges) pages += range.memory.size() / 4096;
    return pages;
  }
  void restart() {
    crash();
    start(*memory_);
  }
};

TEST_F(RecoveryOfPools, APoolComesBackWithItsMemoryAndItsVms) {
  start(*memory_);
  settle();
  make_pool(kPool, 20, {.placement = {}, .shares = true});
  create(kA, kPool);
  const Grant before = take(kA, 6);
  restart();
  EXPECT_THAT(manager_->unadopted_pools(), ElementsAre(kPool));
  EXPECT_EQ(manager_->dedicated_pool(kPool), std::nullopt) << "nobody has spoken for it yet";
  const auto early = manager_->adopt(member(kA, kPool));
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, HostErrc::UnknownId);
  EXPECT_THAT(early.error().message, HasSubstr("pool 7 had memory before the crash: adopt it first, or destroy it"));
  adopt_pool(kPool, {.placement = {}, .shares = true});
  EXPECT_THAT(manager_->unadopted_pools(), IsEmpty());
  const Placement placement{.pages = PageKind::Small, .unit = ByteCount(4096)};
  const PoolFacts facts{.customer = kCustomer,
                        .shares = true,
                        .vms = 0,
                        .ready = true,
                        .size = ByteCount(20 * 4096),
                        .free = ByteCount(14 * 4096),
                        .placement = placement};
  EXPECT_EQ(manager_->dedicated_pool(kPool), facts);
  const Grant again = adopt(kA, kPool);
  ASSERT_EQ(again.ranges.size(), 1U);
  EXPECT_EQ(again.ranges[0].memory.data(), before.ranges.at(0).memory.data());
  EXPECT_EQ(pages_in_all(again), 6U);
  // It goes on as before: the rest of the pool is its own, and was clean all the time.
  const Grant rest = take(kA, 14);
  EXPECT_EQ(manager_->dedicated_pool(kPool)->free, ByteCount(0));
  EXPECT_EQ(pages_of(kShared), 44U);
  for (const GrantedRange& range : rest.ranges) EXPECT_FALSE(range.recycled);
  EXPECT_EQ(manager_->statistics().scrub_jobs, 0U);
}

/// Who wrote it, nobody knows: not even a VM of a pool that shares all gets it as it is.
TEST_F(RecoveryOfPools, WhatWasDirtyInAPoolIsScrubbedBeforeAnybodyGetsIt) {
  start(*memory_);
  settle();
  make_pool(kPool, 20, {.placement = {}, .shares = true});
  create(kA, kPool);
  const Grant before = take(kA, 20);
  fill(before, std::byte{0xAA});
  release_all(kA, before);
  ASSERT_EQ(pages_in(ExtentState::Dirty), 20U) << "it waits for its VM";
  restart();
  EXPECT_EQ(pages_in(ExtentState::Dirty), 20U);
  EXPECT_EQ(pages_of(kPool), 20U);
  adopt_pool(kPool, {.placement = {}, .shares = true});
  create(kB, kPool);
  const Grant after = take(kB, 20);
  EXPECT_EQ(pages_of(kShared), 44U);
  EXPECT_EQ(pages_in(ExtentState::Owned), 20U);
  for (const GrantedRange& range : after.ranges) {
    EXPECT_FALSE(range.recycled);
    EXPECT_TRUE(is_zeroed(range.memory));
  }
  EXPECT_EQ(before.ranges.at(0).memory[0], std::byte{0}) << "it is the same memory";
}

TEST_F(RecoveryOfPools, MemoryOfAnUnadoptedPoolGoesToNobody) {
  start(*memory_);
  settle();
  make_pool(kPool, 30);
  make_pool(kOther, 4);
  restart();
  adopt_pool(kOther);
  create(kA, {});
  create(kB, kOther);
  EXPECT_EQ(manager_->available_to(kA), ByteCount(30 * 4096));
  EXPECT_EQ(manager_->available_to(kB), ByteCount(34 * 4096));
  take(kB, 34);
  const auto more = manager_->allocate(kA, kPageSize, {});
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, HostErrc::OutOfMemory);
  EXPECT_FALSE(manager_->grow_dedicated_pool(kOther, kPageSize, {}));
  // Nor does any other call touch it.
  const auto again = manager_->create_dedicated_pool(kPool, kCustomer, kPageSize, {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, HostErrc::WrongState);
  EXPECT_THAT(again.error().message, HasSubstr("adopt it, or destroy it"));
  for (const auto& refused :
       {manager_->shrink_dedicated_pool(kPool, kPageSize), manager_->move_between_pools(kPool, kOther, kPageSize),
        manager_->merge_dedicated_pools(kOther, kPool), manager_->change_dedicated_pool(kA, kPool)}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, HostErrc::UnknownId);
  }
  EXPECT_EQ(pages_of(kPool), 30U);
  adopt_pool(kPool);
  ASSERT_TRUE(manager_->change_dedicated_pool(kA, kPool));
  take(kA, 30);
}

TEST_F(RecoveryOfPools, AnUnadoptedPoolIsGivenUpAndItsVmsReleaseToTheSharedPool) {
  start(*memory_);
  settle();
  make_pool(kPool, 20);
  create(kA, kPool);
  const Grant before = take(kA, 5);
  fill(before, std::byte{0xAA});
  restart();
  ASSERT_TRUE(manager_->destroy_dedicated_pool(kPool));
  EXPECT_THAT(manager_->unadopted_pools(), IsEmpty());
  EXPECT_EQ(pages_of(kShared), 64U);
  const auto gone = manager_->adopt_dedicated_pool(kPool, kCustomer);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, HostErrc::IdUsedBefore);
  const Grant held = adopt(kA, {});
  EXPECT_EQ(pages_in_all(held), 5U);
  EXPECT_EQ(held.ranges.at(0).memory[7], std::byte{0xAA});
  release_all(kA, held);
  settle();
  EXPECT_EQ(pages_in(ExtentState::Clean), 64U);
  EXPECT_TRUE(is_zeroed(before.ranges.at(0).memory));
  // Also after one more crash.
  restart();
  EXPECT_THAT(manager_->unadopted_pools(), IsEmpty());
  EXPECT_EQ(pages_in(ExtentState::Clean), 64U);
}

TEST_F(RecoveryOfPools, AnAdoptionThatIsRefusedChangesNothing) {
  start(*memory_);
  settle();
  make_pool(kPool, 20);
  make_pool(kOther, 4);
  restart();
  adopt_pool(kOther);
  const struct {
    DedicatedPoolId pool;
    CustomerId customer;
    Placement placement;
    HostErrc code;
    const char* message;
  } table[] = {
      {kPool, kCustomer, {.pages = PageKind::Huge2MiB}, HostErrc::InvalidArgument, "pages of 2097152 bytes were asked"},
      {kPool, kCustomer, {.node = 5}, HostErrc::InvalidArgument, "the host has node 0"},
      {kPool, {}, {}, HostErrc::InvalidArgument, "customer id 0 means none"},
      {{}, kCustomer, {}, HostErrc::InvalidArgument, "pool id 0 means none"},
      {kOther, kCustomer, {}, HostErrc::IdUsedBefore, "pool 8 exists"},
      {DedicatedPoolId(9), kCustomer, {}, HostErrc::UnknownId, "pool 9 had no memory before the crash: create it"},
  };
  for (const auto& row : table) {
    const auto refused = manager_->adopt_dedicated_pool(row.pool, row.customer, {.placement = row.placement});
    ASSERT_FALSE(refused) << row.message;
    EXPECT_EQ(refused.error().code, row.code) << row.message;
    EXPECT_THAT(refused.error().message, HasSubstr(row.message));
    EXPECT_THAT(manager_->unadopted_pools(), ElementsAre(kPool));
    EXPECT_EQ(manager_->dedicated_pool(kPool), std::nullopt);
    EXPECT_EQ(pages_of(kPool), 20U);
  }
  adopt_pool(kPool, {.placement = {.pages = PageKind::Small}});
}

TEST_F(RecoveryOfPools, AVmWithMemoryOfItsPoolAndBeyondItReleasesEachToWhereItCameFrom) {
  start(*memory_);
  settle();
  make_pool(kPool, 10);
  create(kA, kPool);
  take(kA, 16);
  ASSERT_EQ(pages_of(kShared), 54U);
  restart();
  EXPECT_EQ(pages_of(kPool), 10U);
  EXPECT_EQ(pages_in(ExtentState::Owned), 16U);
  adopt_pool(kPool);
  const Grant held = adopt(kA, kPool);
  EXPECT_EQ(pages_in_all(held), 16U);
  release_all(kA, held);
  EXPECT_EQ(pages_of(kPool), 10U);
  EXPECT_EQ(manager_->dedicated_pool(kPool)->free, ByteCount(10 * 4096));
  settle();
  // What is in the pool is its own and waits for it, the rest is for everybody.
  EXPECT_EQ(pages_in(ExtentState::Dirty), 10U);
  EXPECT_EQ(pages_in(ExtentState::Clean), 54U);
  const Grant again = take(kA, 10);
  for (const GrantedRange& range : again.ranges) EXPECT_EQ(range.reason, Reason::DedicatedPool);
}

/// What it holds of its old pool and of the shared pool has one mark.
TEST_F(RecoveryOfPools, AVmWithMemoryOfTwoPoolsReboots) {
  start(*memory_);
  settle();
  make_pool(kPool, 4);
  make_pool(kOther, 4);
  create(kA, kPool);
  take(kA, 4);
  ASSERT_TRUE(manager_->change_dedicated_pool(kA, kOther));
  take(kA, 6);
  for (const bool down : {true, false}) {
    if (down) {
      ASSERT_TRUE(manager_->begin_reboot(kA));
    }
    restart();
    EXPECT_EQ(pages_in(ExtentState::Owned), 10U);
    adopt_pool(kPool);
    adopt_pool(kOther);
    EXPECT_EQ(pages_in_all(adopt(kA, kOther)), down ? 0U : 10U);
    EXPECT_EQ(manager_->reboots(kA), down);
    EXPECT_EQ(pages_in(ExtentState::Reserved), down ? 10U : 0U);
    if (!down) break;
    std::optional<Result<Grant>> back;
    ASSERT_TRUE(manager_->finish_reboot(kA, ByteCount(10 * 4096), [&](Result<Grant> grant) { back = grant; }));
    settle();
    ASSERT_TRUE(back && *back);
    for (const GrantedRange& range : (*back)->ranges) EXPECT_TRUE(range.recycled);
  }
}

TEST_F(RecoveryOfPools, AVmThatDoesNotLiveLeavesItsMemoryInItsPool) {
  start(*memory_);
  settle();
  make_pool(kPool, 10);
  create(kA, kPool);
  const Grant before = take(kA, 10);
  fill(before, std::byte{0xAA});
  restart();
  ASSERT_TRUE(manager_->terminate(kA));
  settle();
  EXPECT_EQ(pages_of(kPool), 10U);
  EXPECT_EQ(pages_in(ExtentState::Clean), 64U);
  EXPECT_TRUE(is_zeroed(before.ranges.at(0).memory));
  adopt_pool(kPool);
  EXPECT_EQ(manager_->dedicated_pool(kPool)->free, ByteCount(10 * 4096));
}

TEST_F(RecoveryOfPools, PoolsThatWereCutJoinedAndMovedComeBackAsTheyWere) {
  constexpr DedicatedPoolId kPart{9};
  start(*memory_);
  settle();
  make_pool(kPool, 20);
  make_pool(kOther, 8);
  create(kA, kPool);
  create(kB, kOther);
  take(kA, 2);
  take(kB, 3);
  ASSERT_TRUE(manager_->partition_dedicated_pool(kPool, kPart, ByteCount(5 * 4096)));
  ASSERT_TRUE(manager_->move_between_pools(kPool, kPart, ByteCount(2 * 4096)));
  ASSERT_TRUE(manager_->merge_dedicated_pools(kPool, kOther));
  ASSERT_TRUE(manager_->shrink_dedicated_pool(kPool, ByteCount(1 * 4096)));
  restart();
  EXPECT_THAT(manager_->unadopted_pools(), ElementsAre(kPool, kPart));
  EXPECT_EQ(pages_of(kPool), 20U);
  EXPECT_EQ(pages_of(kPart), 7U);
  EXPECT_EQ(pages_in(ExtentState::Owned), 5U);
  EXPECT_EQ(pages_in(ExtentState::Clean), 59U);
  adopt_pool(kPool);
  EXPECT_EQ(pages_in_all(adopt(kB, kPool)), 3U);
  EXPECT_EQ(manager_->dedicated_pool(kPool)->free, ByteCount(15 * 4096));
}

TEST_F(RecoveryOfPools, BadMemoryOfAPoolStaysBadAndInIt) {
  start(*memory_);
  settle();
  make_pool(kPool, 4);
  create(kA, kPool);
  release_all(kA, take(kA, 4));
  ASSERT_TRUE(manager_->terminate(kA));
  manager_->poll();
  engine_->end(0, Outcome::Failed, 0, FailureCause::SlaveError);
  settle();
  ASSERT_EQ(pages_in(ExtentState::Quarantined), 4U);
  restart();
  EXPECT_EQ(pages_in(ExtentState::Quarantined), 4U);
  EXPECT_EQ(pages_of(kPool), 4U);
}

TEST_F(RecoveryOfPools, APoolWithoutMemoryIsNotKnownAndCreatedAgain) {
  start(*memory_);
  settle();
  make_pool(kPool, 4);
  ASSERT_TRUE(manager_->shrink_dedicated_pool(kPool, ByteCount(4 * 4096)));
  restart();
  EXPECT_THAT(manager_->unadopted_pools(), IsEmpty());
  make_pool(kPool, 6);
  EXPECT_EQ(pages_of(kPool), 6U);
}

/// A pool whose creation failed leaves no trace.
TEST_F(RecoveryOfPools, APoolThatWasNeverFilledIsNotKnown) {
  start(*memory_);
  settle();
  create(kA, {});
  take(kA, 60);
  EXPECT_FALSE(manager_->create_dedicated_pool(kPool, kCustomer, ByteCount(8 * 4096), {}));
  ASSERT_TRUE(manager_->terminate(kA));
  const auto claim = manager_->create_dedicated_pool(kPool, kCustomer, ByteCount(30 * 4096), {});
  ASSERT_TRUE(claim);
  restart();
  EXPECT_THAT(manager_->unadopted_pools(), IsEmpty());
  EXPECT_EQ(pages_of(kShared), 64U);
}

}  // namespace
}  // namespace sluice::test
