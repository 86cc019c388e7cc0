// SPDX-License-Identifier: Apache-2.0
// The engine's registers: identity, what is refused and how it is reported, counters, interrupts.
#include <gtest/gtest.h>

#include <random>

#include "raw_engine.hpp"

namespace sluice::test {
namespace {

TEST(ScrubRegisters, IdentifyTheEngineAndItsParametersInEveryBuild) {
  for (const RtlBuild& build : rtl_builds()) {
    SCOPED_TRACE(build.name);
    RawEngine engine({.build = build.name});
    EXPECT_EQ(engine.read_engine(ring::kRegId), ring::kId);
    EXPECT_EQ(engine.read_engine(ring::kRegVersion), ring::kVersion);
    const std::uint32_t capabilities = engine.read_engine(ring::kRegCapabilities);
    EXPECT_EQ(1U << (capabilities & 0xFF), build.data_width / 8);
    EXPECT_EQ((capabilities >> 8) & 0xFF, build.queues);
    EXPECT_EQ(1U << ((capabilities >> 16) & 0xFF), build.slots);
    EXPECT_EQ(capabilities >> 24, build.addr_width);
    const std::uint32_t limits = engine.read_engine(ring::kRegLimits);
    EXPECT_EQ(limits & 0xFFFF, build.outstanding);
    EXPECT_EQ((limits >> 24) & 3, build.masters);
    EXPECT_EQ((limits >> 26) & 1, build.id_per_queue ? 1U : 0U);
    EXPECT_EQ(engine.read_engine(ring::kRegOperations), 0b111110U);
  }
}

/// What every register of a queue that is not running keeps, and what it does not.
TEST(ScrubRegisters, HoldWhatWasWrittenInEveryQueueOfEveryBuild) {
  for (const RtlBuild& build : rtl_builds()) {
    RawEngine engine({.build = build.name});
    const auto high = static_cast<std::uint32_t>((~0ULL >> (64 - build.addr_width)) >> 32);
    const std::vector<std::pair<std::uint32_t, std::uint32_t>> kept = {
        {ring::kQueueRingLog2, 0},           {ring::kQueueSqBase, 0xFFFFF000},
        {ring::kQueueSqBase + 4, high},      {ring::kQueueCqBase, 0xFFFFF000},
        {ring::kQueueCqBase + 4, high},      {ring::kQueueWindowBase, 0xFFFFFFFF},
        {ring::kQueueWindowBase + 4, high},  {ring::kQueueWindowLimit, 0xFFFFFFFF},
        {ring::kQueueWindowLimit + 4, high}, {ring::kQueueCancelGeneration, 0xFFFFFFFF},
        {ring::kQueueQos, 0x0000FF03},       {ring::kQueueRate, 0x00FFFFFF},
        {ring::kQueueModeration, 0xFFFFFFFF}};
    std::mt19937 random(1);
    for (int round = 0; round < 3; ++round) {
      std::vector<std::vector<std::uint32_t>> written(build.queues);
      for (std::size_t q = 0; q < build.queues; ++q) {
        for (const auto& [offset, bits] : kept) {
          const std::uint32_t any = round == 0 ? ~0U : round == 1 ? 0U : static_cast<std::uint32_t>(random());
          written[q].push_back(bits == 0 ? 1 + (any & 3) : any & bits);
          ASSERT_TRUE(engine.write(offset, written[q].back(), q)) << build.name << ", " << std::hex << offset;
        }
      }
      for (std::size_t q = 0; q < build.queues; ++q) {
        for (std::size_t index = 0; index < kept.size(); ++index) {
          EXPECT_EQ(engine.read(kept[index].first, q), written[q][index])
              << build.name << ", queue " << q << ", " << std::hex << kept[index].first;
        }
      }
    }
    // What nobody can write, and what nothing was written to.
    for (const std::uint32_t offset : {ring::kQueueCtrl, ring::kQueueSqTail, ring::kQueueSqHead, ring::kQueueCqTail,
                                       ring::kQueueCqHead, ring::kQueueLock, ring::kQueueCause, 0x7CU}) {
      EXPECT_EQ(engine.read(offset), 0U) << std::hex << offset;
    }
    for (const std::uint32_t offset : {ring::kQueueStatus, ring::kQueueSqHead, ring::kQueueCqTail, 0x7CU}) {
      EXPECT_FALSE(engine.write(offset, 1)) << std::hex << offset;
    }
    // A bit above the engine's addresses is refused.
    if (build.addr_width < 64) {
      EXPECT_FALSE(engine.write(ring::kQueueWindowBase + 4, high + 1));
    }
    // The engine's own.
    const std::uint32_t queues = (1U << build.queues) - 1;
    for (const std::uint32_t value : {~0U, 0U, 0x55555555U}) {
      engine.write_engine(ring::kRegIer, value);
      EXPECT_EQ(engine.read_engine(ring::kRegIer), value & (queues | 1U << 31));
      engine.write_engine(ring::kRegTimeout, value);
      EXPECT_EQ(engine.read_engine(ring::kRegTimeout), value);
      engine.write_engine(ring::kRegGie, value);
      EXPECT_EQ(engine.read_engine(ring::kRegGie), value & 1U);
    }
    EXPECT_EQ(engine.read_engine(0x02C), 0U);
  }
}

TEST(ScrubRegisters, RefuseToMoveARunningQueue) {
  RawEngine engine;
  engine.start();
  const std::uint32_t before = engine.read(ring::kQueueSqBase, 2);
  for (const std::uint32_t setup : {ring::kQueueRingLog2, ring::kQueueSqBase, ring::kQueueCqBase + 4,
                                    ring::kQueueWindowBase, ring::kQueueWindowLimit + 4}) {
    EXPECT_FALSE(engine.write(setup, setup == ring::kQueueRingLog2 ? 3 : 0, 2)) << "register " << setup;
  }
  EXPECT_EQ(engine.read(ring::kQueueSqBase, 2), before);
  engine.write(ring::kQueueCtrl, 0, 2);
  EXPECT_TRUE(engine.write(ring::kQueueSqBase, before + 4096, 2));
  EXPECT_EQ(engine.read(ring::kQueueSqBase, 2), before + 4096);
}

TEST(ScrubRegisters, ReportWhatTheyRefuse) {
  RawEngine engine;
  engine.write_engine(ring::kRegGie, 1);
  engine.write_engine(ring::kRegIer, 1U << 31);
  engine.device().run_cycles(200);
  const std::uint64_t before = engine.engine_counter(ring::kRegRefusals);
  EXPECT_FALSE(engine.write_engine(ring::kRegId, 1)) << "read only";
  EXPECT_EQ(engine.read_engine(ring::kRegRefused), ring::kRegId);
  EXPECT_FALSE(engine.write(ring::kQueueRingLog2, 31, 3));
  EXPECT_EQ(engine.read_engine(ring::kRegRefused), ring::kQueueBase + 3 * ring::kQueueStride + ring::kQueueRingLog2);
  EXPECT_NE(engine.read_engine(ring::kRegIsr) >> 31, 0U);
  EXPECT_TRUE(engine.device().interrupt());
  EXPECT_TRUE(engine.write_engine(ring::kRegIsr, 1U << 31));
  engine.device().run_cycles(200);
  EXPECT_FALSE(engine.device().interrupt());
  EXPECT_EQ(engine.engine_counter(ring::kRegRefusals), before + 2);
}

TEST(ScrubRegisters, RefuseWhatIsOutOfRange) {
  RawEngine engine({.build = "256"});  // 3 queues of 64 slots
  for (const std::uint32_t log2 : {0U, 7U, 31U}) EXPECT_FALSE(engine.write(ring::kQueueRingLog2, log2)) << log2;
  EXPECT_TRUE(engine.write(ring::kQueueRingLog2, 6));
  EXPECT_FALSE(engine.write(ring::kQueueSqBase, 64)) << "not page-aligned";
  EXPECT_FALSE(engine.write(ring::kQueueCqBase, 2048)) << "not page-aligned";
  EXPECT_FALSE(engine.write(ring::kQueueCancelSlot, 64)) << "no such slot";
  EXPECT_FALSE(engine.write(ring::kQueueSqHead, 0)) << "read only";
  EXPECT_FALSE(engine.write(0x7C, 0)) << "no such register";
  EXPECT_FALSE(engine.write(ring::kQueueCtrl, 1, 3)) << "no such queue";
  EXPECT_FALSE(engine.write_engine(0x3FC, 0)) << "no such register";
  EXPECT_FALSE(engine.write_engine(ring::kRegCtrl, 8)) << "no such bit";
  EXPECT_FALSE(engine.write(ring::kQueueSqTail, 1)) << "the queue is disabled";
}

TEST(ScrubRegisters, RefuseAddressesThatTheBusDoesNotHave) {
  RawEngine engine({.build = "64"});  // 40 address bits
  EXPECT_FALSE(engine.write(ring::kQueueSqBase + 4, 1U << 8));
  EXPECT_FALSE(engine.write(ring::kQueueWindowLimit + 4, 1U << 8));
  EXPECT_TRUE(engine.write(ring::kQueueWindowLimit + 4, 0xFF));
}

TEST(ScrubRegisters, RefuseToEnableAQueueWithoutARing) {
  auto device = SimulatedDevice::create({});
  ASSERT_TRUE(device);
  (*device)->write_register(ring::kQueueBase + ring::kQueueCtrl, 1);
  EXPECT_FALSE((*device)->last_write_accepted());
}

TEST(ScrubDoorbells, RefuseMoreThanTheRingHolds) {
  RawEngine engine;
  engine.start();
  EXPECT_FALSE(engine.write(ring::kQueueSqTail, engine.entries() + 1));
  EXPECT_FALSE(engine.write(ring::kQueueSqTail, 0xFFFF)) << "backwards";
  EXPECT_FALSE(engine.write(ring::kQueueSqTail, 1U << 16)) << "not 16 bits";
  EXPECT_FALSE(engine.write(ring::kQueueCqHead, 1)) << "nothing was posted";
  engine.submit(engine.fill(0, 64, 0));
  engine.collect();
  engine.device().run_cycles(10);
  EXPECT_FALSE(engine.write(ring::kQueueCqHead, 2));
  EXPECT_TRUE(engine.write(ring::kQueueCqHead, 1));
  EXPECT_FALSE(engine.write(ring::kQueueCqHead, 0)) << "backwards";
}

TEST(ScrubWindow, IsLockedUntilAReset) {
  RawEngine engine;
  EXPECT_TRUE(engine.write(ring::kQueueWindowBase, 0x1000, 1));
  EXPECT_TRUE(engine.write(ring::kQueueLock, 1, 1));
  EXPECT_TRUE(engine.write(ring::kQueueLock, 0, 1)) << "writing 0 does nothing";
  EXPECT_EQ(engine.read(ring::kQueueLock, 1), 1U);
  const auto refused = [&] {
    return !engine.write(ring::kQueueWindowBase, 0, 1) && !engine.write(ring::kQueueWindowBase + 4, 0, 1) &&
           !engine.write(ring::kQueueWindowLimit, 0, 1) && !engine.write(ring::kQueueWindowLimit + 4, 0, 1);
  };
  EXPECT_TRUE(refused());
  EXPECT_TRUE(engine.write(ring::kQueueCtrl, ring::kQueueCtrlBitAbort, 1));
  EXPECT_TRUE(refused()) << "an abort does not unlock";
  EXPECT_EQ(engine.read(ring::kQueueWindowBase, 1), 0x1000U);
  EXPECT_TRUE(engine.write(ring::kQueueWindowBase, 0x2000, 0)) << "other queues are not locked";
  engine.write_engine(ring::kRegCtrl, ring::kEngineCtrlReset);
  engine.device().run_cycles(20);
  EXPECT_EQ(engine.read(ring::kQueueLock, 1), 0U) << "every job has ended: a new owner may open its own window";
  EXPECT_EQ(engine.read(ring::kQueueWindowBase, 1), 0x1000U) << "what was set up stays";
  EXPECT_TRUE(engine.write(ring::kQueueLock, 1, 1));
  engine.device().reset();
  EXPECT_TRUE(engine.write(ring::kQueueWindowBase, 0x2000, 1));
}

TEST(ScrubCounters, CountWhatHappensInEachQueue) {
  RawEngine engine({.timing = {{5, 5}, {5, 5}, {5, 5}, 0.5}});
  engine.start();
  engine.run(engine.fill(0, 8192, 0));
  engine.run(engine.job(ring::kOpVerify, 0, 4096, 1));
  engine.run(engine.fill(0, 0, 2));
  engine.submit(engine.fill(0, 1 << 20, 5), 1);
  engine.device().run_cycles(300);
  engine.cancel(5, 1, 1);
  const auto cancelled = engine.collect(1);
  ASSERT_EQ(cancelled.outcome, ring::kOutcomeCancelled);
  engine.device().run_cycles(100);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterJobs, 0), 3U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterFailed, 0), 1U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterCancelled, 0), 0U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterBeats, 0), 8192 / 64 + 4096 / 64U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterJobs, 1), 1U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterCancelled, 1), 1U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterSkippedBytes, 1), (1 << 20) - cancelled.bytes);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterBeats, 1), cancelled.bytes / 64);
  EXPECT_EQ(engine.engine_counter(ring::kRegWriteBeats), (8192 + cancelled.bytes) / 64);
  EXPECT_EQ(engine.engine_counter(ring::kRegReadBeats), 4096 / 64U);
  EXPECT_EQ(engine.engine_counter(ring::kRegRingBeats), 4U);
  EXPECT_GT(engine.engine_counter(ring::kRegStallW), 10U) << "the memory was ready half of the time";
  EXPECT_GT(engine.queue_counter(ring::kQueueCounterStallBus, 1), 10U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterJobs, 2), 0U);
  const std::uint64_t cycles = engine.engine_counter(ring::kRegCycles);
  engine.device().run_cycles(1000);
  EXPECT_NEAR(static_cast<double>(engine.engine_counter(ring::kRegCycles) - cycles), 1000, 60);
}

