// SPDX-License-Identifier: Apache-2.0
// Drain, abort, and the watchdog.
#include <gtest/gtest.h>

#include "operation_name.hpp"
#include "raw_engine.hpp"

namespace sluice::test {
namespace {

constexpr std::byte kUntouched{0xA5};

/// Queues `count` jobs of 64 KiB on queue q, one behind the other in memory.
void submit_many(RawEngine& engine, std::uint16_t count, std::size_t q = 0, std::uint8_t operation = ring::kOpFill) {
  for (std::uint16_t job = 0; job < count; ++job) {
    engine.place(engine.job(operation, job * 65'536U, 65'536, job), q);
  }
  engine.ring_doorbell(q);
}

/// Collects what was completed; each job must come once, in order, with an exact prefix. Returns the outcomes.
std::vector<std::uint8_t> collect_exact(RawEngine& engine, std::size_t count, std::size_t q = 0,
                                        std::uint8_t operation = ring::kOpFill) {
  std::vector<std::uint8_t> outcomes;
  for (std::size_t job = 0; job < count; ++job) {
    const auto completion = engine.collect(q);
    EXPECT_EQ(completion.slot, job);
    const MemorySpan memory = engine.data().part(job * 65'536U, 65'536);
    EXPECT_EQ(first_not(memory.first(completion.bytes), std::byte{0}), std::nullopt);
    if (completion.outcome == ring::kOutcomeCancelled && operation != ring::kOpVerify) {
      EXPECT_EQ(first_not(memory.subspan(completion.bytes), kUntouched), std::nullopt);
    }
    outcomes.push_back(completion.outcome);
  }
  return outcomes;
}

TEST(ScrubDrain, FinishesWhatWasFetchedAndTakesNoMore) {
  RawEngine engine;
  engine.start();
  engine.device().run_cycles(300);
  submit_many(engine, 8);
  engine.device().run_cycles(200);
  engine.write(ring::kQueueCtrl, 0);
  engine.wait_idle();
  const std::uint32_t fetched = engine.read(ring::kQueueSqHead);
  ASSERT_GT(fetched, 0U);
  for (const std::uint8_t outcome : collect_exact(engine, fetched)) EXPECT_EQ(outcome, ring::kOutcomeZeroed);
  engine.wait_idle();
  EXPECT_EQ(engine.try_collect(), std::nullopt);
  EXPECT_NE(engine.read(ring::kQueueCause) & ring::kIrqCauseDrained, 0U);
  const std::uint32_t others = engine.read(ring::kQueueCause) & ~ring::kIrqCauseDrained;
  EXPECT_TRUE(engine.write(ring::kQueueCause, ring::kIrqCauseDrained));
  EXPECT_EQ(engine.read(ring::kQueueCause), others) << "the other causes stay";
}

TEST(ScrubDrain, LetsTheQueueStartAfresh) {
  RawEngine engine;
  engine.start();
  engine.run(engine.fill(0, 4096, 0));
  engine.write(ring::kQueueCtrl, 0);
  engine.wait_idle();
  engine.set_up(0);
  engine.cancel(1, 5);  // of an earlier life: it must not hit the new one
  ASSERT_TRUE(engine.write(ring::kQueueCtrl, ring::kQueueCtrlBitEnable));
  EXPECT_EQ(engine.run(engine.fill(0, 4096, 1, 5)).outcome, ring::kOutcomeZeroed);
}

class ScrubAbort : public ::testing::TestWithParam<std::uint8_t> {};

TEST_P(ScrubAbort, CancelsEveryFetchedJobWithItsPrefix) {
  for (const std::uint32_t delay : {0U, 30U, 100U, 700U, 2000U}) {
    SCOPED_TRACE(delay);
    RawEngine engine;
    engine.data().fill(GetParam() == ring::kOpVerify ? std::byte{0} : kUntouched);
    engine.start();
    engine.device().run_cycles(300);
    submit_many(engine, 8, 0, GetParam());
    engine.device().run_cycles(delay);
    ASSERT_TRUE(engine.write(ring::kQueueCtrl, ring::kQueueCtrlBitAbort));
    EXPECT_EQ(engine.read(ring::kQueueCtrl), 0U) << "disabled";
    engine.wait_idle();
    const std::uint32_t fetched = engine.read(ring::kQueueSqHead);
    const auto outcomes = collect_exact(engine, fetched, 0, GetParam());
    EXPECT_EQ(std::count(outcomes.begin(), outcomes.end(), ring::kOutcomeFailed), 0);
    if (fetched > 0) {
      EXPECT_EQ(outcomes.back(), ring::kOutcomeCancelled);
    }
    EXPECT_EQ(engine.try_collect(), std::nullopt);
    const BusTrace before = engine.device().data_bus();
    engine.device().run_cycles(1000);
    EXPECT_EQ(engine.device().data_bus().w_beats, before.w_beats) << "it is quiet";
    EXPECT_EQ(engine.device().data_bus().data_beats_read, before.data_beats_read) << "it is quiet";
  }
}
INSTANTIATE_TEST_SUITE_P(Operations, ScrubAbort, every_operation(), operation_name);

TEST(ScrubAbort, LeavesOtherQueuesAlone) {
  RawEngine engine;
  engine.start();
  engine.device().run_cycles(300);
  submit_many(engine, 4, 0);
  submit_many(engine, 4, 1);
  engine.device().run_cycles(200);
  engine.write(ring::kQueueCtrl, ring::kQueueCtrlBitAbort, 0);
  for (const std::uint8_t outcome : collect_exact(engine, 4, 1)) EXPECT_EQ(outcome, ring::kOutcomeZeroed);
}

class ScrubWatchdog : public ::testing::TestWithParam<std::uint8_t> {};

TEST_P(ScrubWatchdog, EndsTheJobsOfASilentQueueAndLetsTheOthersRun) {
  RawEngine engine;
  engine.data().fill(kUntouched);
  engine.write_engine(ring::kRegTimeout, 1000);
  engine.start();
  engine.device().run_cycles(300);
  engine.device().set_faults({.silent_queue = 1});
  submit_many(engine, 6, 1, GetParam());
  std::uint32_t completed = 0;
  std::uint32_t others = 0;
  for (std::uint32_t generation = 1; completed < 6; ++generation) {
    ASSERT_LT(generation, 2000U) << "the watchdog does not fire";
    ASSERT_EQ(engine.run(engine.fill(0, 512, 0, generation), 0).outcome, ring::kOutcomeZeroed);
    ++others;
    while (const auto completion = engine.try_collect(1)) {
      EXPECT_EQ(completion->slot, completed++);
      EXPECT_EQ(completion->outcome, ring::kOutcomeFailed);
      EXPECT_EQ(completion->cause, ring::kCauseTimeout);
      EXPECT_EQ(completion->bytes, 0U) << "nothing was acknowledged";
    }
  }
  EXPECT_GT(others, 10U) << "queue 0 worked on";
  EXPECT_NE(engine.read(ring::kQueueStatus, 1) & ring::kStatusQuarantined, 0U);
  EXPECT_NE(engine.read(ring::kQueueCause, 1) & ring::kIrqCauseQuarantine, 0U);
  EXPECT_EQ(engine.read(ring::kQueueStatus, 0) & ring::kStatusQuarantined, 0U);
  EXPECT_EQ(engine.read(ring::kQueueStatus, 1) & ring::kStatusIdle, 0U) << "the bus still owes answers";

  // A quarantined queue comes back only with a reset, and that waits for the late answers.
  engine.write(ring::kQueueCtrl, 0, 1);
  EXPECT_FALSE(engine.write(ring::kQueueCtrl, ring::kQueueCtrlBitEnable, 1));
  engine.write_engine(ring::kRegCtrl, ring::kEngineCtrlReset);
  engine.device().run_cycles(3000);
  EXPECT_NE(engine.read_engine(ring::kRegCtrl) & ring::kEngineCtrlReset, 0U);
  engine.device().set_faults({});
  engine.device().run_cycles(3000);
  EXPECT_EQ(engine.read_engine(ring::kRegCtrl), ring::kEngineCtrlIdle);
  EXPECT_EQ(engine.read(ring::kQueueStatus, 1), ring::kStatusIdle);
  for (std::size_t q = 0; q < engine.queues(); ++q) engine.set_up(q);
  engine.start();
  EXPECT_EQ(engine.run(engine.fill(0, 4096, 0, 7), 1).outcome, ring::kOutcomeZeroed);
}
INSTANTIATE_TEST_SUITE_P(Operations, ScrubWatchdog, every_operation(), operation_name);

TEST(ScrubWatchdog, GivesTheAcknowledgedPrefix) {
  RawEngine engine;
  engine.data().fill(kUntouched);
  engine.write_engine(ring::kRegTimeout, 1000);
  engine.start();
  engine.device().run_cycles(300);
  engine.submit(engine.fill(0, 1 << 20, 0));
  engine.device().run_cycles(600);
  engine.device().set_faults({.silent_queue = 0});
  const auto completion = engine.collect();
  EXPECT_EQ(completion.cause, ring::kCauseTimeout);
  EXPECT_GT(completion.bytes, 4096U);
  EXPECT_EQ(first_not(engine.data().part(0, completion.bytes), std::byte{0}), std::nullopt);
  EXPECT_EQ(first_not(engine.data().part(completion.bytes, 100'000), kUntouched), std::nullopt)
      << "what was not answered has not reached this memory";
}

TEST(ScrubWatchdog, ActsWhenTheWholeBusHangs) {
  RawEngine engine;
  engine.write_engine(ring::kRegTimeout, 500);
  engine.device().set_faults({.hang_after_bursts = 3});
  engine.start();
  submit_many(engine, 4, 0);
  submit_many(engine, 4, 1);
  for (std::size_t q = 0; q < 2; ++q) {
    for (int job = 0; job < 4; ++job) EXPECT_EQ(engine.collect(q).cause, ring::kCauseTimeout);
  }
}

TEST(ScrubWatchdog, LeavesALongButLivelyJobAlone) {
  RawEngine engine({.timing = {{1, 1}, {300, 300}, {1, 1}, 0.2}});
  engine.write_engine(ring::kRegTimeout, 700);
  engine.start();
  EXPECT_EQ(engine.run(engine.fill(0, 512 << 10, 0)).outcome, ring::kOutcomeZeroed);
}

/// A burst of a read may take longer than the watchdog waits: each of its beats is an answer.
TEST(ScrubWatchdog, CountsSlowBeatsOfReadsAsAnswers) {
  for (const std::uint8_t operation : {ring::kOpVerify, ring::kOpFillVerify}) {
    RawEngine engine({.timing = {{1, 1}, {1, 1}, {1, 1}, 0.05}});
    // A write of 64 beats takes about 1300 cycles then, and is answered as a whole.
    engine.write_engine(ring::kRegTimeout, operation == ring::kOpVerify ? 500 : 3000);
    engine.start();
    const std::uint64_t length = operation == ring::kOpVerify ? 16 << 10 : 4096;
    EXPECT_EQ(engine.run(engine.job(operation, 0, length, 0)).outcome, ring::kOutcomeZeroed);
  }
}

}  // namespace
}  // namespace sluice::test
