// SPDX-License-Identifier: Apache-2.0
#include "sluice/policy/recycle_policy.hpp"

#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr VmId kVm{1};
constexpr VmId kOtherVm{2};
constexpr CustomerId kCustomer{10};
constexpr CustomerId kOtherCustomer{11};
constexpr TrustGroupId kGroup{100};
constexpr DedicatedPoolId kPool{1000};

Claim claim_of(VmId vm, CustomerId customer = kCustomer) {
  Claim claim;
  claim.vm = vm;
  claim.customer = customer;
  claim.length = ByteCount(4096);
  return claim;
}

Claim in_group(Claim claim, TrustGroupId group = kGroup, std::uint64_t epoch = 1) {
  claim.group = claim.larger_group = {group, epoch};
  return claim;
}

Claim in_pool(Claim claim, DedicatedPoolId pool = kPool) {
  claim.pool = pool;
  return claim;
}

Decision decide(const Claim& writer, const Claim& claim) { return RecyclePolicy::decide(owner_of(writer), claim); }

TEST(RecyclePolicy, ScrubsWhatNobodyKnows) {
  EXPECT_EQ(RecyclePolicy::decide(Owner{}, claim_of(kVm)), (Decision{false, Reason::UnknownOwner}));
  EXPECT_EQ(RecyclePolicy::decide(Owner{}, Claim{}), (Decision{false, Reason::UnknownOwner})) << "none is not the same";
}

TEST(RecyclePolicy, SkipsWithinSameVm) {
  EXPECT_EQ(decide(claim_of(kVm), claim_of(kVm)), (Decision{true, Reason::SameVm}));
  Claim reboot = claim_of(kVm);
  reboot.kind = ClaimKind::Reboot;
  EXPECT_EQ(decide(claim_of(kVm), reboot), (Decision{true, Reason::SameVmAfterReboot}));
}

TEST(RecyclePolicy, ScrubsBetweenVmsOfOneCustomerThatShareNothingElse) {
  EXPECT_EQ(decide(claim_of(kVm), claim_of(kOtherVm)), (Decision{false, Reason::OtherDomain}));
}

TEST(RecyclePolicy, SkipsWithinTrustGroupAtTheSameEpoch) {
  const Claim writer = in_group(claim_of(kVm));
  EXPECT_EQ(decide(writer, in_group(claim_of(kOtherVm))), (Decision{true, Reason::TrustGroup}));
  EXPECT_EQ(decide(writer, in_group(claim_of(kOtherVm), kGroup, 2)), (Decision{false, Reason::GroupChanged}));
  EXPECT_EQ(decide(writer, in_group(claim_of(kOtherVm), TrustGroupId(101))), (Decision{false, Reason::OtherDomain}));
  EXPECT_EQ(decide(writer, claim_of(kOtherVm)), (Decision{false, Reason::OtherDomain}));
  EXPECT_EQ(decide(claim_of(kVm), in_group(claim_of(kOtherVm))), (Decision{false, Reason::OtherDomain}));
}

TEST(RecyclePolicy, NoGroupIsNotAGroup) {
  EXPECT_EQ(decide(claim_of(kVm), in_group(claim_of(kOtherVm), TrustGroupId(0))),
            (Decision{false, Reason::OtherDomain}));
}

TEST(RecyclePolicy, SkipsWithinDedicatedPool) {
  const Claim writer = in_pool(claim_of(kVm));
  EXPECT_EQ(decide(writer, in_pool(claim_of(kOtherVm))), (Decision{true, Reason::DedicatedPool}));
  EXPECT_EQ(decide(writer, in_pool(claim_of(kOtherVm), DedicatedPoolId(1001))), (Decision{false, Reason::OtherDomain}));
  EXPECT_EQ(decide(writer, claim_of(kOtherVm)), (Decision{false, Reason::OtherDomain}));
}

