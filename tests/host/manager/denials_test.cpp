// SPDX-License-Identifier: Apache-2.0
// What a VM's settings deny reaches it by no other way.
#include <gmock/gmock.h>

#include "support/recycling_fixture.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr TrustGroupId kGroup{7};
constexpr DedicatedPoolId kPool{9};

class Denials : public RecyclingTest {};

TEST_F(Denials, MemoryFromBeforeAReboot) {
  create(kA, kCustomer, {}, {}, {.recycle_on_reboot = false});
  const Pages old = write(take(kA, 32));
  EXPECT_EQ(look(reboot(kA, 8), old).with_data, 0U);
  const Seen balloon = look(more(kA, 50), old);
  EXPECT_GT(balloon.old, 0U) << "there is no other memory";
  EXPECT_EQ(balloon.recycled, 0U);
  EXPECT_EQ(balloon.with_data, 0U);
}

TEST_F(Denials, MemoryFromBeforeARebootByWayOfItsPool) {
  for (const bool shares : {false, true}) {
    SCOPED_TRACE(shares);
    const DedicatedPoolId pool(shares ? 11 : 12);
    const VmId vm(shares ? 11 : 12);
    fill_pool(pool, 16, {.placement = {}, .shares = shares});
    create(vm, kCustomer, {}, pool, {.recycle_on_reboot = false});
    const Pages old = write(take(vm, 16));
    EXPECT_EQ(look(reboot(vm, 8), old).with_data, 0U);
    EXPECT_EQ(look(more(vm, 8), old), (Seen{8, 0, 8, 0})) << "of its own pool, scrubbed";
  }
}

/// B of its group got what A had written, and gave it back: it may be A's from before its reboot.
TEST_F(Denials, MemoryFromBeforeARebootByWayOfAnotherVm) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  ASSERT_TRUE(manager_.create_vm({kA, kCustomer, {}, kGroup, {.recycle_on_reboot = false}}));
  ASSERT_TRUE(manager_.create_vm({kB, kCustomer, {}, kGroup, {}}));
  const Grant first = take(kA, 16);
  write(first);
  give_back(kA, first);
  const Grant passed = more(kB, 16);
  ASSERT_EQ(look(passed, pages_of(first)).recycled, 16U);
  const Grant clean = take(kB, 16);
  write(clean);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  give_back(kB, passed);
  give_back(kB, clean);
  const Grant after = back(kA, 32);
  EXPECT_EQ(look(after, pages_of(first)).with_data, 16U) << "what B alone wrote";
  for (const GrantedRange& range : after.ranges) {
    if (range.recycled) {
      EXPECT_TRUE(pages_of(clean).contains(range.memory.data()));
    }
  }
}

TEST_F(Denials, NewMemoryEveryTimeAsLongAsItIsAskedFor) {
  create(kA, kCustomer, {}, {}, {.force_new_memory = true});
  const Grant first = take(kA, 16);
  Pages had = write(first);
  give_back(kA, first);
  const auto next = [&](const Grant& grant) {
    EXPECT_EQ(look(grant, had).old, 0U);
    had.merge(write(grant));
    return grant;
  };
  const Grant second = next(more(kA, 8));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  next(back(kA, 8));
  next(more(kA, 8));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  next(back(kA, 16));
  settle();
  ASSERT_TRUE(manager_.begin_reboot(kA));
  const auto nothing_left = manager_.finish_reboot(kA, length(16), [](const Result<Grant>&) {});
  ASSERT_FALSE(nothing_left);
  EXPECT_THAT(nothing_left.error().message, HasSubstr("65536 bytes were asked for and 32768 could be granted"));
  EXPECT_EQ(manager_.suspect_bytes(kA), length(56));
  create(kB, kOtherCustomer);
  EXPECT_EQ(manager_.available_to(kB), length(64)) << "others may have it, scrubbed";
  ASSERT_TRUE(manager_.absolve(kA));
  EXPECT_EQ(manager_.suspect_bytes(kA), length(0));
  EXPECT_EQ(look(back(kA, 64)).pages, 64U);
}

