// SPDX-License-Identifier: Apache-2.0
// Memory that is reserved for a VM while it reboots: for how long, and who may have it meanwhile.
#include <gmock/gmock.h>

#include "support/recycling_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr VmId kC{3};
constexpr TrustGroupId kGroup{7};
constexpr TrustGroupId kLarger{8};

class Reservations : public RecyclingTest {
 protected:
  [[nodiscard]] ByteCount reserved() const { return manager_.extents().bytes(ExtentState::Reserved); }
  /// A and B in one group, C in another inside the same larger one.
  void create_group(const RecycleSettings& allowed) {
    ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
    ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
    ASSERT_TRUE(manager_.create_trust_group(TrustGroupId(9), kCustomer, kLarger));
    ASSERT_TRUE(manager_.create_vm({kA, kCustomer, {}, kGroup, allowed}));
    ASSERT_TRUE(manager_.create_vm({kB, kCustomer, {}, kGroup, {}}));
    ASSERT_TRUE(manager_.create_vm({kC, kCustomer, {}, TrustGroupId(9), {}}));
  }
  /// A is down and lends its 16 pages. B claims 40: with those in hand it waits for a scrub of others.
  ClaimId wait_with_lent_memory() {
    create_group({.lend_reserved_memory = true});
    create(VmId(4), kOtherCustomer);
    write(take(kA, 16));
    const Grant others = take(VmId(4), 48);
    EXPECT_TRUE(manager_.begin_reboot(kA));
    give_back(VmId(4), others);
    const ClaimId claim = ask(kB, 40, waiting_);
    EXPECT_FALSE(waiting_);
    return claim;
  }

  std::optional<Result<Grant>> waiting_;
};

TEST_F(Reservations, EndAfterTheirTimeAndWhatWasReservedIsScrubbed) {
  engine_.set_time(std::chrono::hours(1));
  create(kA, kCustomer, {}, {}, {.reservation = std::chrono::minutes(10)});
  create(kB, kOtherCustomer);
  const Pages old = write(take(kA, 64));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(manager_.next_scheduled(), std::chrono::minutes(70));
  engine_.set_time(std::chrono::minutes(70) - std::chrono::nanoseconds(1));
  settle();
  EXPECT_EQ(reserved(), length(64));
  EXPECT_EQ(manager_.available_to(kB), length(0));
  engine_.set_time(std::chrono::minutes(70));
  settle();
  EXPECT_EQ(reserved(), length(0));
  EXPECT_EQ(with_data(old), 0U);
  EXPECT_EQ(manager_.next_scheduled(), std::nullopt);
  EXPECT_EQ(look(take(kB, 16), old), (Seen{16, 0, 16, 0}));
  EXPECT_EQ(look(back(kA, 48)), (Seen{48, 0, 0, 0})) << "it comes back all the same";
}

TEST_F(Reservations, HaveATimeByDefaultAndMayLastForEver) {
  create(kA);
  create(kB, kOtherCustomer, {}, {}, {.reservation = std::chrono::nanoseconds(0)});
  take(kA, 32);
  take(kB, 32);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  ASSERT_TRUE(manager_.begin_reboot(kB));
  engine_.set_time(std::chrono::hours(1000));
  settle();
  EXPECT_EQ(reserved(), length(32));
  EXPECT_EQ(look(back(kB, 32)).recycled, 32U);
}

TEST_F(Reservations, OfAVmThatCameBackDoNotEndInItsNextReboot) {
  create(kA, kCustomer, {}, {}, {.reservation = std::chrono::minutes(10)});
  take(kA, 32);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  engine_.set_time(std::chrono::minutes(6));
  back(kA, 32);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  engine_.set_time(std::chrono::minutes(12));
  settle();
  EXPECT_EQ(reserved(), length(32)) << "its time began at the second reboot";
  engine_.set_time(std::chrono::minutes(16));
  settle();
  EXPECT_EQ(reserved(), length(0));
}

TEST_F(Reservations, AreNobodyElsesUnlessTheVmLends) {
  create_group({});
  take(kA, 64);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(refused(kB, 1), HostErrc::OutOfMemory);
  EXPECT_EQ(manager_.available_to(kB), length(0));
}

