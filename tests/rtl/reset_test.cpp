// SPDX-License-Identifier: Apache-2.0
// The reset in CTRL and that of the hardware: in traffic, at every cycle, with a full completion ring, and what they
// clear.
#include <gtest/gtest.h>

#include "operation_name.hpp"
#include "raw_engine.hpp"

namespace sluice::test {
namespace {

constexpr std::byte kUntouched{0xA5};

bool resetting(RawEngine& engine) { return (engine.read_engine(ring::kRegCtrl) & ring::kEngineCtrlReset) != 0; }

void set_up_again(RawEngine& engine) {
  for (std::size_t q = 0; q < engine.queues(); ++q) engine.set_up(q);
  engine.start();
}

class ScrubReset : public ::testing::TestWithParam<std::uint8_t> {};

TEST_P(ScrubReset, InTrafficWaitsForTheBusAndCompletesEveryJobOnce) {
  for (const std::uint32_t delay : {0U, 25U, 60U, 300U, 1500U}) {
    SCOPED_TRACE(delay);
    RawEngine engine({.timing = {{10, 60}, {10, 90}, {0, 20}, 0.7, true}});
    engine.start();
    engine.device().run_cycles(300);
    for (std::size_t q = 0; q < engine.queues(); ++q) {
      for (std::uint16_t job = 0; job < 8; ++job) engine.place(engine.job(GetParam(), job * 65'536U, 65'536, job), q);
      engine.ring_doorbell(q);
    }
    engine.device().run_cycles(delay);
    ASSERT_TRUE(engine.write_engine(ring::kRegCtrl, ring::kEngineCtrlReset));
    EXPECT_TRUE(resetting(engine)) << "the bus owes answers";
    EXPECT_FALSE(engine.write_engine(ring::kRegCtrl, 1)) << "not now";
    EXPECT_FALSE(engine.write(ring::kQueueCtrl, ring::kQueueCtrlBitEnable)) << "not now";
    for (int wait = 0; wait < 10'000 && resetting(engine); ++wait) {
    }
    ASSERT_EQ(engine.read_engine(ring::kRegCtrl), ring::kEngineCtrlIdle);
    const std::uint64_t beats = engine.device().data_bus().w_beats;
    engine.device().run_cycles(500);
    EXPECT_EQ(engine.device().data_bus().w_beats, beats);
    for (std::size_t q = 0; q < engine.queues(); ++q) {
      std::uint16_t completed = 0;
      while (const auto completion = engine.try_collect(q)) EXPECT_EQ(completion->slot, completed++);
      EXPECT_LE(completed, 8);
      EXPECT_EQ(engine.read(ring::kQueueSqHead, q), 0U) << "pointers start over";
    }
    set_up_again(engine);
    for (std::size_t q = 0; q < engine.queues(); ++q) {
      EXPECT_EQ(engine.run(engine.fill(0, 100'000, 0, 9), q).outcome, ring::kOutcomeZeroed);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Operations, ScrubReset, every_operation(), operation_name);

/// After either reset: nothing is under way, nothing is left of the life before, and the next one is as good as the
/// first.
void expect_fresh(RawEngine& engine) {
  EXPECT_EQ(engine.read_engine(ring::kRegCtrl), ring::kEngineCtrlIdle);
  const std::vector<std::byte> before(engine.data().all().begin(), engine.data().all().end());
  for (const std::uint32_t zero : {ring::kQueueCtrl, ring::kQueueSqTail, ring::kQueueSqHead, ring::kQueueCqTail,
                                   ring::kQueueCqHead, ring::kQueueLock}) {
    EXPECT_EQ(engine.read(zero), 0U) << std::hex << zero;
  }
  EXPECT_EQ(engine.read(ring::kQueueStatus), ring::kStatusIdle);
  EXPECT_TRUE(engine.write(ring::kQueueWindowBase, 0)) << "the window is unlocked";
  set_up_again(engine);
  engine.device().run_cycles(200);
  EXPECT_EQ(engine.try_collect(), std::nullopt);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), engine.data().all().begin())) << "written after the reset";
  for (std::uint16_t job = 0; job < 3; ++job) {
    const auto completion = engine.run(engine.fill(0, 5000, job));
    EXPECT_EQ(completion.slot, job);
    EXPECT_EQ(completion.outcome, ring::kOutcomeZeroed) << "a request of the life before must not hit it";
  }
}

/// Runs `story` (an engine, cycles until the reset) for both resets at every cycle up to `last`.
template <class Story>
void at_every_cycle(std::uint64_t last, Story story) {
  for (const bool hardware : {false, true}) {
    for (std::uint64_t delay = 0; delay <= last; ++delay) {
      SCOPED_TRACE(std::to_string(delay) + (hardware ? " cycles, ap_rst_n" : " cycles, CTRL"));
      RawEngine engine({.build = "512-lean", .timing = {{8, 8}, {12, 12}, {5, 5}, 1.0}}, 64 << 10);
      engine.data().fill(kUntouched);
      ASSERT_TRUE(engine.write(ring::kQueueLock, 1));
      story(engine, delay);
      if (hardware) {
        engine.device().reset();
      } else {
        ASSERT_TRUE(engine.write_engine(ring::kRegCtrl, ring::kEngineCtrlReset));
        for (int wait = 0; wait < 1000 && resetting(engine); ++wait) {
        }
        // What it had taken it has completed, each once, in order, with its prefix.
        std::uint16_t completed = 0;
        while (const auto completion = engine.try_collect()) {
          ASSERT_EQ(completion->slot, completed++);
          const MemorySpan memory = engine.data().part(completion->slot * 8192U, 8192);
          EXPECT_EQ(first_not(memory.first(completion->bytes), std::byte{0}), std::nullopt);
          EXPECT_NE(completion->outcome, ring::kOutcomeFailed);
        }
      }
      expect_fresh(engine);
    }
  }
}

TEST(ScrubReset, AtEveryCycleAfterAnEnableLeavesNothingBehind) {
  at_every_cycle(90, [](RawEngine& engine, std::uint64_t delay) {  // the cancel table is swept for 64 cycles
    engine.cancel(1, 1);
    engine.start();
    engine.device().run_cycles(delay);
  });
}

TEST(ScrubReset, AtEveryCycleAfterADoorbellLeavesNothingBehind) {
  at_every_cycle(260, [](RawEngine& engine, std::uint64_t delay) {
    engine.start();
    engine.device().run_cycles(100);
    engine.place(engine.job(ring::kOpFillVerify, 0, 2000, 0));
    engine.place(engine.fill(8192, 8192, 1));
    engine.place(engine.fill(16'384, 64, 2));
    engine.cancel(2, 1);
    engine.ring_doorbell();
    engine.device().run_cycles(delay);
  });
}

/// Four jobs of queue 0 with room for the completions of two, and the reset in CTRL.
class ResetWithAFullRing : public ::testing::Test {
 protected:
  void SetUp() override {
    engine_.start();
    engine_.device().run_cycles(300);
    ASSERT_TRUE(engine_.write(ring::kQueueLock, 1));
    for (std::uint16_t pair = 0; pair < 4; pair += 2) {
      engine_.place(engine_.fill(pair * 4096U, 4096, pair));
      engine_.place(engine_.fill((pair + 1) * 4096U, 4096, static_cast<std::uint16_t>(pair + 1)));
      engine_.ring_doorbell();
      engine_.device().run_cycles(1000);
    }
    ASSERT_EQ(engine_.read(ring::kQueueSqHead), 4U);
    ASSERT_EQ(engine_.read(ring::kQueueCqTail), 2U);
    ASSERT_TRUE(engine_.write_engine(ring::kRegCtrl, ring::kEngineCtrlReset));
    const std::uint64_t beats = engine_.device().data_bus().w_beats;
    engine_.device().run_cycles(20'000);
    EXPECT_TRUE(resetting(engine_)) << "two completions have no room";
    EXPECT_EQ(engine_.read(ring::kQueueLock), 1U) << "the window stays as it is until the reset is done";
    EXPECT_EQ(engine_.device().data_bus().w_beats, beats) << "no data is written";
  }
  void expect_done() {
    EXPECT_FALSE(resetting(engine_));
    EXPECT_EQ(engine_.read(ring::kQueueLock), 0U);
    set_up_again(engine_);
    EXPECT_EQ(engine_.run(engine_.fill(0, 4096, 0, 9)).outcome, ring::kOutcomeZeroed);
  }
  RawEngine engine_{{}, 64 << 10, 1};
};

TEST_F(ResetWithAFullRing, EndsWhenTheCompletionsAreCollected) {
  for (std::uint16_t job = 0; job < 4; ++job) {
    EXPECT_TRUE(resetting(engine_) || job > 1);
    EXPECT_EQ(engine_.collect().slot, job);
    engine_.release_completions();
    engine_.device().run_cycles(100);
  }
  expect_done();
}

TEST_F(ResetWithAFullRing, EndsWhenSoftwareThatWantsNoneGivesTheirPlacesBack) {
  for (int turn = 0; turn < 8 && resetting(engine_); ++turn) {
    engine_.write(ring::kQueueCqHead, engine_.read(ring::kQueueCqTail));
    engine_.device().run_cycles(100);
  }
  expect_done();
}

TEST(ScrubReset, OfTheHardwareStartsFromNothing) {
  for (const std::uint32_t delay : {5U, 100U, 333U}) {
    RawEngine engine;
    engine.start();
    engine.device().run_cycles(300);
    for (std::uint16_t job = 0; job < 8; ++job) engine.place(engine.fill(job * 65'536U, 65'536, job));
    engine.ring_doorbell();
    engine.device().run_cycles(delay);
    engine.device().reset();
    EXPECT_EQ(engine.read_engine(ring::kRegCtrl), ring::kEngineCtrlIdle);
    EXPECT_EQ(engine.read(ring::kQueueRingLog2), 0U);
    set_up_again(engine);
    EXPECT_EQ(engine.run(engine.fill(0, 4096, 0)).outcome, ring::kOutcomeZeroed);
    EXPECT_LE(engine.engine_counter(ring::kRegWriteBeats), 64U) << "counters start over";
  }
}

}  // namespace
}  // namespace sluice::test
