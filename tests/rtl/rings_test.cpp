// SPDX-License-Identifier: Apache-2.0
// The rings of a queue at their edges: full, wrapping, from every start, at the end of 16 bits, and taken over from an
// earlier life of the queue.
#include <gtest/gtest.h>

#include <algorithm>

#include "raw_engine.hpp"

namespace sluice::test {
namespace {

constexpr std::uint8_t kOperations[] = {ring::kOpFill, ring::kOpVerify, ring::kOpFillVerify, ring::kOpNoop};

/// The index-th job of a queue: operations in turn, on memory that is zero, named by slot and generation in turn.
ring::Descriptor job_number(const RawEngine& engine, std::uint32_t index) {
  constexpr std::uint32_t kSlots = 64;  // of every build at least
  const std::uint8_t operation = kOperations[index % std::size(kOperations)];
  const auto slot = static_cast<std::uint16_t>(index % kSlots);
  const std::uint32_t generation = 1 + index / kSlots;
  if (operation == ring::kOpNoop) return RawEngine::marker(operation, slot, generation);
  return engine.job(operation, index % 97 * 96, 70, slot, generation);
}

/// Whether the next completion is that of the index-th job, done.
::testing::AssertionResult collects(RawEngine& engine, std::uint32_t index) {
  const auto completion = engine.collect();
  const ring::Descriptor expected = job_number(engine, index);
  if (completion.slot == expected.slot && completion.generation == expected.generation &&
      completion.outcome == ring::kOutcomeZeroed && completion.bytes == expected.length_bytes) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "instead of job " << index << " slot " << completion.slot << " generation "
                                       << completion.generation << " outcome " << int{completion.outcome} << " bytes "
                                       << completion.bytes;
}

class Wrap : public ::testing::TestWithParam<std::uint32_t> {};

/// Both rings full to the last entry, from every place in them and in both phases, with one doorbell for all.
TEST_P(Wrap, RingsFillUpFromEveryStart) {
  const std::uint32_t ring_log2 = GetParam();
  const std::uint32_t entries = 1U << ring_log2;
  for (std::uint32_t start = 0; start < 2 * entries; ++start) {
    SCOPED_TRACE(start);
    RawEngine engine({.build = "512-lean"}, 64 << 10, ring_log2);
    engine.start();
    std::uint32_t placed = 0;
    std::uint32_t done = 0;
    const auto place = [&](std::uint32_t count) {
      for (; count > 0; --count) engine.place(job_number(engine, placed++));
      engine.ring_doorbell();
    };
    while (placed < start) {
      place(1);
      ASSERT_TRUE(collects(engine, done++));
      engine.release_completions();
    }
    place(entries);
    EXPECT_FALSE(engine.write(ring::kQueueSqTail, placed + entries + 1)) << "more than there is room for";
    while (engine.read(ring::kQueueSqHead) != placed) engine.device().run_cycles(1);
    place(entries);
    engine.device().run_cycles(1500);
    ASSERT_EQ(engine.read(ring::kQueueCqTail), start + entries) << "full: software has collected nothing";
    // Each entry given back lets one more in.
    for (std::uint32_t given = 0; given < entries; ++given) {
      ASSERT_TRUE(collects(engine, done++));
      engine.release_completions();
      engine.device().run_cycles(60);
      ASSERT_EQ(engine.read(ring::kQueueCqTail), start + entries + given + 1);
    }
    for (std::uint32_t left = 0; left < entries; ++left) ASSERT_TRUE(collects(engine, done++));
    engine.device().run_cycles(100);
    EXPECT_EQ(engine.try_collect(), std::nullopt);
    EXPECT_EQ(engine.read(ring::kQueueSqHead), placed);
  }
}
INSTANTIATE_TEST_SUITE_P(RingLog2, Wrap, ::testing::Values(1, 2, 3, 4, 5));

TEST(ScrubRing, GoesOnWhereItsPointersPassTheEndOf16Bits) {
  RawEngine engine({.build = "512-lean", .timing = {{1, 1}, {1, 1}, {1, 1}, 1.0}}, 64 << 10, 6);
  engine.start();
  constexpr std::uint32_t kJobs = 65'536 + 200;
  std::uint32_t placed = 0;
  for (std::uint32_t done = 0; done < kJobs;) {
    for (; placed < kJobs && placed - done < engine.entries(); ++placed) {
      engine.place(RawEngine::marker(ring::kOpNoop, static_cast<std::uint16_t>(placed % 64), placed / 64));
    }
    engine.ring_doorbell();
    for (; done < placed; ++done) {
      const auto completion = engine.collect();
      ASSERT_EQ(completion.slot, done % 64);
      ASSERT_EQ(completion.generation, done / 64);
    }
    engine.release_completions();
  }
  EXPECT_EQ(engine.read(ring::kQueueSqHead), kJobs - 65'536);
  EXPECT_EQ(engine.read(ring::kQueueSqTail), kJobs - 65'536);
  EXPECT_EQ(engine.read(ring::kQueueCqTail), kJobs - 65'536);
}

/// Why software zeroes the completion ring before each enable.
TEST(ScrubRing, KeepsTheCompletionsOfAnEarlierLifeUnlessSoftwareZeroesThem) {
  RawEngine engine;
  engine.start();
  for (std::uint32_t index = 0; index < 3; ++index) {
    engine.place(job_number(engine, index));
    engine.ring_doorbell();
    ASSERT_TRUE(collects(engine, index));
  }
  const auto phase_of = [&](std::size_t entry) {
    ring::CompletionEntry there;
    std::memcpy(&there, engine.completions().data() + entry * sizeof there, sizeof there);
    return there.phase();
  };
  engine.write(ring::kQueueCtrl, 0);
  engine.wait_idle();
  const std::vector<std::byte> before(engine.completions().begin(), engine.completions().end());
  ASSERT_TRUE(engine.write(ring::kQueueCtrl, ring::kQueueCtrlBitEnable));
  engine.device().run_cycles(500);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), engine.completions().begin())) << "the engine clears nothing";
  EXPECT_TRUE(phase_of(0)) << "which a driver would take for a completion of its first job";

  engine.write(ring::kQueueCtrl, 0);
  engine.wait_idle();
  engine.set_up(0);  // zeroes the ring
  ASSERT_TRUE(engine.write(ring::kQueueCtrl, ring::kQueueCtrlBitEnable));
  engine.device().run_cycles(500);
  EXPECT_EQ(engine.try_collect(), std::nullopt);
  engine.place(job_number(engine, 7));
  engine.ring_doorbell();
  EXPECT_TRUE(collects(engine, 7));
  EXPECT_TRUE(phase_of(0)) << "a queue begins at entry 0 with phase 1";
  EXPECT_FALSE(phase_of(1));
}

/// More lines of completions than the engine keeps track of at once: the others wait, and none is lost.
TEST(ScrubCompletions, OfMoreLinesThanMayBeOpenAllArrive) {
  for (const std::string build : {"512", "512-shared", "256"}) {
    SCOPED_TRACE(build);
    RawEngine engine({.build = build, .timing = {{1, 1}, {1, 1}, {2000, 2000}, 1.0}}, 64 << 10, 5);
    std::uint64_t open = 0;
    std::uint64_t most_open = 0;
    const bool shared = engine.device().build().masters == 1;
    engine.device().set_cycle_observer([&](const CyclePins& pins) {
      const PortPins& port = shared ? pins.data : pins.rings;
      open += port.awvalid && port.awready ? 1 : 0;
      most_open = std::max(most_open, open);
      open -= port.bvalid ? 1 : 0;  // BREADY is always high
    });
    engine.start();
    engine.device().run_cycles(300);
    // In turns, so that few of them share a line.
    for (std::uint32_t index = 0; index < engine.entries(); ++index) {
      for (std::size_t q = 0; q < engine.queues(); ++q) {
        engine.submit(RawEngine::marker(ring::kOpNoop, static_cast<std::uint16_t>(index)), q);
      }
    }
    for (std::size_t q = 0; q < engine.queues(); ++q) {
      for (std::uint32_t index = 0; index < engine.entries(); ++index) ASSERT_EQ(engine.collect(q).slot, index);
    }
    EXPECT_GE(most_open, 14U) << "the test does not reach the limit";
    EXPECT_LE(most_open, 16U);
    engine.device().run_cycles(2500);
    for (std::size_t q = 0; q < engine.queues(); ++q) {
      EXPECT_EQ(engine.try_collect(q), std::nullopt);
      EXPECT_EQ(engine.read(ring::kQueueStatus, q), ring::kStatusIdle);
    }
  }
}

}  // namespace
}  // namespace sluice::test
