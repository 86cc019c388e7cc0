// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/extent.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "sluice/memory/extent_table.hpp"
#include "support/memory.hpp"

namespace sluice {
namespace {

using test::Memory;
using S = ExtentState;
using E = ExtentEvent;

TEST(ExtentState, ChangesOnlyAlongTheseArrows) {
  const std::map<std::pair<S, E>, S> arrows = {
      {{S::Owned, E::Reserve}, S::Reserved},
      {{S::Owned, E::Release}, S::Dirty},
      {{S::Reserved, E::Grant}, S::Owned},
      {{S::Reserved, E::Release}, S::Dirty},
      {{S::Dirty, E::Grant}, S::Owned},
      {{S::Dirty, E::StartScrub}, S::Scrubbing},
      {{S::Scrubbing, E::RequestCancel}, S::Cancelling},
      {{S::Scrubbing, E::ScrubZeroed}, S::Clean},
      {{S::Scrubbing, E::ScrubCancelled}, S::Dirty},
      {{S::Scrubbing, E::ScrubFailed}, S::Quarantined},
      {{S::Cancelling, E::ScrubZeroed}, S::Clean},
      {{S::Cancelling, E::ScrubCancelled}, S::Dirty},
      {{S::Cancelling, E::ScrubFailed}, S::Quarantined},
      {{S::Clean, E::Grant}, S::Owned},
      {{S::Clean, E::StartScrub}, S::Scrubbing},
  };
  for (std::size_t state = 0; state < kExtentStates; ++state) {
    for (std::size_t event = 0; event < kExtentEvents; ++event) {
      const auto from = static_cast<S>(state);
      const auto by = static_cast<E>(event);
      const auto arrow = arrows.find({from, by});
      const auto expected = arrow == arrows.end() ? std::nullopt : std::optional(arrow->second);
      EXPECT_EQ(next_state(from, by), expected) << to_string(from) << " by " << to_string(by);
    }
  }
}

TEST(ExtentStateDeathTest, AnArrowThatIsNotThereIsABrokenPromise) {
  Memory memory(1 << 16);
  const Brick bricks[] = {{memory.all()}};
  ExtentTable table(bricks);
  Extent& extent = *table.find(memory.all().data());
  table.start_scrub(extent);
  EXPECT_DEATH(table.grant(extent, {}), "broken promise");
}

std::size_t dirty_of(const ExtentTable& table, const Domain& domain) {
  std::size_t count = 0;
  for (auto index = table.next_lineage(domain); index; index = table.next_lineage(domain, index)) {
    for (const S state : {S::Dirty, S::Scrubbing}) {
      for (Extent* extent = table.first(*index, state); extent != nullptr; extent = table.next(*extent)) ++count;
    }
  }
  return count;
}

/// Counts everything again, the slow way.
void expect_consistent(const ExtentTable& table, std::span<const Brick> bricks) {
  std::map<S, std::uint64_t> bytes;
  std::map<std::uint64_t, std::uint64_t> free;
  std::map<std::uint64_t, std::uint64_t> clean;
  std::map<std::uint64_t, std::uint64_t> all;
  std::map<std::uint64_t, std::size_t> dirty_of_vm;
  std::map<std::uint64_t, std::size_t> dirty_of_group;
  std::map<std::uint64_t, std::size_t> held_of_vm;
  std::uint64_t expected_offset = 0;
  std::uint64_t brick_end = bricks[0].memory.size();
  std::uint32_t brick = 0;
  std::size_t count = 0;
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    ++count;
    const std::uint64_t length = extent->length().value();
    ASSERT_EQ(extent->offset(), expected_offset) << "no gap and no overlap";
    if (extent->offset() == brick_end) brick_end += bricks[++brick].memory.size();
    ASSERT_EQ(table.brick(*extent).memory.data(), bricks[brick].memory.data());
    ASSERT_EQ(table.memory(*extent).data() + (brick_end - extent->offset()),
              bricks[brick].memory.data() + bricks[brick].memory.size());
    ASSERT_LE(extent->offset() + length, brick_end) << "an extent lies in one brick";
    ASSERT_EQ(table.find(table.memory(*extent).data() + length - 1), extent);
    expected_offset += length;
    const Lineage& lineage = table.lineage(*extent);
    const S state = extent->state();
    bytes[state] += length;
    all[lineage.pool.value()] += length;
    if (extent->is_claimed()) continue;
    if (state == S::Owned || state == S::Reserved) ++held_of_vm[lineage.owner.vm.value()];
    if (state == S::Clean || state == S::Dirty || state == S::Scrubbing) free[lineage.pool.value()] += length;
    if (state == S::Clean) clean[lineage.pool.value()] += length;
    if (state != S::Dirty && state != S::Scrubbing) continue;
    ++dirty_of_vm[lineage.owner.vm.value()];
    ++dirty_of_group[lineage.owner.group.id.value()];
  }
  EXPECT_EQ(count, table.count());
  EXPECT_EQ(ByteCount(expected_offset), table.total());
  for (std::size_t state = 0; state < kExtentStates; ++state) {
    EXPECT_EQ(table.bytes(static_cast<S>(state)).value(), bytes[static_cast<S>(state)]);
  }
  for (std::uint64_t id = 0; id < 4; ++id) {
    EXPECT_EQ(table.free_bytes(DedicatedPoolId(id)).value(), free[id]);
    EXPECT_EQ(table.clean_bytes(DedicatedPoolId(id), 0).value() + table.clean_bytes(DedicatedPoolId(id), 1).value(),
              clean[id]);
    EXPECT_EQ(table.bytes_in(DedicatedPoolId(id)).value(), all[id]);
    if (id == 0) continue;
    EXPECT_EQ(dirty_of(table, Domain::vm(VmId(id))), dirty_of_vm[id]);
    EXPECT_EQ(dirty_of(table, Domain::group({TrustGroupId(id), 1})), dirty_of_group[id]);
    std::size_t held = 0;
    const Domain holder = Domain::holder(VmId(id));
    for (auto index = table.next_lineage(holder); index; index = table.next_lineage(holder, index)) {
      for (const S state : {S::Owned, S::Reserved}) {
        for (Extent* extent = table.first(*index, state); extent != nullptr; extent = table.next(*extent)) ++held;
      }
    }
    EXPECT_EQ(held, held_of_vm[id]);
  }
}

/// Takes everything that is dirty in the order in which it would be scrubbed, as offsets.
std::vector<std::uint64_t> by_age(ExtentTable& table) {
  std::vector<std::uint64_t> order;
  std::vector<Extent*> taken;
  while (Extent* const oldest = table.oldest_dirty({}, 0, {})) {
    order.push_back(oldest->offset() / 4096);
    table.claim(*oldest);
    taken.push_back(oldest);
  }
  for (auto extent = taken.rbegin(); extent != taken.rend(); ++extent) table.unclaim(**extent);
  return order;
}

void apply(ExtentTable& table, Extent& extent, E event, VmId vm) {
  const GroupAt group{TrustGroupId(vm.value() % 2), 1};
  switch (event) {
    case E::Grant:
      table.grant(extent, {vm, {}, CustomerId(1), group, group});
      return;
    case E::Reserve:
      table.reserve(extent);
      return;
    case E::Release:
      table.release(extent, {}, std::chrono::nanoseconds(vm.value() % 3 * 1000), std::chrono::nanoseconds(0));
      return;
    case E::StartScrub:
      table.start_scrub(extent);
      return;
    case E::RequestCancel:
      table.request_cancel(extent);
      return;
    case E::ScrubZeroed:
      table.scrub_zeroed(extent, vm.value() % 2);
      return;
    case E::ScrubCancelled:
      table.scrub_cancelled(extent);
      return;
    case E::ScrubFailed:
      table.scrub_failed(extent);
      return;
  }
}

TEST(ExtentTable, StartsDirtyAndCoversEveryBrick) {
  Memory first(1 << 16);
  Memory second(1 << 17);
  const Brick bricks[] = {{first.all()}, {second.all()}};
  const ExtentTable table(bricks);
  EXPECT_EQ(table.count(), 2U);
  EXPECT_EQ(table.bytes(S::Dirty), table.total());
  expect_consistent(table, bricks);
}

TEST(ExtentTable, FindsTheExtentOfEveryByteAndNoOther) {
  Memory memory(1 << 16);
  const Brick bricks[] = {{memory.all()}};
  ExtentTable table(bricks);
  Extent& rest = table.split(*table.find(memory.all().data()), ByteCount(8192));
  EXPECT_EQ(table.find(memory.all().data() + 8191)->offset(), 0U);
  EXPECT_EQ(table.find(memory.all().data() + 8192), &rest);
  EXPECT_EQ(table.find(memory.all().data() + memory.all().size()), nullptr);
  EXPECT_EQ(table.find(memory.all().data() - 1), nullptr);
}

TEST(ExtentTable, StaysConsistentUnderRandomSplitsMergesAndTransitions) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Memory first(1 << 18);
    Memory second(1 << 18);
    const Brick bricks[] = {{first.all()}, {second.all(), -1, PageKind::Small, 1}};
    ExtentTable table(bricks);
    for (int step = 0; step < 3000; ++step) {
      const Memory& memory = random() % 2 == 0 ? first : second;
      Extent& extent = *table.find(memory.all().data() + random() % memory.all().size());
      const bool busy = extent.state() == S::Scrubbing || extent.state() == S::Cancelling;
      const std::uint64_t kind = random() % 8;
      if (kind < 3) {
        if (!busy && extent.length() > kPageSize) {
          table.split(extent, ByteCount((1 + random() % (extent.length().value() / 4096 - 1)) * 4096));
        }
      } else if (kind == 3) {
        const bool takes = extent.state() != S::Owned && extent.state() != S::Quarantined;
        if (extent.is_claimed()) {
          table.unclaim(extent);
        } else if (takes) {
          table.claim(extent);
        }
      } else if (kind == 4) {
        if (!extent.is_claimed()) table.move_to_pool(extent, DedicatedPoolId(random() % 4));
      } else if (const auto event = static_cast<E>(random() % kExtentEvents);
                 event != E::ScrubFailed && next_state(extent.state(), event)) {
        apply(table, extent, event, VmId(1 + random() % 3));
        table.coalesce(extent);
      }
      if (step % 100 == 0) expect_consistent(table, bricks);
    }
    expect_consistent(table, bricks);
  }
}

