// SPDX-License-Identifier: Apache-2.0
// Who gets the bus: priority, weight, rate, and no queue starves.
#include <gtest/gtest.h>

#include "raw_engine.hpp"

namespace sluice::test {
namespace {

constexpr std::uint64_t kLong = 64 << 20;

/// Long fills on the first `queues` queues, all in the same memory, running.
class Contest {
 public:
  explicit Contest(std::size_t queues) : queues_(queues) {}

  void qos(std::size_t q, std::uint32_t priority, std::uint32_t weight) {
    engine_.write(ring::kQueueQos, priority | weight << 8, q);
  }
  void run(std::uint64_t cycles) {
    engine_.start();
    engine_.device().run_cycles(300);
    for (std::size_t q = 0; q < queues_; ++q) engine_.submit(engine_.fill(0, kLong, 0), q);
    engine_.device().run_cycles(cycles);
    engine_.device().run_cycles(64);
    for (std::size_t q = 0; q < queues_; ++q) {
      beats_.push_back(static_cast<double>(engine_.queue_counter(ring::kQueueCounterBeats, q)));
    }
  }
  [[nodiscard]] double beats(std::size_t q) const { return beats_[q]; }
  RawEngine& engine() { return engine_; }

 private:
  RawEngine engine_{{.timing = {{5, 5}, {5, 5}, {5, 5}, 1.0}}, kLong};
  std::size_t queues_;
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

TEST(Arbitration, UrgentWorkOvertakesAtTheNextBurst) {
  Contest contest(1);
  contest.qos(0, 0, 1);
  contest.qos(3, 3, 1);
  contest.run(2000);
  RawEngine& engine = contest.engine();
  const std::uint64_t start = engine.device().cycles();
  engine.submit(engine.fill(0, 4096, 0), 3);
  engine.collect(3);
  // Descriptor read, the bursts whose addresses are out already, its own, and the answers.
  EXPECT_LT(engine.device().cycles() - start, 30 + 6 * 64 + 64 + 30U);
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
