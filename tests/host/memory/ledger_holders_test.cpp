// SPDX-License-Identifier: Apache-2.0
// The ledger by itself: who holds memory, and in which pool it is.
#include "host/memory/ledgers.hpp"

namespace sluice::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(Ledgers, KeepPoolsApartThatLieSideBySide) {
  {
    const auto ledger = open();
    for (const std::uint64_t pool : {5U, 6U}) ASSERT_TRUE(ledger->enter({}, DedicatedPoolId(pool)));
    ledger->write(0, {0, 10, LedgerKind::Clean, {}});
    ledger->write(1, {10, 10, LedgerKind::Clean, {}, DedicatedPoolId(5)});
    ledger->write(2, {20, 10, LedgerKind::Clean, {}, DedicatedPoolId(6)});
    ledger->write(3, {30, 2, LedgerKind::Clean, {}, DedicatedPoolId(6)});
    ASSERT_TRUE(ledger->publish());
  }
  EXPECT_THAT(open()->found(), ElementsAre(LedgerEntry{0, 10, LedgerKind::Clean, {}, {}},
                                           LedgerEntry{10, 10, LedgerKind::Clean, {}, DedicatedPoolId(5)},
                                           LedgerEntry{20, 12, LedgerKind::Clean, {}, DedicatedPoolId(6)}));
}

/// A VM reboots or it does not, in whatever pools it has memory.
TEST_F(Ledgers, SayOnceThatAVmReboots) {
  const auto ledger = open();
  for (const std::uint64_t pool : {5U, 6U}) {
    ASSERT_TRUE(ledger->enter(VmId(77), DedicatedPoolId(pool)));
    ledger->write(static_cast<std::uint32_t>(pool), {4 * pool, 4, LedgerKind::Held, VmId(77), DedicatedPoolId(pool)});
  }
  ASSERT_TRUE(ledger->publish());
  for (const bool reboots : {true, false}) {
    ledger->set_rebooting(VmId(77), reboots);
    EXPECT_EQ(copy()->found_rebooting().contains(VmId(77)), reboots);
  }
}

/// Every store leaves what was said before, or what is said after it: nothing falls out of a pool or from its holder.
TEST_F(Ledgers, SayOneOfBothWhileMemoryOfPoolsChangesHands) {
  constexpr DedicatedPoolId kOther(6);
  std::optional<LedgerEntry> before;
  LedgerEntry after;
  int looks = 0;
  const auto look = [&] {
    if (!before) return;
    const auto found = copy();
    EXPECT_THAT(found->rejected(), IsEmpty());
    EXPECT_THAT(found->found(), AnyOf(ElementsAre(*before), ElementsAre(after))) << "look " << looks;
    ++looks;
  };
  const auto ledger = open({.boot_id = {}, .before_store = look});
  ASSERT_TRUE(ledger->enter(VmId(77), kLedgerPool));
  ASSERT_TRUE(ledger->enter({}, kLedgerPool));
  ASSERT_TRUE(ledger->enter_all(kLedgerPool, kOther));
  ASSERT_TRUE(ledger->publish());
  const LedgerEntry story[] = {
      {10, 5, LedgerKind::Clean, {}, {}},
      {10, 5, LedgerKind::Clean, {}, kLedgerPool},
      {10, 5, LedgerKind::Held, VmId(77), kLedgerPool},
      {10, 5, LedgerKind::Held, VmId(77), {}},
      {10, 5, LedgerKind::Held, VmId(77), kOther},
      {10, 5, LedgerKind::Dirty, {}, kOther},
      {10, 5, LedgerKind::Dirty, {}, kLedgerPool},
      {10, 5, LedgerKind::Quarantined, {}, kLedgerPool},
      {10, 5, LedgerKind::Quarantined, {}, {}},
  };
  for (const LedgerEntry& entry : story) {
    after = entry;
    ledger->write(4, entry);
    before = entry;
  }
  look();
  EXPECT_GT(looks, 30);
}

