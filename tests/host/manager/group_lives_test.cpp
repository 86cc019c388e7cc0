// SPDX-License-Identifier: Apache-2.0
// What a VM's trust group has of its memory: scrubs that are dropped, groups inside groups, groups that end.
#include <gmock/gmock.h>

#include "support/recycling_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr TrustGroupId kGroup{7};
constexpr TrustGroupId kSibling{8};
constexpr TrustGroupId kLarger{20};

class GroupLives : public RecyclingTest {
 protected:
  void join(VmId vm, TrustGroupId group, const ScrubSettings& scrub = {}) {
    ASSERT_TRUE(manager_.create_vm({vm, kCustomer, {}, group, {}, scrub}));
  }
};

TEST_F(GroupLives, AScheduledScrubIsDroppedForGood) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  join(kA, kGroup, {.timing = ScrubTiming::Scheduled, .delay = std::chrono::seconds(60)});
  join(kB, kGroup);
  const Pages old = write(take(kA, 16));
  ASSERT_TRUE(manager_.terminate(kA));
  EXPECT_GE(manager_.next_scheduled(), std::chrono::seconds(60));
  EXPECT_EQ(look(more(kB, 16), old), (Seen{16, 16, 16, 16}));
  EXPECT_EQ(manager_.statistics().taken_from_queue, length(16));
  EXPECT_EQ(manager_.next_scheduled(), std::nullopt);
  engine_.set_time(std::chrono::seconds(61));
  settle();
  EXPECT_EQ(with_data(old), 16U) << "its time came, and B holds it";
  EXPECT_EQ(manager_.statistics().scrub_jobs, 0U);
}

TEST_F(GroupLives, AQueuedScrubIsDroppedForGood) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  join(kA, kGroup);
  join(kB, kGroup);
  const Pages old = write(take(kA, 16));
  engine_.set_busy(true);
  ASSERT_TRUE(manager_.terminate(kA));
  EXPECT_EQ(look(take(kB, 16), old), (Seen{16, 16, 16, 16})) << "the engine never heard of it";
  engine_.set_busy(false);
  manager_.poll();
  EXPECT_TRUE(engine_.running().empty());
  EXPECT_EQ(with_data(old), 16U);
}

TEST_F(GroupLives, AScrubThatRunsIsCancelledAndTheScrubbedPartReused) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  join(kA, kGroup);
  join(kB, kGroup);
  const Pages old = write(take(kA, 16));
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  ask(kB, 16, result);
  ASSERT_EQ(engine_.running().size(), 1U);
  ASSERT_TRUE(engine_.running()[0].cancel_requested);
  engine_.end(0, Outcome::Cancelled, 5 * 4096 + 100);
  manager_.poll();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(look(**result, old), (Seen{16, 16, 16, 11})) << "five pages and a bit are zeros already";
}

TEST_F(GroupLives, DifferentGroupsOfACustomerAreScrubbedBetween) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer));
  join(kA, kGroup);
  join(kB, kSibling);
  join(VmId(3), customer_group(kCustomer));
  const Pages old = write(take(kA, 64));
  ASSERT_TRUE(manager_.terminate(kA));
  EXPECT_EQ(look(more(kB, 16), old), (Seen{16, 0, 16, 0})) << "finer groups inside a customer";
  EXPECT_EQ(look(more(VmId(3), 48), old), (Seen{48, 0, 48, 0}));
}

/// The group has ended and its memory has not: who is inside the larger group trusts all who ever wrote in it, and
/// ending an inner group takes nobody out of that.
TEST_F(GroupLives, OfAnEndedGroupTheSiblingsInTheLargerOneMayHaveTheMemory) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer, kLarger));
  join(kA, kGroup);
  join(kB, kSibling);
  create(VmId(3));
  const Pages old = write(take(kA, 32));
  ASSERT_TRUE(manager_.terminate(kA));
  ASSERT_TRUE(manager_.destroy_trust_group(kGroup));
  const Grant grant = more(kB, 16);
  EXPECT_EQ(look(grant, old), (Seen{16, 16, 16, 16}));
  EXPECT_EQ(grant.ranges.at(0).reason, Reason::LargerGroup);
  EXPECT_EQ(look(more(VmId(3), 48), old).with_data, 0U) << "nobody else";
}

TEST_F(GroupLives, OfAnEndedGroupWithoutALargerOneNobodyHasTheMemory) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  join(kA, kGroup);
  const Pages old = write(take(kA, 64));
  ASSERT_TRUE(manager_.terminate(kA));
  ASSERT_TRUE(manager_.destroy_trust_group(kGroup));
  EXPECT_EQ(manager_.create_trust_group(kGroup, kCustomer).error().code, HostErrc::IdUsedBefore);
  join(kB, {});
  EXPECT_EQ(look(more(kB, 64), old), (Seen{64, 0, 64, 0}));
}

/// What it holds it writes on, out of the larger group's trust.
TEST_F(GroupLives, AMoveToADisabledGroupLeavesTheLargerOneToo) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer, kLarger));
  ASSERT_TRUE(manager_.enable_trust_group(kSibling, false));
  join(kA, kGroup);
  join(kB, kGroup);
  const Pages old = write(take(kA, 64));
  ASSERT_TRUE(manager_.change_trust_group(kA, kSibling));
  ASSERT_TRUE(manager_.terminate(kA));
  EXPECT_EQ(look(more(kB, 64), old), (Seen{64, 0, 64, 0}));
}

TEST_F(GroupLives, AChangeOfGroupReachesAPendingClaim) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  join(kA, kGroup);
  join(kB, kGroup);
  const Pages old = write(take(kA, 64));
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  ask(kB, 16, result);
  ASSERT_TRUE(manager_.change_trust_group(kB, {}));
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(look(**result, old), (Seen{16, 0, 16, 0}));
}

}  // namespace
}  // namespace sluice::test