TEST(ScrubCounters, CountBothHalvesOfAFillVerifyAndWhatACancelledVerifySkips) {
  RawEngine engine({.timing = {{5, 5}, {5, 5}, {5, 5}, 0.5}});
  engine.start();
  engine.run(engine.job(ring::kOpFillVerify, 0, 8192, 0));
  engine.submit(engine.job(ring::kOpVerify, 0, 1 << 20, 5), 1);
  engine.device().run_cycles(600);
  engine.cancel(5, 1, 1);
  const auto cancelled = engine.collect(1);
  ASSERT_EQ(cancelled.outcome, ring::kOutcomeCancelled);
  engine.device().run_cycles(100);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterJobs, 0), 1U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterBeats, 0), 2 * 8192 / 64U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterSkippedBytes, 0), 0U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterCancelled, 1), 1U);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterBeats, 1), cancelled.bytes / 64);
  EXPECT_EQ(engine.queue_counter(ring::kQueueCounterSkippedBytes, 1), (1 << 20) - cancelled.bytes);
  EXPECT_EQ(engine.engine_counter(ring::kRegWriteBeats), 8192 / 64U);
  EXPECT_EQ(engine.engine_counter(ring::kRegReadBeats), (8192 + cancelled.bytes) / 64);
  EXPECT_GT(engine.engine_counter(ring::kRegStallAr), 1U) << "the memory was ready half of the time";
}

