// SPDX-License-Identifier: Apache-2.0
// Clocks that are far from 0 or near their end, and hosts that were idle for long.
#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr nanoseconds kLast = nanoseconds::max();

/// A host whose clocks the test moves: the manager's, and the engine's, which shows another time.
class Times : public ::testing::Test {
 protected:
  explicit Times(nanoseconds time = hours(1'000'000)) : time_(time) {}

  /// Ends with all memory clean and nothing to do.
  void start(ScrubberConfig config) {
    config.background_job_length = ManagerFixture::length(4);
    config.clock = [this] { return time_; };
    fixture_.emplace(64, config);
    for (int step = 0; step < 64; ++step) pass(seconds(1));
    ASSERT_EQ(clean_pages(), 64U);
    for (const VmId vm : {kA, kB}) fixture_->create(vm, CustomerId(vm.value()));
  }
  MemoryManager& manager() { return fixture_->manager_; }
  ManualEngine& engine() { return fixture_->engine_; }
  void pass(nanoseconds time) {
    time_ += time;
    engine_time_ += time;
    engine().set_time(engine_time_);
    fixture_->settle();
  }
  /// Many hours, in which somebody polls now and then.
  void idle() {
    for (int day = 0; day < 10; ++day) pass(hours(24));
  }
  [[nodiscard]] std::size_t clean_pages() { return manager().extents().bytes(ExtentState::Clean).value() / 4096; }
  /// A writes to all memory and goes.
  void dirty_all() {
    fixture_->take(kA, 64);
    ASSERT_TRUE(manager().terminate(kA));
  }

  nanoseconds time_;
  nanoseconds engine_time_{seconds(7)};
  std::optional<ManagerFixture> fixture_;
};

TEST_F(Times, RateIsKeptAfterALongIdle) {
  start({.background_rate = 8 * 4096.0});  // two jobs a second
  idle();
  dirty_all();
  fixture_->settle();
  EXPECT_EQ(clean_pages(), 4U) << "one job at once, whatever was not used before";
  EXPECT_EQ(manager().next_scheduled(), time_ + milliseconds(500));
  pass(milliseconds(499));
  EXPECT_EQ(clean_pages(), 4U);
  pass(milliseconds(1));
  EXPECT_EQ(clean_pages(), 8U);
  pass(hours(1));
  EXPECT_EQ(clean_pages(), 12U) << "nor is an hour without a look made up for";
}

TEST_F(Times, CleanTargetHoldsAfterALongIdle) {
  start({.clean_target = ManagerFixture::length(16), .idle_after = seconds(1)});
  idle();
  std::optional<Result<Grant>> result;
  fixture_->ask(kA, 60, result);
  fixture_->settle();
  ASSERT_TRUE(result && *result);
  ASSERT_TRUE(manager().terminate(kA));
  fixture_->settle();
  EXPECT_EQ(clean_pages(), 16U) << "somebody asked just now";
  EXPECT_EQ(manager().next_scheduled(), time_ + seconds(1));
  pass(milliseconds(999));
  EXPECT_EQ(clean_pages(), 16U);
  pass(milliseconds(1));
  EXPECT_EQ(clean_pages(), 64U);
}

TEST_F(Times, EngineIsNotBlamedForALongIdle) {
  start({.stall_timeout = seconds(10)});
  idle();
  dirty_all();
  ASSERT_FALSE(engine().running().empty());
  // A whole timeout passes before it is looked at again, and it is looked at often.
  for (int look = 0; look < 9; ++look) {
    engine_time_ += seconds(1);
    engine().set_time(engine_time_);
    manager().poll();
    ASSERT_FALSE(manager().fault()) << "after " << look + 1 << " s";
  }
  engine().end(0, Outcome::Zeroed, engine().running().front().job.memory.size());
  for (int look = 0; look < 9; ++look) {
    manager().poll();
    engine_time_ += seconds(1);
    engine().set_time(engine_time_);
    ASSERT_FALSE(manager().fault()) << "it has made progress";
  }
  for (int look = 0; look < 30; ++look) {
    engine_time_ += seconds(1);
    engine().set_time(engine_time_);
    manager().poll();
  }
  EXPECT_TRUE(manager().fault()) << "it has not any more";
}