TEST_F(Denials, NewMemoryConcernsWhatWasGivenBackBeforeItWasAskedFor) {
  create(kA);
  const Grant grant = take(kA, 16);
  const Pages had = write(grant);
  give_back(kA, grant);
  ASSERT_TRUE(manager_.change_settings(kA, {.force_new_memory = true}));
  EXPECT_EQ(look(more(kA, 48), had).old, 0U);
  EXPECT_EQ(refused(kA, 1), HostErrc::OutOfMemory);
  ASSERT_TRUE(manager_.change_settings(kA, {}));
  EXPECT_EQ(refused(kA, 1), HostErrc::OutOfMemory) << "it stays suspect until it is absolved";
}

/// Nobody owns it any more, and the VM's own data may be in it all the same.
TEST_F(Denials, NewMemoryConcernsWhatTheVmHadLeftInItsPool) {
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool);
  const Grant grant = take(kA, 16);
  const Pages had = write(grant);
  give_back(kA, grant);
  ASSERT_TRUE(manager_.change_dedicated_pool(kA, {}));
  ASSERT_TRUE(manager_.change_settings(kA, {.force_new_memory = true}));
  ASSERT_TRUE(manager_.change_dedicated_pool(kA, kPool));
  settle();
  EXPECT_EQ(look(more(kA, 48), had).old, 0U);
  EXPECT_EQ(refused(kA, 1), HostErrc::OutOfMemory);
}

TEST_F(Denials, NewMemoryReachesTheClaimThatIsPending) {
  create(kA);
  const Grant grant = take(kA, 32);
  const Pages had = write(grant);
  give_back(kA, grant);
  std::optional<Result<Grant>> waiting;
  ask(kA, 16, waiting);
  ASSERT_TRUE(manager_.change_settings(kA, {.force_new_memory = true}));
  settle();
  ASSERT_TRUE(waiting && *waiting);
  EXPECT_EQ(look(**waiting, had), (Seen{16, 0, 0, 0}));
}

TEST_F(Denials, SuspectMemoryIsKeptFromOneVmOrFromAll) {
  create(kA);
  create(kB, kOtherCustomer);
  ASSERT_TRUE(manager_.suspect(pool_.part(0, 8 * 4096), kA));
  ASSERT_TRUE(manager_.suspect(pool_.part(4 * 4096, 8 * 4096)));
  EXPECT_EQ(manager_.available_to(kA), length(52));
  EXPECT_EQ(manager_.available_to(kB), length(56));
  EXPECT_EQ(manager_.suspect_bytes(), length(8));
  EXPECT_EQ(pages_of(take(kB, 56)).contains(pool_.all().data()), true);
  EXPECT_EQ(refused(kB, 1), HostErrc::OutOfMemory);
  ASSERT_TRUE(manager_.terminate(kB));
  settle();
  EXPECT_EQ(look(take(kA, 52)).pages, 52U);
  EXPECT_EQ(refused(kA, 1), HostErrc::OutOfMemory);
  ASSERT_TRUE(manager_.absolve());
  EXPECT_EQ(manager_.available_to(kA), length(4));
  ASSERT_TRUE(manager_.absolve(kA));
  EXPECT_EQ(manager_.available_to(kA), length(12));
}

TEST_F(Denials, WhoeverHoldsSuspectMemoryKeepsItUntilItGivesItBack) {
  create(kA);
  const Grant grant = take(kA, 64);
  ASSERT_TRUE(manager_.suspect(grant.ranges.at(0).memory.first(4096)));
  give_back(kA, grant);
  EXPECT_EQ(look(more(kA, 63)).pages, 63U);
  EXPECT_EQ(refused(kA, 1), HostErrc::OutOfMemory);
}

TEST_F(Denials, WhatCannotBeSuspectIsRefusedAndNothingChanges) {
  create(kA);
  const auto nobody = manager_.suspect(pool_.all(), VmId(404));
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, HostErrc::UnknownId);
  EXPECT_EQ(manager_.absolve(VmId(404)).error().code, HostErrc::UnknownId);
  for (const MemorySpan memory :
       {MemorySpan(), pool_.part(1, 4096), pool_.part(0, 100), MemorySpan(pool_.all().data() - 4096, 8192),
        MemorySpan(pool_.all().data(), 65 * 4096)}) {
    const auto wrong = manager_.suspect(memory);
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, HostErrc::InvalidArgument) << wrong.error().message;
  }
  EXPECT_EQ(manager_.suspect_bytes(), length(0));
  give_back(kA, take(kA, 64));
  const auto busy = manager_.suspect(pool_.all());
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().code, HostErrc::WrongState);
  EXPECT_THAT(busy.error().message, HasSubstr("is being scrubbed or granted: try again"));
}