TEST(ScrubCounters, ThatAreNotThereReadAsZero) {
  for (const RtlBuild& build : rtl_builds()) {
    if (build.unsafe) continue;
    RawEngine engine({.build = build.name});
    engine.start();
    for (std::size_t q = 0; q < build.queues; ++q) engine.run(engine.fill(0, 256, 0), q);
    engine.device().run_cycles(600);
    EXPECT_EQ(engine.queue_counter(ring::kQueueCounterJobs, build.queues - 1), 1U) << build.name;
    for (std::uint32_t offset = ring::kQueueCounterBase + build.queues * ring::kQueueCounterStride;
         offset < ring::kQueueBase; offset += 4) {
      EXPECT_EQ(engine.read_engine(offset), 0U) << build.name << ", " << std::hex << offset;
    }
    for (std::uint32_t offset = 0x2C; offset < ring::kRegCycles; offset += 4) EXPECT_EQ(engine.read_engine(offset), 0U);
    for (std::uint32_t offset = 0x80; offset < ring::kQueueCounterBase; offset += 4) {
      EXPECT_EQ(engine.read_engine(offset), 0U) << build.name << ", " << std::hex << offset;
    }
    // Those that are there begin at zero with the reset, and not a round later.
    engine.device().reset();
    for (std::size_t q = 0; q < build.queues; ++q) EXPECT_EQ(engine.queue_counter(ring::kQueueCounterBeats, q), 0U);
    EXPECT_EQ(engine.engine_counter(ring::kRegWriteBeats), 0U);
  }
}

