// SPDX-License-Identifier: Apache-2.0
// Dedicated pools after their creation: grown, shrunk, partitioned, merged, resized on reboot, ended.
#include <gmock/gmock.h>

#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr DedicatedPoolId kPool{9};
constexpr DedicatedPoolId kPart{10};

class DedicatedPools : public MemoryManagerTest {
 protected:
  void fill(DedicatedPoolId pool, std::size_t pages, CustomerId customer = kCustomer) {
    std::optional<Result<void>> filled;
    ASSERT_TRUE(manager_.create_dedicated_pool(pool, customer, length(pages),
                                               [&](const Result<void>& result) { filled = result; }));
    settle();
    ASSERT_TRUE(filled && *filled);
  }
  [[nodiscard]] PoolFacts facts(DedicatedPoolId pool) const { return manager_.dedicated_pool(pool).value(); }
  [[nodiscard]] ByteCount shared() const { return manager_.extents().bytes_in({}); }
  void write_and_release(VmId vm, std::size_t pages) {
    const Grant grant = take(vm, pages);
    for (const GrantedRange& range : grant.ranges) {
      std::fill(range.memory.begin(), range.memory.end(), std::byte{0xAA});
      ASSERT_TRUE(manager_.release(vm, range.memory));
    }
  }
};

TEST_F(DedicatedPools, TellTheirSizeAndWhatIsFree) {
  fill(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  take(kA, 6);
  EXPECT_EQ(facts(kPool).customer, kCustomer);
  EXPECT_EQ(facts(kPool).vms, 1U);
  EXPECT_EQ(facts(kPool).size, length(16));
  EXPECT_EQ(facts(kPool).free, length(10));
  EXPECT_EQ(manager_.dedicated_pool(kPart), std::nullopt);
}

TEST_F(DedicatedPools, TellWhereTheyAreAndWhoseTheyAre) {
  fill(kPool, 16);
  for (const VmId vm : {VmId(12), VmId(3)}) create(vm, kCustomer, {}, kPool);
  create(VmId(5), kCustomer);
  EXPECT_THAT(manager_.vms_of(kPool), ::testing::ElementsAre(VmId(3), VmId(12)));
  EXPECT_THAT(manager_.vms_of({}), ::testing::IsEmpty()) << "the shared pool is nobody's";
  EXPECT_EQ(facts(kPool).placement.pages, PageKind::Small);
  EXPECT_EQ(manager_.extents().bytes_in(kPool), length(16));
  ASSERT_TRUE(manager_.terminate(VmId(3)));
  EXPECT_THAT(manager_.vms_of(kPool), ::testing::ElementsAre(VmId(12)));
}

TEST_F(DedicatedPools, GiveABalloonItsMemoryBackUnscrubbed) {
  fill(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  write_and_release(kA, 8);
  settle();
  const Grant again = take(kA, 8);
  EXPECT_TRUE(again.ranges.at(0).recycled);
  EXPECT_EQ(first_not(again.ranges.at(0).memory, std::byte{0xAA}), std::nullopt);
  EXPECT_EQ(manager_.statistics().scrub_jobs, 0U);
}

TEST_F(DedicatedPools, GrowByWhatTheirOwnVmsWroteInTheSharedPool) {
  fill(kPool, 4);
  create(kA, kCustomer, {}, kPool);
  take(kA, 60);
  const Grant beyond = take(kA, 4);
  ASSERT_TRUE(manager_.release(kA, beyond.ranges.at(0).memory));
  std::optional<Result<void>> grown;
  ASSERT_TRUE(manager_.grow_dedicated_pool(kPool, length(4), [&](const Result<void>& result) { grown = result; }));
  settle();
  ASSERT_TRUE(grown && *grown);
  EXPECT_EQ(first_not(beyond.ranges.at(0).memory, std::byte{0}), std::nullopt) << "scrubbed before it joins";
}

TEST_F(DedicatedPools, TakeAllOfTheSharedPool) {
  fill(kPool, 64);
  EXPECT_EQ(shared(), length(0));
  create(kA, kCustomer, {}, kPool);
  EXPECT_EQ(take(kA, 64).ranges.size(), 1U);
  create(kB, kOtherCustomer);
  const auto refused = manager_.allocate(kB, length(1), [](const Result<Grant>&) {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::OutOfMemory);
}

TEST_F(DedicatedPools, GrowByMemoryThatIsScrubbedFirst) {
  create(kB, kOtherCustomer);
  fill(kPool, 8);
  write_and_release(kB, 56);
  std::optional<Result<void>> grown;
  ASSERT_TRUE(manager_.grow_dedicated_pool(kPool, length(56), [&](const Result<void>& result) { grown = result; }));
  manager_.poll();
  EXPECT_FALSE(grown) << "another customer's data is in it";
  const auto busy = manager_.destroy_dedicated_pool(kPool);
  ASSERT_FALSE(busy);
  EXPECT_THAT(busy.error().message, HasSubstr("1 pending claims"));
  settle();
  ASSERT_TRUE(grown && *grown);
  EXPECT_EQ(facts(kPool).size, length(64));
  create(kA, kCustomer, {}, kPool);
  for (const GrantedRange& range : take(kA, 64).ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
}

TEST_F(DedicatedPools, StayWhenTheyCannotGrow) {
  fill(kPool, 8);
  create(kB, kOtherCustomer);
  write_and_release(kB, 56);
  std::optional<Result<void>> grown;
  EXPECT_FALSE(manager_.grow_dedicated_pool(kPool, length(57), [&](const Result<void>& result) { grown = result; }));
  const auto claim =
      manager_.grow_dedicated_pool(kPool, length(56), [&](const Result<void>& result) { grown = result; });
  ASSERT_TRUE(claim);
  EXPECT_TRUE(manager_.abandon(*claim));
  manager_.poll();
  ASSERT_TRUE(grown);
  EXPECT_FALSE(*grown);
  EXPECT_EQ(facts(kPool).size, length(8));
  EXPECT_TRUE(manager_.destroy_dedicated_pool(kPool)) << "no claim is pending any more";
}

TEST_F(DedicatedPools, ShrinkByMemoryThatIsScrubbedBeforeAnybodyElseGetsIt) {
  fill(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  write_and_release(kA, 16);
  ASSERT_TRUE(manager_.shrink_dedicated_pool(kPool, length(10)));
  EXPECT_EQ(facts(kPool).size, length(6));
  EXPECT_EQ(shared(), length(58));
  create(kB, kOtherCustomer);
  settle();
  for (const GrantedRange& range : take(kB, 58).ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
  EXPECT_EQ(manager_.statistics().scrubbed, length(10)) << "what stayed in the pool was not scrubbed";
}

TEST_F(DedicatedPools, ShrinkAndPartitionOnlyWhatIsFree) {
  fill(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  take(kA, 10);
  for (const auto& refused :
       {manager_.shrink_dedicated_pool(kPool, length(7)), manager_.partition_dedicated_pool(kPool, kPart, length(7))}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, HostErrc::OutOfMemory);
    EXPECT_THAT(refused.error().message, HasSubstr("28672 bytes of pool 9 were asked for and 24576 are free"));
  }
  EXPECT_EQ(facts(kPool).size, length(16));
  EXPECT_EQ(manager_.dedicated_pool(kPart), std::nullopt);
}

TEST_F(DedicatedPools, PartitionLeavesTheVmsWhereTheyAreAndItsDataOutOfReach) {
  fill(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  write_and_release(kA, 16);
  ASSERT_TRUE(manager_.partition_dedicated_pool(kPool, kPart, length(12)));
  EXPECT_EQ(facts(kPool).size, length(4));
  EXPECT_EQ(facts(kPool).vms, 1U);
  EXPECT_EQ(facts(kPart).size, length(12));
  EXPECT_EQ(facts(kPart).vms, 0U);
  create(kB, kCustomer, {}, kPart);
  ASSERT_TRUE(manager_.create_dedicated_pool(DedicatedPoolId(77), kOtherCustomer, length(48), {})) << "no clean memory";
  std::optional<Result<Grant>> result;
  ask(kB, 12, result);
  settle();
  ASSERT_TRUE(result && *result);
  for (const GrantedRange& range : (*result)->ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
  EXPECT_EQ(manager_.statistics().scrubbed, length(12)) << "for the claim, or in the background as nobody's";
}

TEST_F(DedicatedPools, MergeKeepsWhatIsInThemApart) {
  fill(kPool, 8);
  fill(kPart, 8);
  create(kB, kCustomer, {}, kPart);
  write_and_release(kB, 8);
  create(kA, kCustomer, {}, kPool);
  ASSERT_TRUE(manager_.grow_dedicated_pool(kPart, length(1), {}));
  const auto busy = manager_.merge_dedicated_pools(kPool, kPart);
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().code, HostErrc::WrongState);
  EXPECT_THAT(busy.error().message, HasSubstr("pool 10 is growing"));
  settle();
  ASSERT_TRUE(manager_.shrink_dedicated_pool(kPart, length(1)));
  ASSERT_TRUE(manager_.terminate(kB));
  ASSERT_TRUE(manager_.merge_dedicated_pools(kPool, kPart));
  EXPECT_EQ(facts(kPool).size, length(16));
  EXPECT_EQ(manager_.dedicated_pool(kPart), std::nullopt);
  EXPECT_FALSE(manager_.create_dedicated_pool(kPart, kCustomer, length(1), {})) << "its id is not used again";
  ASSERT_TRUE(manager_.create_dedicated_pool(DedicatedPoolId(77), kOtherCustomer, length(48), {})) << "no clean memory";
  settle();
  std::optional<Result<Grant>> result;
  ask(kA, 16, result);
  settle();
  ASSERT_TRUE(result && *result);
  for (const GrantedRange& range : (*result)->ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
}

TEST_F(DedicatedPools, OfOthersOrUnknownAreRefused) {
  fill(kPool, 8);
  fill(kPart, 8, kOtherCustomer);
  const DedicatedPoolId unknown(404);
  const auto code = [](const Result<void>& result) {
    return result ? HostErrc{} : HostErrc(result.error().code.value());
  };
  EXPECT_EQ(code(manager_.merge_dedicated_pools(kPool, kPart)), HostErrc::ForeignCustomer);
  EXPECT_EQ(code(manager_.merge_dedicated_pools(kPool, kPool)), HostErrc::InvalidArgument);
  EXPECT_EQ(code(manager_.merge_dedicated_pools(kPool, unknown)), HostErrc::UnknownId);
  EXPECT_EQ(code(manager_.merge_dedicated_pools(unknown, kPool)), HostErrc::UnknownId);
  EXPECT_EQ(code(manager_.shrink_dedicated_pool(unknown, length(1))), HostErrc::UnknownId);
  EXPECT_EQ(code(manager_.shrink_dedicated_pool(kPool, ByteCount(1))), HostErrc::InvalidArgument);
  EXPECT_EQ(code(manager_.partition_dedicated_pool(kPool, kPart, length(1))), HostErrc::IdUsedBefore);
  EXPECT_EQ(code(manager_.partition_dedicated_pool(kPool, {}, length(1))), HostErrc::InvalidArgument);
  EXPECT_FALSE(manager_.grow_dedicated_pool(unknown, length(1), {}));
  EXPECT_EQ(facts(kPool).size, length(8));
  EXPECT_EQ(facts(kPart).size, length(8));
}

TEST_F(DedicatedPools, KeepTheirSizeOnRebootUnlessTheVmAsksForMore) {
  fill(kPool, 8);
  create(kA, kCustomer, {}, kPool);
  take(kA, 20);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(facts(kPool).size, length(8));
}

TEST_F(DedicatedPools, GrowToTheBalloonedSizeOnReboot) {
  fill(kPool, 8);
  create(kA, kCustomer, {}, kPool, {.grow_pool_on_reboot = true});
  take(kA, 20);
  EXPECT_EQ(facts(kPool).size, length(8));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(facts(kPool).size, length(20));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(manager_.finish_reboot(kA, length(12), [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(facts(kPool).free, length(8)) << "it stays in the pool, unscrubbed";
  EXPECT_EQ(manager_.statistics().scrubbed, length(0));
}

}  // namespace
}  // namespace sluice::test
