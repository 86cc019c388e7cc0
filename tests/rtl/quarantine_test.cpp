// SPDX-License-Identifier: Apache-2.0
// The watchdog of a queue whose completion ring is full, and answers that come before, with and after it, cycle by
// cycle.
#include <gtest/gtest.h>

#include <vector>

#include "operation_name.hpp"
#include "raw_engine.hpp"

namespace sluice::test {
namespace {

constexpr std::byte kUntouched{0xA5};
constexpr std::uint32_t kRingLog2 = 1;
constexpr std::uint64_t kJobBytes = 24 << 10;
constexpr std::uint32_t kTimeout = 400;
constexpr std::uint64_t kSilentAt = 45;  // cycles after the doorbell: some bursts are answered, others under way

/// Jobs 0 and 1 fill the completion ring of queue 0; 2 and 3 run when its data is not answered any more.
class FullAndSilent {
 public:
  explicit FullAndSilent(std::uint8_t operation)
      : engine_({.build = "512", .timing = {{10, 10}, {30, 30}, {5, 5}, 1.0}}, 1 << 20, kRingLog2) {
    engine_.data().fill(operation == ring::kOpVerify ? std::byte{0} : kUntouched);
    engine_.start();
    engine_.device().run_cycles(300);
    for (std::uint16_t job = 0; job < 2; ++job) engine_.submit(job_of(ring::kOpFill, job, 64));
    engine_.wait_idle();
    for (std::uint16_t job = 2; job < 4; ++job) engine_.place(job_of(operation, job, kJobBytes));
    engine_.write(ring::kQueueCause, ~0U);
    engine_.write_engine(ring::kRegIer, 1);
    engine_.write_engine(ring::kRegGie, 1);
    engine_.write_engine(ring::kRegTimeout, kTimeout);
    engine_.ring_doorbell();
    engine_.device().run_cycles(kSilentAt);
    engine_.device().set_faults({.silent_queue = 0});
    start_ = engine_.device().cycles();
  }

  /// Cycles from the silence to the interrupt of the watchdog.
  std::uint64_t cycles_to_watchdog() {
    for (int cycle = 0; cycle < 10'000; ++cycle) {
      if (engine_.device().interrupt()) return engine_.device().cycles() - start_;
      engine_.device().run_cycles(1);
    }
    throw std::runtime_error("the watchdog does not fire");
  }

  /// Lets the late answers come `cycles` after the silence began.
  void answer_after(std::uint64_t cycles) {
    engine_.device().run_cycles(cycles);
    engine_.device().set_faults({});
  }
  RawEngine& engine() { return engine_; }
  [[nodiscard]] MemorySpan memory(std::uint16_t job) const { return engine_.data().part(job * kJobBytes, kJobBytes); }

 private:
  [[nodiscard]] ring::Descriptor job_of(std::uint8_t operation, std::uint16_t job, std::uint64_t length) const {
    return engine_.job(operation, job * kJobBytes, length, job);
  }

  RawEngine engine_;
  std::uint64_t start_ = 0;
};

class ScrubQuarantine : public ::testing::TestWithParam<std::uint8_t> {};

TEST_P(ScrubQuarantine, WithItsCompletionRingFullKeepsItsPromisesWheneverTheAnswersCome) {
  const std::uint64_t fires = FullAndSilent(GetParam()).cycles_to_watchdog();
  std::uint32_t in_time = 0;
  std::uint32_t too_late = 0;
  for (std::uint64_t after = fires - 30; after < fires + 60; ++after) {
    SCOPED_TRACE(static_cast<std::int64_t>(after - fires));
    FullAndSilent story(GetParam());
    RawEngine& engine = story.engine();
    story.answer_after(after);
    engine.device().run_cycles(600);
    ASSERT_EQ(engine.read(ring::kQueueCqTail), 2U) << "full: software has collected nothing";
    ASSERT_EQ(engine.run(engine.fill(200'000, 256, 0), 1).outcome, ring::kOutcomeZeroed) << "the other queues run";

    for (std::uint16_t job = 0; job < 4; ++job) {
      const auto completion = engine.collect();
      engine.release_completions();
      ASSERT_EQ(completion.slot, job);
      if (job < 2) {
        ASSERT_EQ(completion.outcome, ring::kOutcomeZeroed);
        continue;
      }
      if (completion.outcome == ring::kOutcomeZeroed) {
        ++in_time;
        ASSERT_EQ(completion.bytes, kJobBytes);
      } else {
        ++too_late;
        ASSERT_EQ(completion.outcome, ring::kOutcomeFailed);
        ASSERT_EQ(completion.cause, ring::kCauseTimeout);
        ASSERT_LT(completion.bytes, kJobBytes);
      }
      ASSERT_EQ(first_not(story.memory(job).first(completion.bytes), std::byte{0}), std::nullopt);
    }
    engine.device().run_cycles(300);
    EXPECT_EQ(engine.try_collect(), std::nullopt);
    EXPECT_EQ(engine.read(ring::kQueueSqHead), 4U);
    // The late answers are counted: the bus owes nothing, and a reset brings the queue back.
    const std::uint32_t status = engine.read(ring::kQueueStatus);
    ASSERT_NE(status & ring::kStatusIdle, 0U);
    if ((status & ring::kStatusQuarantined) != 0) {
      engine.submit(engine.fill(0, 64, 5));
      engine.device().run_cycles(300);
      EXPECT_EQ(engine.try_collect(), std::nullopt) << "a quarantined queue takes nothing";
    }
    engine.write_engine(ring::kRegCtrl, ring::kEngineCtrlReset);
    engine.device().run_cycles(20);
    ASSERT_EQ(engine.read_engine(ring::kRegCtrl), ring::kEngineCtrlIdle);
    for (std::size_t q = 0; q < engine.queues(); ++q) engine.set_up(q);
    engine.start();
    ASSERT_EQ(engine.run(engine.fill(0, 4096, 9)).outcome, ring::kOutcomeZeroed);
  }
  EXPECT_GT(in_time, 0U) << "no answer came before the watchdog";
  EXPECT_GT(too_late, 60U);
}
INSTANTIATE_TEST_SUITE_P(Operations, ScrubQuarantine, every_operation(), operation_name);

}  // namespace
}  // namespace sluice::test
