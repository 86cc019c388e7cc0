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

Claim rebooted(Claim claim, BootNumber boot = 9) {
  claim.kind = ClaimKind::Reboot;
  claim.boot = boot;
  claim.has_rebooted = true;
  return claim;
}

Claim sharing(Claim claim) {
  claim.pool_shares = true;
  return claim;
}

/// What a claim was granted clean and wrote, in its pool if it has one.
Lineage written_by(const Claim& claim) { return {.owner = owner_of(claim, claim.pool), .pool = claim.pool}; }

Decision decide(const Claim& writer, const Claim& claim) { return RecyclePolicy::decide(written_by(writer), claim); }

TEST(RecyclePolicy, ScrubsWhatNobodyKnows) {
  EXPECT_EQ(RecyclePolicy::decide(Lineage{}, claim_of(kVm)), (Decision{false, Reason::UnknownOwner}));
  EXPECT_EQ(RecyclePolicy::decide(Lineage{}, Claim{}), (Decision{false, Reason::UnknownOwner}))
      << "none is not the same";
}

TEST(RecyclePolicy, SkipsWithinSameVm) {
  EXPECT_EQ(decide(claim_of(kVm), claim_of(kVm)), (Decision{true, Reason::SameVm}));
  EXPECT_EQ(decide(claim_of(kVm), rebooted(claim_of(kVm))), (Decision{true, Reason::SameVmAfterReboot}));
}

/// One way for each piece of memory: what one setting denies, no other gives.
TEST(RecyclePolicy, OwnMemoryHasOneWayAndADenialClosesIt) {
  struct {
    Claim writer;
    Claim reader;
    bool RecycleSettings::*door;
    Reason reason;
  } const cases[] = {
      {claim_of(kVm), claim_of(kVm), &RecycleSettings::recycle_within_vm, Reason::SameVm},
      {in_pool(claim_of(kVm)), in_pool(claim_of(kVm)), &RecycleSettings::recycle_within_dedicated_pool,
       Reason::DedicatedPool},
      {claim_of(kVm), rebooted(claim_of(kVm)), &RecycleSettings::recycle_on_reboot, Reason::SameVmAfterReboot},
      {in_pool(in_group(claim_of(kVm))), rebooted(sharing(in_pool(in_group(claim_of(kVm))))),
       &RecycleSettings::recycle_on_reboot, Reason::SameVmAfterReboot},
  };
  for (const auto& [writer, reader, door, reason] : cases) {
    for (const ClaimKind kind : {ClaimKind::Grow, ClaimKind::Reboot}) {
      Claim claim = reader;
      claim.kind = kind;
      EXPECT_EQ(decide(writer, claim), (Decision{true, reason}));
      claim.allowed.*door = false;
      EXPECT_EQ(decide(writer, claim), (Decision{false, Reason::Forbidden})) << to_string(reason);
      claim.allowed = {.recycle_on_reboot = false,
                       .recycle_within_vm = false,
                       .recycle_within_dedicated_pool = false,
                       .recycle_within_trust_group = false};
      claim.allowed.*door = true;
      EXPECT_TRUE(decide(writer, claim).recycle) << to_string(reason);
      claim.allowed.force_new_memory = true;
      EXPECT_EQ(decide(writer, claim), (Decision{false, Reason::Forbidden})) << to_string(reason);
    }
  }
}

