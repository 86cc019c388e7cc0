// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/stall_watch.hpp"

#include <gtest/gtest.h>

namespace sluice {
namespace {

using namespace std::chrono_literals;

/// Looks once a second; returns the second at which it is a stall, or 0.
int stall_within(StallWatch& watch, int seconds, std::chrono::nanoseconds& now, std::uint64_t progress = 5) {
  for (int second = 1; second <= seconds; ++second) {
    now += 1s;
    if (watch.stalled(true, progress, now)) return second;
  }
  return 0;
}

TEST(StallWatch, NoticesWorkWithoutProgressAtAnyTimeOfTheClock) {
  for (std::chrono::nanoseconds now : {-1000h, 0h, 1h, 100'000h}) {
    StallWatch watch(10s);
    EXPECT_EQ(stall_within(watch, 100, now), 11);
  }
}

TEST(StallWatch, IdleTimeIsNoSilenceAndNeitherIsTheWorkAfterIt) {
  StallWatch watch(10s);
  std::chrono::nanoseconds now = 1h;
  EXPECT_EQ(stall_within(watch, 9, now), 0);
  for (int hour = 0; hour < 10; ++hour) EXPECT_FALSE(watch.stalled(false, 5, now += 1h));
  EXPECT_EQ(stall_within(watch, 10, now), 0);
  EXPECT_EQ(stall_within(watch, 1, now), 1);
}

TEST(StallWatch, AnyChangeOfTheCounterIsProgress) {
  StallWatch watch(10s);
  std::chrono::nanoseconds now{0};
  for (std::uint64_t progress = 0; progress < 100; ++progress) {
    EXPECT_EQ(stall_within(watch, 10, now, progress), 0);
    now += 100h;
  }
}

TEST(StallWatch, ALongPauseBetweenTwoLooksCountsLittleAndAClockThatGoesBackNothing) {
  StallWatch watch(8s);
  EXPECT_FALSE(watch.stalled(true, 5, 0s));
  EXPECT_FALSE(watch.stalled(true, 5, 1h));
  EXPECT_EQ(watch.silence(), 2s);
  EXPECT_FALSE(watch.stalled(true, 5, 0s));
  EXPECT_EQ(watch.silence(), 2s);
}

}  // namespace
}  // namespace sluice
