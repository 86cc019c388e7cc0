// SPDX-License-Identifier: Apache-2.0
#include "sluice/host/extent.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "sluice/host/extent_table.hpp"
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
  table.transition(extent, E::StartScrub);
  EXPECT_DEATH(table.transition(extent, E::Grant), "broken promise");
}

/// Counts everything again, the slow way.
void expect_consistent(const ExtentTable& table, std::span<const Brick> bricks) {
  std::map<S, std::uint64_t> bytes;
  std::uint64_t shared_free = 0;
  std::size_t shared_clean = 0;
  std::size_t shared_dirty = 0;
  std::uint64_t expected_offset = 0;
  std::uint64_t brick_end = bricks[0].memory.size();
  std::uint32_t brick = 0;
  for (const auto& [offset, extent] : table.extents()) {
    ASSERT_EQ(offset, expected_offset) << "no gap and no overlap";
    ASSERT_EQ(extent.offset, offset);
    if (offset == brick_end) brick_end += bricks[++brick].memory.size();
    ASSERT_EQ(extent.brick, brick);
    ASSERT_LE(offset + extent.memory.size(), brick_end) << "an extent lies in one brick";
    expected_offset += extent.memory.size();
    bytes[extent.state] += extent.memory.size();
    const bool free = !extent.earmark.is_set() &&
                      (extent.state == S::Clean || extent.state == S::Dirty || extent.state == S::Scrubbing);
    if (!free || extent.pool.is_set()) continue;
    shared_free += extent.memory.size();
    shared_clean += extent.state == S::Clean ? 1 : 0;
    shared_dirty += extent.state == S::Dirty ? 1 : 0;
  }
  EXPECT_EQ(ByteCount(expected_offset), table.total());
  for (std::size_t state = 0; state < kExtentStates; ++state) {
    EXPECT_EQ(table.bytes(static_cast<S>(state)).value(), bytes[static_cast<S>(state)]);
  }
  EXPECT_EQ(table.free_bytes({}).value(), shared_free);
  EXPECT_EQ(table.clean({}).size(), shared_clean);
  EXPECT_EQ(table.dirty_by_age({}).size(), shared_dirty);
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
  EXPECT_EQ(table.find(memory.all().data() + 8191)->offset, 0U);
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
    const Brick bricks[] = {{first.all()}, {second.all()}};
    ExtentTable table(bricks);
    for (int step = 0; step < 2000; ++step) {
      const Memory& memory = random() % 2 == 0 ? first : second;
      Extent* extent = table.find(memory.all().data() + random() % memory.all().size());
      const bool busy = extent->state == S::Scrubbing || extent->state == S::Cancelling;
      if (random() % 2 == 0) {
        if (!busy && extent->length() > kPageSize) {
          const std::uint64_t pages = extent->length().value() / 4096;
          table.split(*extent, ByteCount((1 + random() % (pages - 1)) * 4096));
        }
      } else if (const auto event = static_cast<E>(random() % kExtentEvents);
                 event != E::ScrubFailed && next_state(extent->state, event)) {
        const VmId vm(1 + random() % 3);
        table.transition(*extent, event, [&](Extent& changed) {
          if (changed.state != S::Owned) return;
          changed.holder = vm;
          const GroupAt group{TrustGroupId(vm.value() % 2), 1};
          changed.owner = Owner{vm, {}, CustomerId(1), group, group};
        });
        table.coalesce(*extent);
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
  const auto grant_and_release = [&](Extent& extent, VmId vm) {
    table.transition(extent, E::Grant, [vm](Extent& changed) {
      changed.holder = vm;
      changed.owner.vm = vm;
    });
    table.transition(extent, E::Release);
  };
  grant_and_release(first, VmId(1));
  grant_and_release(second, VmId(2));
  table.coalesce(first);
  EXPECT_EQ(table.count(), 2U) << "other owners";
  grant_and_release(second, VmId(1));
  table.earmark(second, ClaimId(7));
  table.coalesce(first);
  EXPECT_EQ(table.count(), 2U) << "earmarked";
  table.earmark(second, {});
  table.coalesce(first);
  EXPECT_EQ(table.count(), 1U);
  EXPECT_EQ(table.dirty_of_vm(VmId(1)).size(), 1U);
  EXPECT_TRUE(table.dirty_of_vm(VmId(2)).empty());
}

}  // namespace
}  // namespace sluice