/// A wrote, B of its group got that as it was, A has rebooted: it may be A's from before.
TEST(RecyclePolicy, WhatOthersHadMayHoldWhatTheVmWroteBeforeItsReboot) {
  Claim first = in_group(claim_of(kVm));
  first.boot = 3;
  Claim other = in_group(claim_of(kOtherVm));
  other.boot = 4;
  const Owner owner = passed_on(written_by(first), other);
  EXPECT_EQ(owner.boot, 4U);
  EXPECT_EQ(owner.since, 3U);
  Claim again = rebooted(in_group(claim_of(kVm)), 5);
  EXPECT_EQ(RecyclePolicy::decide({.owner = owner}, again), (Decision{true, Reason::TrustGroup}));
  again.allowed.recycle_on_reboot = false;
  EXPECT_EQ(RecyclePolicy::decide({.owner = owner}, again), (Decision{false, Reason::Forbidden}));
  EXPECT_TRUE(RecyclePolicy::decide(written_by(other), again).recycle) << "B alone wrote that";
  again.has_rebooted = false;
  EXPECT_TRUE(RecyclePolicy::decide({.owner = owner}, again).recycle) << "it never rebooted";
  Claim later = rebooted(in_group(claim_of(kVm)), 5);
  later.allowed.recycle_on_reboot = false;
  other.boot = 7;
  first.boot = 6;
  EXPECT_TRUE(RecyclePolicy::decide({.owner = passed_on(written_by(first), other)}, later).recycle)
      << "all of it was written after the reboot";
}

/// B wrote, A of its group got that and wrote, B got it back in the same boot: A's data is in it.
TEST(RecyclePolicy, MemoryThatCameBackToItsFirstWriterHasTheOthersDataToo) {
  Claim b = in_group(claim_of(kOtherVm));
  b.boot = 3;
  Claim a = in_group(claim_of(kVm));
  a.boot = 4;
  const Lineage at_a{.owner = passed_on(written_by(b), a)};
  const Lineage back{.owner = passed_on(at_a, b)};
  Claim again = rebooted(in_group(claim_of(kVm)), 5);
  EXPECT_TRUE(RecyclePolicy::decide(back, again).recycle);
  again.allowed.recycle_on_reboot = false;
  EXPECT_EQ(RecyclePolicy::decide(back, again), (Decision{false, Reason::Forbidden}));
}

TEST(RecyclePolicy, WhatTheVmHasLeftOnlyItsGroupMayGiveItBack) {
  const Claim writer = in_pool(in_group(claim_of(kVm)));
  Lineage lineage = written_by(writer);
  lineage.owner.left = true;
  EXPECT_EQ(RecyclePolicy::decide(lineage, in_pool(claim_of(kVm))), (Decision{false, Reason::OtherDomain}));
  EXPECT_EQ(RecyclePolicy::decide(lineage, writer), (Decision{true, Reason::TrustGroup}));
  Claim denies = writer;
  denies.allowed.recycle_within_dedicated_pool = false;
  EXPECT_EQ(RecyclePolicy::decide(lineage, denies), (Decision{false, Reason::Forbidden}));
  denies = rebooted(writer);
  EXPECT_EQ(RecyclePolicy::decide(lineage, denies), (Decision{true, Reason::TrustGroup}));
  denies.allowed.recycle_on_reboot = false;
  EXPECT_EQ(RecyclePolicy::decide(lineage, denies), (Decision{false, Reason::Forbidden}));
}

/// It got its memory back after a reboot, gave it back, and then denies reuse: it is still from before the reboot.
TEST(RecyclePolicy, MemoryStaysFromBeforeARebootThroughEveryGrant) {
  Claim first = claim_of(kVm);
  first.boot = 3;
  Claim again = rebooted(claim_of(kVm), 5);
  const Lineage lineage{.owner = passed_on(written_by(first), again)};
  EXPECT_EQ(lineage.owner.boot, 5U);
  EXPECT_EQ(lineage.owner.since, 3U);
  EXPECT_EQ(RecyclePolicy::decide(lineage, again), (Decision{true, Reason::SameVm}));
  again.allowed.recycle_on_reboot = false;
  EXPECT_EQ(RecyclePolicy::decide(lineage, again), (Decision{false, Reason::Forbidden}));
  EXPECT_TRUE(RecyclePolicy::decide({.owner = owner_of(again, {})}, again).recycle) << "which is of this boot";
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
  EXPECT_EQ(decide(writer, in_pool(claim_of(kVm))), (Decision{true, Reason::DedicatedPool}));
  EXPECT_EQ(decide(writer, in_pool(claim_of(kOtherVm))), (Decision{false, Reason::OtherDomain}));
  EXPECT_EQ(decide(writer, sharing(in_pool(claim_of(kOtherVm)))), (Decision{true, Reason::DedicatedPool}));
  EXPECT_EQ(decide(writer, sharing(in_pool(claim_of(kOtherVm), DedicatedPoolId(1001)))),
            (Decision{false, Reason::OtherDomain}));
  Lineage left = written_by(writer);
  left.pool = {};
  EXPECT_EQ(RecyclePolicy::decide(left, sharing(in_pool(claim_of(kOtherVm)))), (Decision{false, Reason::OtherDomain}))
      << "it is in the shared pool now";
  EXPECT_EQ(decide(writer, claim_of(kOtherVm)), (Decision{false, Reason::OtherDomain}));
}