TEST_F(Denials, TheEndOfAVmAbsolvesItsMemory) {
  create(kA, kCustomer, {}, {}, {.force_new_memory = true});
  give_back(kA, take(kA, 64));
  EXPECT_EQ(manager_.suspect_bytes(kA), length(64));
  ASSERT_TRUE(manager_.terminate(kA));
  EXPECT_EQ(manager_.suspect_bytes(kA), length(0));
}

TEST_F(Denials, RecyclingInItsPool) {
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool, {.recycle_within_dedicated_pool = false});
  const Grant grant = take(kA, 8);
  const Pages old = write(grant);
  give_back(kA, grant);
  const Seen again = look(more(kA, 16), old);
  EXPECT_EQ(again, (Seen{16, 0, 8, 0})) << "scrubbed, and of its own pool";
}

/// A VM that denies recycling in its pool, and another one of its pool and group that may have what the first wrote.
class DenialsByWayOfTheGroup : public Denials {
 protected:
  DenialsByWayOfTheGroup() {
    fill_pool(kPool, 8, {.placement = {}, .shares = true});
    create(kA, kCustomer, kGroup, kPool, {.recycle_within_dedicated_pool = false});
    create(kB, kCustomer, kGroup, kPool);
    const Grant grant = take(kA, 8);
    old_ = write(grant);
    give_back(kA, grant);
    const Grant passed = more(kB, 8);
    EXPECT_EQ(look(passed, old_), (Seen{8, 8, 8, 8}));
    give_back(kB, passed);
  }
  Pages old_;
};

/// What another VM of its group had meanwhile, and did not write in, is its own still.
TEST_F(DenialsByWayOfTheGroup, RecyclingOfItsOwn) { EXPECT_EQ(look(more(kA, 8), old_), (Seen{8, 0, 8, 0})); }

/// Nor does it come back that way once it has gone out of the pool.
TEST_F(DenialsByWayOfTheGroup, RecyclingOfItsOwnOutOfItsPool) {
  ASSERT_TRUE(manager_.change_dedicated_pool(kA, {}));
  ASSERT_TRUE(manager_.shrink_dedicated_pool(kPool, length(8)));
  EXPECT_EQ(look(more(kA, 64), old_), (Seen{64, 0, 8, 0}));
}

TEST_F(Denials, RecyclingOfItsOwnByWayOfItsGroupOutsideOfPools) {
  create(kA, kCustomer, kGroup, {}, {.recycle_within_vm = false});
  create(kB, kCustomer, kGroup);
  const Grant grant = take(kA, 64);
  const Pages old = write(grant);
  give_back(kA, grant);
  const Grant passed = more(kB, 64);
  EXPECT_EQ(look(passed, old), (Seen{64, 64, 64, 64}));
  give_back(kB, passed);
  EXPECT_EQ(look(more(kA, 64), old), (Seen{64, 0, 64, 0}));
}

TEST_F(Denials, RecyclingByItsBalloonOutsideItsPool) {
  fill_pool(kPool, 16);
  create(kA, kCustomer, {}, kPool, {.recycle_within_vm = false});
  const Grant in_pool = take(kA, 16);
  const Grant beyond = take(kA, 48);
  write(in_pool);
  const Pages outside = write(beyond);
  give_back(kA, in_pool);
  EXPECT_EQ(look(more(kA, 16)).recycled, 16U) << "its pool is another matter";
  give_back(kA, beyond);
  EXPECT_EQ(look(more(kA, 48), outside), (Seen{48, 0, 48, 0}));
}

TEST_F(Denials, ALockOfTheProviderReachesItAtOnce) {
  create(kA);
  const Grant grant = take(kA, 64);
  write(grant);
  give_back(kA, grant);
  std::optional<Result<Grant>> waiting;
  ask(kA, 64, waiting);
  ASSERT_TRUE(manager_.change_settings(kA, {.enable = false}));
  settle();
  ASSERT_TRUE(waiting && *waiting);
  EXPECT_EQ(look(**waiting), (Seen{64, 0, 0, 0}));
}

}  // namespace
}  // namespace sluice::test