TEST_F(Reservations, AreLentToTheGroupOnly) {
  create_group({.lend_reserved_memory = true});
  create(VmId(4));
  const Pages old = write(take(kA, 64));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(manager_.available_to(kB), length(64));
  EXPECT_EQ(manager_.available_to(kC), length(64)) << "by the larger group";
  EXPECT_EQ(manager_.available_to(VmId(4)), length(0)) << "the same customer, no group";
  EXPECT_EQ(refused(VmId(4), 1), HostErrc::OutOfMemory);
  EXPECT_EQ(look(take(kB, 16), old), (Seen{16, 16, 16, 16}));
  EXPECT_EQ(look(take(kC, 8), old), (Seen{8, 8, 8, 8}));
  EXPECT_EQ(look(back(kA, 40), old), (Seen{40, 40, 40, 40})) << "the rest is still there";
}

TEST_F(Reservations, ThatAreLentComeAfterOtherMemoryThatNeedsNoScrub) {
  create_group({.lend_reserved_memory = true});
  const Pages old = write(take(kA, 32));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(look(take(kB, 32), old).old, 0U);
  EXPECT_EQ(look(take(kB, 8), old).old, 8U);
}

/// B waits with lent memory in hand when the group changes.
TEST_F(Reservations, ThatALendersGroupChangedForGoBack) {
  wait_with_lent_memory();
  ASSERT_TRUE(manager_.enable_trust_group(kGroup, false));
  ASSERT_TRUE(manager_.enable_trust_group(kLarger, false));
  settle();
  ASSERT_TRUE(waiting_ && *waiting_);
  EXPECT_EQ(look(**waiting_), (Seen{40, 0, 0, 0}));
  EXPECT_EQ(reserved(), length(16));
}

TEST_F(Reservations, FollowTheirVmsSettingsWhileItIsAway) {
  create_group({});
  take(kA, 64);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  ASSERT_TRUE(manager_.change_settings(kA, {.lend_reserved_memory = true, .reservation = std::chrono::minutes(5)}));
  EXPECT_EQ(manager_.available_to(kB), length(64));
  take(kB, 8);
  ASSERT_TRUE(manager_.change_settings(kA, {.reservation = std::chrono::minutes(9)}));
  EXPECT_EQ(manager_.available_to(kB), length(0));
  engine_.set_time(std::chrono::minutes(8));
  settle();
  EXPECT_EQ(reserved(), length(56));
  ASSERT_TRUE(manager_.change_settings(kA, {.reservation = std::chrono::minutes(7)}));
  settle();
  EXPECT_EQ(reserved(), length(0)) << "its time is over by the new setting";
}

/// The same when the lender wants it back.
TEST_F(Reservations, ThatAreNotLentAnyMoreGoBack) {
  wait_with_lent_memory();
  ASSERT_TRUE(manager_.change_settings(kA, {}));
  settle();
  ASSERT_TRUE(waiting_ && *waiting_);
  EXPECT_EQ(look(**waiting_), (Seen{40, 0, 0, 0}));
  EXPECT_EQ(reserved(), length(16));
}

/// B may go on with what it was lent. A gets none of that again, though it never gave it back itself.
TEST_F(Reservations, ThatAreLentAreSuspectOnceTheLenderWantsNewMemory) {
  wait_with_lent_memory();
  const RecycleSettings fresh{.force_new_memory = true, .lend_reserved_memory = true};
  ASSERT_TRUE(manager_.change_settings(kA, fresh));
  EXPECT_EQ(manager_.suspect_bytes(kA), length(16));
  settle();
  ASSERT_TRUE(waiting_ && *waiting_);
  give_back(kB, **waiting_);
  settle();
  EXPECT_EQ(manager_.available_to(kA), length(48));
}