TEST(RecyclePolicy, ScrubsWhateverJoinsAPool) {
  Claim claim = in_pool(claim_of({}));
  claim.kind = ClaimKind::Pool;
  EXPECT_EQ(decide(in_pool(claim_of(kVm)), claim), (Decision{false, Reason::OtherDomain}));
}

TEST(RecyclePolicy, NeverCrossesCustomersWhateverTheIdsSay) {
  const Claim writer = in_pool(in_group(claim_of(kVm)));
  EXPECT_EQ(decide(writer, sharing(in_pool(in_group(claim_of(kOtherVm, kOtherCustomer))))),
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
  Claim claim = sharing(in_pool(in_group(claim_of(kVm))));
  claim.allowed = {.recycle_on_reboot = false,
                   .recycle_within_vm = true,
                   .recycle_within_dedicated_pool = false,
                   .recycle_within_trust_group = false};
  EXPECT_EQ(decide(claim_of(kVm), claim), (Decision{true, Reason::SameVm}));
  EXPECT_EQ(decide(in_group(claim_of(kOtherVm)), claim), (Decision{false, Reason::Forbidden}));
  EXPECT_EQ(decide(in_pool(claim_of(kOtherVm)), claim), (Decision{false, Reason::Forbidden}));
  EXPECT_EQ(decide(in_pool(in_group(claim_of(kVm))), rebooted(claim)), (Decision{false, Reason::Forbidden}));
}

TEST(RecyclePolicy, PoolForbiddenStillLeavesTheGroup) {
  Claim claim = sharing(in_pool(in_group(claim_of(kOtherVm))));
  claim.allowed.recycle_within_dedicated_pool = false;
  EXPECT_EQ(decide(in_pool(in_group(claim_of(kVm))), claim), (Decision{true, Reason::TrustGroup}));
}

/// A wrote in group G, B of group G and pool P got it as it was: what A wrote was never in P.
TEST(RecyclePolicy, MixedLineageMustBeScrubbed) {
  const Claim a = in_group(claim_of(kVm));
  const Claim b = in_pool(in_group(claim_of(kOtherVm)));
  const Claim c = sharing(in_pool(claim_of(VmId(3))));
  const Lineage lineage{.owner = passed_on({.owner = owner_of(a, {}), .pool = kPool}, b), .pool = kPool};
  EXPECT_EQ(lineage.owner.vm, b.vm) << "B has seen it all";
  EXPECT_EQ(RecyclePolicy::decide(lineage, b), (Decision{true, Reason::DedicatedPool}));
  EXPECT_EQ(RecyclePolicy::decide(lineage, c), (Decision{false, Reason::OtherDomain}));
  EXPECT_EQ(RecyclePolicy::decide(lineage, in_group(claim_of(VmId(4)))), (Decision{true, Reason::TrustGroup}));
}

TEST(RecyclePolicy, LineageDoesNotSurviveAChangeOfEpoch) {
  const Owner owner = passed_on(written_by(in_group(claim_of(kVm))), in_group(claim_of(kVm), kGroup, 2));
  EXPECT_EQ(RecyclePolicy::decide({.owner = owner}, in_group(claim_of(kOtherVm), kGroup, 2)),
            (Decision{false, Reason::OtherDomain}));
}

}  // namespace
}  // namespace sluice