TEST(ExtentTable, MergesOnlyWhatDiffersInNothing) {
  Memory memory(4 * 4096);
  const Brick bricks[] = {{memory.all()}};
  ExtentTable table(bricks);
  Extent& first = *table.find(memory.all().data());
  Extent& second = table.split(first, kPageSize);
  const auto grant_and_release = [&](Extent& extent, VmId vm, Fill fill = {}) {
    table.grant(extent, {.vm = vm});
    table.release(extent, fill, {}, {});
  };
  grant_and_release(first, VmId(1));
  grant_and_release(second, VmId(2));
  table.coalesce(first);
  EXPECT_EQ(table.count(), 2U) << "other owners";
  grant_and_release(second, VmId(1), {7, false});
  table.coalesce(first);
  EXPECT_EQ(table.count(), 2U) << "to be filled with something else";
  grant_and_release(second, VmId(1));
  table.claim(second);
  table.coalesce(first);
  EXPECT_EQ(table.count(), 2U) << "claimed";
  table.unclaim(second);
  table.coalesce(first);
  EXPECT_EQ(table.count(), 1U);
  EXPECT_EQ(dirty_of(table, Domain::vm(VmId(1))), 1U);
  EXPECT_EQ(dirty_of(table, Domain::vm(VmId(2))), 0U);
}