TEST_F(Times, ScheduledScrubIsDueAfterItsDelayFarFromZero) {
  start({});
  ASSERT_TRUE(manager().change_scrub_settings(kA, {.timing = ScrubTiming::Scheduled, .delay = hours(30)}));
  idle();
  dirty_all();
  const nanoseconds due = time_ + hours(30);
  fixture_->settle();
  EXPECT_EQ(clean_pages(), 0U);
  EXPECT_EQ(manager().next_scheduled(), due);
  pass(hours(30) - nanoseconds(1));
  EXPECT_EQ(clean_pages(), 0U);
  pass(nanoseconds(1));
  EXPECT_EQ(clean_pages(), 64U);
}

TEST_F(Times, DelayBeyondTheEndOfTheClockNeverComesDue) {
  start({});
  ASSERT_TRUE(manager().change_scrub_settings(kA, {.timing = ScrubTiming::Scheduled, .delay = kLast - nanoseconds(1)}));
  dirty_all();
  fixture_->settle();
  EXPECT_EQ(clean_pages(), 0U);
  EXPECT_FALSE(manager().has_work());
  EXPECT_EQ(manager().next_scheduled(), kLast);
  pass(hours(1'000'000));
  EXPECT_EQ(clean_pages(), 0U);
  std::optional<Result<Grant>> result;
  fixture_->ask(kB, 64, result);
  fixture_->settle();
  EXPECT_TRUE(result && *result) << "a claim has it scrubbed at once";
}

TEST_F(Times, DelayOfTheWholeClockIsOneThatNobodyWaitsFor) {
  start({});
  ASSERT_TRUE(manager().change_scrub_settings(kA, {.timing = ScrubTiming::Scheduled, .delay = kLast}));
  dirty_all();
  fixture_->settle();
  EXPECT_EQ(clean_pages(), 0U);
  EXPECT_FALSE(manager().has_work());
}

TEST_F(Times, LongerDelayComesAfterAShorterOneNearTheEnd) {
  start({});
  ASSERT_TRUE(manager().change_scrub_settings(kA, {.timing = ScrubTiming::Scheduled, .delay = kLast - nanoseconds(1)}));
  fixture_->take(kA, 32);
  fixture_->take(kB, 32);
  ASSERT_TRUE(manager().change_scrub_settings(kB, {.timing = ScrubTiming::Scheduled, .delay = seconds(5)}));
  ASSERT_TRUE(manager().terminate(kA));
  ASSERT_TRUE(manager().terminate(kB));
  // No two are released at the same nanosecond.
  EXPECT_EQ(manager().next_scheduled(), time_ + seconds(5) + nanoseconds(1));
  pass(seconds(5) + nanoseconds(1));
  EXPECT_EQ(clean_pages(), 32U);
}

/// An hour before the clock ends.
class LastHour : public Times {
 protected:
  LastHour() : Times(kLast - hours(1)) {}
};

TEST_F(LastHour, ScrubsGoOnAsEver) {
  start({});
  dirty_all();
  fixture_->settle();
  EXPECT_EQ(clean_pages(), 64U);
}

TEST_F(LastHour, RatesAndIdlenessEndWithTheClock) {
  start({.clean_target = ManagerFixture::length(4), .idle_after = hours(50), .background_rate = 8 * 4096.0});
  dirty_all();
  fixture_->settle();
  EXPECT_EQ(clean_pages(), 4U);
  ASSERT_TRUE(manager().next_scheduled());
  EXPECT_GE(*manager().next_scheduled(), time_) << "no time before now";
  EXPECT_EQ(*manager().next_scheduled(), kLast);
}

TEST_F(LastHour, SlowRateDoesNotWrapAround) {
  start({.background_rate = 4096.0 * 4});
  dirty_all();
  fixture_->settle();
  EXPECT_EQ(clean_pages(), 4U);
  for (int step = 1; step < 16; ++step) {
    pass(seconds(1));
    EXPECT_EQ(clean_pages(), 4U + 4U * static_cast<std::size_t>(step));
  }
}

}  // namespace
}  // namespace sluice::test