/// The same when the claim is given up and the setting with it.
TEST_F(Reservations, ThatAreLentStaySuspectAfterTheSettingIsTakenBack) {
  const ClaimId claim = wait_with_lent_memory();
  ASSERT_TRUE(manager_.change_settings(kA, {.force_new_memory = true, .lend_reserved_memory = true}));
  ASSERT_TRUE(manager_.change_settings(kA, {.lend_reserved_memory = true}));
  ASSERT_TRUE(manager_.abandon(claim));
  settle();
  EXPECT_EQ(manager_.suspect_bytes(kA), length(16));
  EXPECT_EQ(reserved(), length(0)) << "nothing is kept for a VM that must not get it";
  EXPECT_EQ(manager_.available_to(kA), length(48));
}

/// The same when the lender ends.
TEST_F(Reservations, ThatAreLentOutliveTheirLender) {
  wait_with_lent_memory();
  ASSERT_TRUE(manager_.terminate(kA));
  EXPECT_EQ(reserved(), length(0));
  settle();
  ASSERT_TRUE(waiting_ && *waiting_);
  EXPECT_EQ(look(**waiting_).pages, 40U);
}

/// The same when the lender is back and the claim is given up.
TEST_F(Reservations, ThatAreLentAndNotTakenAreReleasedOnceTheLenderIsBack) {
  const ClaimId claim = wait_with_lent_memory();
  EXPECT_EQ(look(back(kA, 8)).pages, 8U);
  manager_.abandon(claim);
  settle();
  EXPECT_EQ(reserved(), length(0));
}

class RebootInPlace : public RecyclingTest {};

TEST_F(RebootInPlace, KeepsAllThatTheVmHolds) {
  create(kA);
  const Pages old = write(take(kA, 16));
  ASSERT_TRUE(manager_.reboot_in_place(kA));
  EXPECT_FALSE(manager_.reboots(kA));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Owned), length(16));
  EXPECT_EQ(with_data(old), 16U);
  EXPECT_EQ(manager_.statistics().scrub_jobs, 0U);
}

TEST_F(RebootInPlace, IsOneBootMoreForWhatTheVmGaveBackBefore) {
  create(kA, kCustomer, {}, {}, {.recycle_within_vm = false});
  const Grant given = take(kA, 16);
  const Grant kept = take(kA, 16);
  const Pages before = write(given);
  write(kept);
  give_back(kA, given);
  ASSERT_TRUE(manager_.reboot_in_place(kA));
  EXPECT_EQ(look(more(kA, 16), before), (Seen{16, 16, 16, 16})) << "as after any reboot";
  give_back(kA, kept);
  EXPECT_EQ(look(more(kA, 48), pages_of(kept)), (Seen{48, 0, 16, 0})) << "which is of this boot";
}

TEST_F(RebootInPlace, IsRefusedWhereMemoryMayNotBeReused) {
  for (const RecycleSettings& settings : {RecycleSettings{.enable = false}, RecycleSettings{.recycle_on_reboot = false},
                                          RecycleSettings{.force_new_memory = true}}) {
    const VmId vm(10 + (settings.enable ? 1U : 0U) + (settings.force_new_memory ? 2U : 0U));
    create(vm, kCustomer, {}, {}, settings);
    const auto refused = manager_.reboot_in_place(vm);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, HostErrc::NotPermitted);
    EXPECT_THAT(refused.error().message, ::testing::HasSubstr("its settings forbid that: begin a reboot"));
  }
  EXPECT_EQ(manager_.reboot_in_place(VmId(404)).error().code, HostErrc::UnknownId);
  create(kA);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(manager_.reboot_in_place(kA).error().code, HostErrc::WrongState);
}

/// Before the guest is down, while it is, and after that: the same memory each time.
TEST_F(RebootInPlace, MemoryComesBackBeforeDuringOrAfterTheReboot) {
  create(kA);
  const Pages old = write(take(kA, 16));
  ASSERT_TRUE(manager_.reboot_in_place(kA));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(look(back(kA, 16), old), (Seen{16, 16, 16, 16})) << "at once";
  ASSERT_TRUE(manager_.begin_reboot(kA));
  settle();
  engine_.set_time(std::chrono::minutes(30));
  settle();
  EXPECT_EQ(look(back(kA, 16), old), (Seen{16, 16, 16, 16})) << "later";
}

}  // namespace
}  // namespace sluice::test