TEST(ScrubInterrupt, RisesWithACompletionAndFallsWhenCleared) {
  RawEngine engine;
  engine.start();
  engine.write_engine(ring::kRegGie, 1);
  engine.write_engine(ring::kRegIer, 1U << 2);
  engine.run(engine.fill(0, 64, 0), 1);
  engine.device().run_cycles(40);
  EXPECT_FALSE(engine.device().interrupt()) << "queue 1 is masked";
  EXPECT_EQ(engine.read_engine(ring::kRegIsr), 1U << 1);
  engine.run(engine.fill(0, 64, 0), 2);
  engine.device().run_cycles(40);
  EXPECT_TRUE(engine.device().interrupt());
  EXPECT_EQ(engine.read(ring::kQueueCause, 2), ring::kIrqCauseCompletion);
  engine.write(ring::kQueueCause, ring::kIrqCauseCompletion, 2);
  engine.device().run_cycles(2);
  EXPECT_FALSE(engine.device().interrupt());
  EXPECT_EQ(engine.read(ring::kQueueCause, 1), ring::kIrqCauseCompletion) << "each queue has its own";
  engine.write_engine(ring::kRegGie, 0);
  engine.run(engine.fill(0, 64, 1), 2);
  engine.device().run_cycles(40);
  EXPECT_FALSE(engine.device().interrupt()) << "off is off";
}