TEST(RecyclePolicy, ScrubsWhateverJoinsAPool) {
  Claim claim = in_pool(claim_of({}));
  claim.kind = ClaimKind::Pool;
  EXPECT_EQ(decide(in_pool(claim_of(kVm)), claim), (Decision{false, Reason::OtherDomain}));
}

TEST(RecyclePolicy, NeverCrossesCustomersWhateverTheIdsSay) {
  const Claim writer = in_pool(in_group(claim_of(kVm)));
  EXPECT_EQ(decide(writer, in_pool(in_group(claim_of(kOtherVm, kOtherCustomer)))),
            (Decision{false, Reason::OtherDomain}));
}

TEST(RecyclePolicy, RecyclesNothingWhereItIsNotEnabled) {
  for (const ClaimKind kind : {ClaimKind::Grow, ClaimKind::Reboot}) {
    for (const VmId vm : {kVm, kOtherVm}) {
      Claim claim = in_pool(in_group(claim_of(vm)));
      claim.kind = kind;
      EXPECT_TRUE(decide(in_pool(in_group(claim_of(kVm))), claim).recycle);
      claim.allowed.enable = false;
      EXPECT_EQ(decide(in_pool(in_group(claim_of(kVm))), claim), (Decision{false, Reason::Forbidden}));
    }
  }
}

TEST(RecyclePolicy, KeepsToTheSettingsOfTheClaim) {
  Claim claim = in_pool(in_group(claim_of(kVm)));
  claim.allowed = {.recycle_on_reboot = false,
                   .recycle_within_vm = true,
                   .recycle_within_dedicated_pool = false,
                   .recycle_within_trust_group = false};
  EXPECT_EQ(decide(claim_of(kVm), claim), (Decision{true, Reason::SameVm}));
  EXPECT_EQ(decide(in_group(claim_of(kOtherVm)), claim), (Decision{false, Reason::Forbidden}));
  EXPECT_EQ(decide(in_pool(claim_of(kOtherVm)), claim), (Decision{false, Reason::Forbidden}));
  claim.kind = ClaimKind::Reboot;
  EXPECT_EQ(decide(in_pool(in_group(claim_of(kVm))), claim), (Decision{false, Reason::Forbidden}));
}

TEST(RecyclePolicy, PoolForbiddenStillLeavesTheGroup) {
  Claim claim = in_pool(in_group(claim_of(kOtherVm)));
  claim.allowed.recycle_within_dedicated_pool = false;
  EXPECT_EQ(decide(in_pool(in_group(claim_of(kVm))), claim), (Decision{true, Reason::TrustGroup}));
}

/// A wrote in group G, B of group G and pool P got it as it was: what A wrote was never in P.
TEST(RecyclePolicy, MixedLineageMustBeScrubbed) {
  const Claim a = in_group(claim_of(kVm));
  const Claim b = in_pool(in_group(claim_of(kOtherVm)));
  const Claim c = in_pool(claim_of(VmId(3)));
  const Owner owner = passed_on(owner_of(a), b);
  EXPECT_EQ(owner.vm, b.vm) << "B has seen it all";
  EXPECT_EQ(RecyclePolicy::decide(owner, b), (Decision{true, Reason::SameVm}));
  EXPECT_EQ(RecyclePolicy::decide(owner, c), (Decision{false, Reason::OtherDomain}));
  EXPECT_EQ(RecyclePolicy::decide(owner, in_group(claim_of(VmId(4)))), (Decision{true, Reason::TrustGroup}));
}

TEST(RecyclePolicy, LineageDoesNotSurviveAChangeOfEpoch) {
  const Owner owner = passed_on(owner_of(in_group(claim_of(kVm))), in_group(claim_of(kVm), kGroup, 2));
  EXPECT_EQ(RecyclePolicy::decide(owner, in_group(claim_of(kOtherVm), kGroup, 2)),
            (Decision{false, Reason::OtherDomain}));
}

}  // namespace
}  // namespace sluice
