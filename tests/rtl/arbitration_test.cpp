// SPDX-License-Identifier: Apache-2.0
// Who gets the bus: priority, weight, rate, and no queue starves.
#include <gtest/gtest.h>

#include "operation_name.hpp"
#include "raw_engine.hpp"

namespace sluice::test {
namespace {

constexpr std::uint64_t kLong = 64 << 20;

/// Long fills on the first `queues` queues, all in the same memory, running.
class Contest {
 public:
  explicit Contest(std::size_t queues, std::uint8_t operation = ring::kOpFill, const std::string& build = "512")
      : engine_({.build = build, .timing = {{5, 5}, {5, 5}, {5, 5}, 1.0}}, kLong),
        queues_(queues),
        operation_(operation) {}

  void qos(std::size_t q, std::uint32_t priority, std::uint32_t weight) {
    engine_.write(ring::kQueueQos, priority | weight << 8, q);
  }
  void run(std::uint64_t cycles) {
    engine_.start();
    engine_.device().run_cycles(300);
    for (std::size_t q = 0; q < queues_; ++q) engine_.submit(engine_.job(operation_, 0, kLong, 0), q);
    engine_.device().run_cycles(cycles);
    engine_.device().run_cycles(64);
    for (std::size_t q = 0; q < queues_; ++q) {
      beats_.push_back(static_cast<double>(engine_.queue_counter(ring::kQueueCounterBeats, q)));
    }
  }
  [[nodiscard]] double beats(std::size_t q) const { return beats_[q]; }
  /// Cycles that a job of 4 KiB takes on queue q, from before its doorbell to its completion.
  std::uint64_t cycles_of_a_job(std::uint8_t operation, std::size_t q) {
    const std::uint64_t start = engine_.device().cycles();
    engine_.submit(engine_.job(operation, 0, 4096, 0), q);
    if (engine_.collect(q).outcome != ring::kOutcomeZeroed) throw std::runtime_error("the urgent job failed");
    return engine_.device().cycles() - start;
  }
  RawEngine& engine() { return engine_; }

 private:
  RawEngine engine_;
  std::size_t queues_;
  std::uint8_t operation_;
  std::vector<double> beats_;
};

TEST(Arbitration, SharesByWeightAmongEquals) {
  Contest contest(3);
  contest.qos(0, 1, 1);
  contest.qos(1, 1, 2);
  contest.qos(2, 1, 5);
  contest.run(60'000);
  EXPECT_NEAR(contest.beats(1) / contest.beats(0), 2, 0.1);
  EXPECT_NEAR(contest.beats(2) / contest.beats(0), 5, 0.2);
}

TEST(Arbitration, AWeightOfNoneCountsAsOne) {
  Contest contest(2);
  contest.qos(0, 0, 0);
  contest.qos(1, 0, 1);
  contest.run(20'000);
  EXPECT_NEAR(contest.beats(1) / contest.beats(0), 1, 0.05);
}

TEST(Arbitration, LowerLevelsGetOneBurstInSixtyFourAndDoNotStarve) {
  Contest contest(3);
  contest.qos(0, 0, 255);
  contest.qos(1, 2, 1);
  contest.qos(2, 1, 1);
  contest.run(120'000);
  EXPECT_NEAR(contest.beats(1) / contest.beats(0), 59, 5) << "the highest level has nearly all";
  EXPECT_NEAR(contest.beats(2) / contest.beats(0), 1, 0.2) << "the others the same little";
}

class UrgentWork : public ::testing::TestWithParam<std::uint8_t> {};

/// Whatever both do. Data is promised to the bus for 31 beats and one burst at most; reads of one queue are 32 at most,
/// and the memory may serve those of the other queue in between.
TEST_P(UrgentWork, OvertakesAtTheNextBurst) {
  for (const std::uint8_t urgent : {ring::kOpFill, ring::kOpVerify, ring::kOpFillVerify}) {
    SCOPED_TRACE(int{urgent});
    Contest contest(1, GetParam());
    contest.qos(0, 0, 1);
    contest.qos(3, 3, 1);
    contest.run(2000);
    const std::uint64_t behind = GetParam() == ring::kOpFill ? 31 + 64 : 32 * 64;
    const bool same_direction = (GetParam() == ring::kOpVerify) != (urgent == ring::kOpFill);
    const std::uint64_t own = urgent == ring::kOpFillVerify ? 2 * 64 + 30 : 64;
    // Descriptor read, what is promised already, its own bursts, and the answers.
    EXPECT_LT(contest.cycles_of_a_job(urgent, 3), 30 + (same_direction ? behind : 0) + own + 30);
  }
}
INSTANTIATE_TEST_SUITE_P(Operations, UrgentWork, every_operation(), operation_name);

/// Bursts of 4 KiB are long there: those whose address runs ahead of its data must not be many.
TEST(Arbitration, UrgentWorkWaitsForOneBurstOnANarrowBus) {
  for (const std::string build : {"128", "256"}) {
    SCOPED_TRACE(build);
    Contest contest(1, ring::kOpFill, build);
    contest.qos(0, 0, 1);
    contest.qos(1, 3, 1);
    contest.run(4000);
    const RtlBuild& parameters = contest.engine().device().build();
    const std::uint64_t burst = 4096 / (parameters.data_width / 8);
    const std::uint64_t promised = 31 + burst;
    // Where rings and data share a master, its completion waits as its data did.
    const std::uint64_t waits = parameters.masters == 1 ? 2 * promised : promised;
    EXPECT_LT(contest.cycles_of_a_job(ring::kOpFill, 1), 30 + waits + burst + 30) << "four bursts were promised";
  }
}

TEST(Arbitration, KeepsAQueueToItsByteRate) {
  for (const std::uint32_t rate : {1024U, 4096U, 10'240U}) {  // bytes in 1024 cycles
    Contest contest(1);
    contest.engine().write(ring::kQueueRate, rate);
    contest.run(400'000);
    const double expected = 400'000.0 * rate / 1024 / 64;
    EXPECT_NEAR(contest.beats(0), expected, 0.01 * expected + 2 * 64);
    EXPECT_GT(contest.engine().queue_counter(ring::kQueueCounterStallRate), 100'000U);
  }
}

TEST(Arbitration, WhatALimitedQueueLeavesGoesToTheOthers) {
  Contest contest(2);
  contest.engine().write(ring::kQueueRate, 16 * 1024, 0);  // a quarter of the bus
  contest.run(40'000);
  EXPECT_NEAR(contest.beats(0) / contest.beats(1), 1.0 / 3, 0.02);
}

}  // namespace
}  // namespace sluice::test