TEST_F(Ledgers, UseTheSlotsOfThoseWhoAreGoneAgain) {
  const auto ledger = open();
  ASSERT_TRUE(ledger->enter(VmId(77), kLedgerPool));
  ASSERT_TRUE(ledger->enter({}, kLedgerPool));
  const std::set<LedgerSlot> all = {ledger->slot_of(VmId(77), {}), ledger->slot_of(VmId(77), kLedgerPool),
                                    ledger->slot_of({}, kLedgerPool)};
  EXPECT_THAT(all, ElementsAre(1U, 2U, 3U));
  ledger->set_rebooting(VmId(77), true);
  ledger->forget(VmId(77));
  ledger->forget(kLedgerPool);
  ASSERT_TRUE(ledger->enter(VmId(78), DedicatedPoolId(6)));
  ASSERT_TRUE(ledger->enter(VmId(79)));
  for (const LedgerSlot slot :
       {ledger->slot_of(VmId(78), {}), ledger->slot_of(VmId(78), DedicatedPoolId(6)), ledger->slot_of(VmId(79), {})}) {
    EXPECT_LE(slot, 3U);
  }
  ledger->write(0, {0, 4, LedgerKind::Held, VmId(78), DedicatedPoolId(6)});
  ledger->write(1, {4, 4, LedgerKind::Held, VmId(79)});
  ASSERT_TRUE(ledger->publish());
  const auto again = copy();
  EXPECT_THAT(again->found(), ElementsAre(LedgerEntry{0, 4, LedgerKind::Held, VmId(78), DedicatedPoolId(6)},
                                          LedgerEntry{4, 4, LedgerKind::Held, VmId(79), {}}));
  EXPECT_THAT(again->found_rebooting(), IsEmpty());
}

TEST_F(Ledgers, WithHoldersThatNobodyWroteAreNotBelieved) {
  const struct {
    std::uint64_t slot;
    LedgerHolder holder;
    std::string why;
  } table[] = {
      {kVmSlot, {0, 0, 0}, "record 1 names holder 1, and there is none"},
      {kVmSlot, {77, 0, 2}, "record 1 names holder 1, which reboots 2 times"},
      {kPoolSlot, {0, 5, 1}, "record 3 names holder 2, a pool that reboots"},
      {kMemberSlot, {77, 5, 0}, "record 4 names holder 3, for which holder 0 is not VM 77"},
      {kMemberSlot, {77, 5, kPoolSlot}, "record 4 names holder 3, for which holder 2 is not VM 77"},
      {kMemberSlot, {77, 5, kMemberSlot}, "record 4 names holder 3, for which holder 3 is not VM 77"},
      {kMemberSlot, {78, 5, kVmSlot}, "record 4 names holder 3, for which holder 1 is not VM 78"},
      {kMemberSlot, {77, 5, 1ULL << 60}, "record 4 names holder 3, for which holder 1152921504606846976 is not VM 77"},
      {kMemberSlot, {77, 0, 1}, "record 4 names holder 3, and holder 1 is VM 77 too"},
  };
  for (const auto& row : table) {
    write_one();
    write_holder(row.slot, row.holder);
    expect_rejected(row.why);
  }
  for (std::uint64_t word = 0; word < 4; ++word) {
    if (word == 2) continue;  // whether it reboots
    write_one();
    overwrite(LedgerFormat::kHoldersBegin + kVmSlot * LedgerFormat::kHolderBytes + word * 8, 99);
    expect_rejected("record 1 names holder 1, whose checksum is wrong");
  }
}

TEST_F(Ledgers, WithARecordOfWhatMovesThatNobodyWroteAreNotBelieved) {
  const auto moves = [&](const LedgerEntry& entry, LedgerSlot slot) {
    write_one();
    const auto record = LedgerRecord::of(LedgerFormat::kMoving, entry, slot);
    overwrite(LedgerFormat::kMovingBegin, record.place);
    overwrite(LedgerFormat::kMovingBegin + 8, record.facts);
  };
  moves({60, 5, LedgerKind::Clean, {}}, kPoolSlot);
  expect_rejected("the record of what moves describes pages 60 to 64, and the pool has 64");
  moves({10, 4, LedgerKind::Held, {}}, kMemberSlot);
  expect_rejected("it says two things about page 10");
  moves({10, 5, LedgerKind::Held, {}}, 9);
  expect_rejected("the record of what moves names holder 9, and there is none");
  moves({10, 5, LedgerKind::Held, {}}, kMemberSlot);
  overwrite(LedgerFormat::kMovingBegin, 3);
  expect_rejected("the checksum of the record of what moves is wrong");
  moves({10, 5, LedgerKind::Held, {}}, kMemberSlot);
  EXPECT_THAT(open()->found(), ::testing::Contains(LedgerEntry{10, 5, LedgerKind::Held, VmId(77), DedicatedPoolId(5)}));
}

}  // namespace
}  // namespace sluice::test
