// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/job_slots.hpp"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(JobSlots, GenerationsGoRoundWithoutEverNamingNoJob) {
  JobSlots slots(1, 0xFFFFFFFD);
  std::vector<JobId> ids;
  for (int use = 0; use < 5; ++use) {
    const JobId id = slots.take({});
    EXPECT_NE(id.generation, 0U);
    EXPECT_TRUE(slots.holds(id));
    for (const JobId past : ids) {
      EXPECT_FALSE(slots.holds(past));
      EXPECT_TRUE(slots.knows(past)) << past.generation;
    }
    ids.push_back(id);
    slots.give_back(id.slot);
  }
  EXPECT_EQ(ids[1].generation, 0xFFFFFFFFU);
  EXPECT_EQ(ids[2].generation, 1U);
  EXPECT_FALSE(slots.knows({0, 0}));
  EXPECT_FALSE(slots.knows({1, 1}));
}

TEST(JobSlots, TheSlotThatWasFreeLongestIsTakenFirst) {
  JobSlots slots(3);
  EXPECT_EQ(slots.take({}).slot, 0U);
  EXPECT_EQ(slots.take({}).slot, 1U);
  slots.give_back(1);
  slots.give_back(0);
  EXPECT_EQ(slots.take({}).slot, 2U);
  EXPECT_EQ(slots.take({}).slot, 1U);
  EXPECT_EQ(slots.take({}).slot, 0U);
  EXPECT_EQ(slots.free_count(), 0U);
  EXPECT_EQ(slots.held_count(), 3U);
}

TEST(JobSlots, NamesThatDifferInOneDigitAreOtherJobs) {
  JobSlots slots(12, 122);
  for (int job = 0; job < 11; ++job) slots.take({});
  EXPECT_TRUE(slots.holds({10, 123}));
  EXPECT_FALSE(slots.holds({10, 122}));
  EXPECT_FALSE(slots.holds({10, 124}));
  EXPECT_FALSE(slots.holds({11, 123}));
  EXPECT_FALSE(slots.knows({11, 123}));
}

}  // namespace
}  // namespace sluice