TEST(ExtentTable, CleanMemoryMergesWhereItHoldsTheSame) {
  Memory memory(3 * 4096);
  const Brick bricks[] = {{memory.all()}};
  ExtentTable table(bricks);
  Extent& first = *table.find(memory.all().data());
  Extent& second = table.split(first, kPageSize);
  Extent& third = table.split(second, kPageSize);
  std::uint64_t pattern = 7;
  for (Extent* extent : {&first, &second, &third}) {
    table.start_scrub(*extent);
    table.scrub_zeroed(*extent, pattern);
    pattern = 8;
  }
  table.coalesce(second);
  EXPECT_EQ(table.count(), 2U);
  EXPECT_EQ(table.pattern(first), 7U);
  EXPECT_EQ(table.pattern(second), 8U);
  EXPECT_EQ(second.length().value(), 2 * 4096U);
}

TEST(ExtentTable, WhatWasReleasedFirstIsScrubbedFirst) {
  Memory memory(6 * 4096);
  const Brick bricks[] = {{memory.all()}};
  ExtentTable table(bricks);
  std::vector<Extent*> page = {table.find(memory.all().data())};
  while (page.size() < 6) page.push_back(&table.split(*page.back(), kPageSize));
  for (const std::size_t place : {4U, 0U, 3U, 1U, 5U, 2U}) {
    table.grant(*page[place], {.vm = VmId(1 + place % 2)});
    table.release(*page[place], {}, {}, {});
  }
  EXPECT_EQ(by_age(table), (std::vector<std::uint64_t>{4, 0, 3, 1, 5, 2}));
  EXPECT_EQ(by_age(table), (std::vector<std::uint64_t>{4, 0, 3, 1, 5, 2})) << "what was not taken keeps its turn";
}

TEST(ExtentTable, AScheduleSaysFromWhenOn) {
  using std::chrono::nanoseconds;
  Memory memory(3 * 4096);
  const Brick bricks[] = {{memory.all()}};
  ExtentTable table(bricks);
  Extent& first = *table.find(memory.all().data());
  Extent& second = table.split(first, kPageSize);
  Extent& third = table.split(second, kPageSize);
  for (Extent* extent : {&first, &second, &third}) table.grant(*extent, {.vm = VmId(1)});
  EXPECT_FALSE(table.next_due());
  table.release(first, {}, kOnlyForClaims, nanoseconds(50));
  EXPECT_FALSE(table.next_due());
  table.release(second, {}, nanoseconds(1000), nanoseconds(60));
  EXPECT_EQ(table.next_due()->extent, &second);
  EXPECT_EQ(table.next_due()->time, nanoseconds(1060));
  table.release(third, {}, nanoseconds(0), nanoseconds(70));
  EXPECT_EQ(table.next_due()->extent, &third);
  EXPECT_EQ(table.next_due()->time, nanoseconds(0)) << "at once";
}

}  // namespace
}  // namespace sluice