TEST(ScrubInterrupt, IsModeratedByCount) {
  RawEngine engine;
  engine.write(ring::kQueueModeration, 4);
  engine.start();
  for (std::uint16_t job = 0; job < 3; ++job) engine.run(engine.fill(0, 64, job));
  engine.device().run_cycles(5000);
  EXPECT_EQ(engine.read(ring::kQueueCause), 0U) << "three are not four";
  engine.run(engine.fill(0, 64, 3));
  engine.device().run_cycles(40);
  EXPECT_EQ(engine.read(ring::kQueueCause), ring::kIrqCauseCompletion);
}

/// The second time after a long rest: time does not run while nothing waits.
TEST(ScrubInterrupt, IsModeratedByTime) {
  RawEngine engine;
  engine.write(ring::kQueueModeration, 200 | 1000 << 8);
  engine.start();
  for (std::uint16_t job = 0; job < 3; ++job) {
    SCOPED_TRACE(job);
    engine.run(engine.fill(0, 64, job));
    engine.device().run_cycles(500);
    EXPECT_EQ(engine.read(ring::kQueueCause), 0U);
    engine.device().run_cycles(600);
    EXPECT_EQ(engine.read(ring::kQueueCause), ring::kIrqCauseCompletion);
    engine.write(ring::kQueueCause, ring::kIrqCauseCompletion);
    engine.device().run_cycles(40'000);
    EXPECT_EQ(engine.read(ring::kQueueCause), 0U);
  }
}

}  // namespace
}  // namespace sluice::test
