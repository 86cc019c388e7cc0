// SPDX-License-Identifier: Apache-2.0
// The engine in RTL, through its registers and rings.
#include <gtest/gtest.h>

#include <random>

#include "raw_engine.hpp"
#include "sluice/driver/engine.hpp"

namespace sluice::test {
namespace {

constexpr std::uint8_t kZeroed = static_cast<std::uint8_t>(Outcome::Zeroed);
constexpr std::uint8_t kCancelled = static_cast<std::uint8_t>(Outcome::Cancelled);
constexpr std::uint8_t kFailed = static_cast<std::uint8_t>(Outcome::Failed);
constexpr std::byte kUntouched{0xA5};

std::uint8_t cause(FailureCause cause) { return static_cast<std::uint8_t>(cause); }

TEST(ScrubRegisters, IdentifyTheEngineAndItsParameters) {
  for (const std::uint32_t width : {64U, 128U, 256U, 512U, 1024U}) {
    RawEngine engine({.data_width = width});
    EXPECT_EQ(engine.device().read_register(ring::kRegId), ring::kIdValue);
    EXPECT_EQ(engine.device().read_register(ring::kRegVersion), ring::kVersionValue);
    const std::uint32_t capabilities = engine.device().read_register(ring::kRegCapabilities);
    EXPECT_EQ(1U << (capabilities & 0xFF), width / 8) << "data bus, log2 of bytes";
    EXPECT_EQ((capabilities >> 8) & 0xFF, 1U) << "queues";
    EXPECT_EQ((capabilities >> 16) & 0xFF, 8U) << "slots, log2";
  }
}

TEST(ScrubRegisters, RefuseToMoveARunningQueue) {
  RawEngine engine;
  engine.start();
  const std::uint32_t before = engine.read(ring::kQueueSqBase);
  for (const std::uint32_t setup : {ring::kQueueRingLog2, ring::kQueueSqBase, ring::kQueueCqBase + 4,
                                    ring::kQueueWindowBase, ring::kQueueWindowLimit + 4}) {
    engine.write(setup, 3);
    EXPECT_FALSE(engine.device().last_write_accepted()) << "register " << setup;
  }
  EXPECT_EQ(engine.read(ring::kQueueSqBase), before);
  engine.write(ring::kQueueCtrl, 0);
  engine.write(ring::kQueueSqBase, before + 64);
  EXPECT_TRUE(engine.device().last_write_accepted());
  EXPECT_EQ(engine.read(ring::kQueueSqBase), before + 64);
}

TEST(ScrubRegisters, RefuseARingOfNoEntriesOrTooMany) {
  RawEngine engine;
  for (const std::uint32_t log2 : {0U, 9U, 31U}) {
    engine.write(ring::kQueueRingLog2, log2);
    EXPECT_FALSE(engine.device().last_write_accepted());
  }
  EXPECT_EQ(engine.read(ring::kQueueRingLog2), RawEngine::kRingLog2);
}

TEST(ScrubRegisters, CountCyclesBeatsAndJobs) {
  RawEngine engine;
  engine.start();
  engine.submit(engine.fill(0, 8192, 0));
  engine.collect();
  EXPECT_EQ(engine.device().read_register(ring::kRegDataBeats), 128U);
  EXPECT_EQ(engine.device().read_register(ring::kRegDataBeats + 4), 0U);
  EXPECT_EQ(engine.device().read_register(ring::kRegJobs), 1U);
  EXPECT_EQ(engine.device().read_register(ring::kRegJobsCancelled), 0U);
  const std::uint32_t cycles = engine.device().read_register(ring::kRegCycles);
  engine.device().run_cycles(100);
  EXPECT_GE(engine.device().read_register(ring::kRegCycles), cycles + 100);
}

TEST(ScrubInterrupt, RisesWithACompletionAndFallsWhenCleared) {
  RawEngine engine;
  engine.start();
  engine.device().write_register(ring::kRegGie, 1);
  engine.device().write_register(ring::kRegIer, 1);
  EXPECT_FALSE(engine.device().interrupt());
  engine.submit(engine.fill(0, 64, 0));
  engine.collect();
  engine.device().run_cycles(4);
  EXPECT_TRUE(engine.device().interrupt());
  EXPECT_EQ(engine.device().read_register(ring::kRegIsr), 1U);
  engine.device().write_register(ring::kRegIsr, 1);
  EXPECT_FALSE(engine.device().interrupt());
  engine.device().write_register(ring::kRegGie, 0);
  engine.submit(engine.fill(0, 64, 1));
  engine.collect();
  engine.device().run_cycles(4);
  EXPECT_FALSE(engine.device().interrupt()) << "off is off";
}

TEST(ScrubCheck, RefusesDescriptorsThatAreNotWellFormed) {
  const auto expect_bad = [](auto spoil) {
    RawEngine engine;
    engine.data().fill(kUntouched);
    engine.start();
    ring::Descriptor descriptor = engine.fill(0, 4096, 3, 9);
    spoil(descriptor);
    engine.submit(descriptor);
    const auto completion = engine.collect();
    EXPECT_EQ(completion.outcome, kFailed);
    EXPECT_EQ(completion.cause, cause(FailureCause::BadDescriptor));
    EXPECT_EQ(completion.slot, descriptor.slot);
    EXPECT_EQ(completion.generation, 9U);
    EXPECT_EQ(completion.bytes, 0U);
    EXPECT_EQ(first_not(engine.data().all(), kUntouched), std::nullopt);
    engine.submit(engine.fill(0, 4096, 4));
    EXPECT_EQ(engine.collect().outcome, kZeroed) << "the next job runs";
  };
  expect_bad([](ring::Descriptor& d) { d.operation = 0; });
  expect_bad([](ring::Descriptor& d) { d.operation = 99; });
  expect_bad([](ring::Descriptor& d) { d.flags = 1; });
  expect_bad([](ring::Descriptor& d) { d.reserved[3] = 1ULL << 63; });
  expect_bad([](ring::Descriptor& d) { d.length_bytes = 0; });
  expect_bad([](ring::Descriptor& d) { d.length_bytes = ring::kMaxLengthBytes + 1; });
  expect_bad([](ring::Descriptor& d) { d.slot = 256; });
}

TEST(ScrubWindow, IsNeverLeft) {
  const auto outcome_of = [](std::int64_t offset, std::uint64_t length) {
    RawEngine engine({}, 64 << 10);
    engine.data().fill(kUntouched);
    engine.write64(ring::kQueueWindowBase, engine.data_iova() + 4096);
    engine.write64(ring::kQueueWindowLimit, engine.data_iova() + 12'288);
    engine.start();
    engine.submit(engine.fill(static_cast<std::uint64_t>(offset), length, 0));
    const auto completion = engine.collect();
    EXPECT_EQ(first_not(engine.data().part(0, 4096), kUntouched), std::nullopt);
    EXPECT_EQ(first_not(engine.data().part(12'288, 50'000), kUntouched), std::nullopt);
    if (completion.outcome == kFailed) {
      EXPECT_EQ(completion.cause, cause(FailureCause::OutsideWindow));
      EXPECT_EQ(first_not(engine.data().all(), kUntouched), std::nullopt);
    }
    return completion.outcome;
  };
  EXPECT_EQ(outcome_of(4096, 8192), kZeroed);
  EXPECT_EQ(outcome_of(4095, 2), kFailed);
  EXPECT_EQ(outcome_of(12'287, 2), kFailed);
  EXPECT_EQ(outcome_of(0, 4096), kFailed);
  EXPECT_EQ(outcome_of(12'288, 1), kFailed);
  EXPECT_EQ(outcome_of(4096, 8193), kFailed);
  EXPECT_EQ(outcome_of(8192, 8192), kFailed);
  EXPECT_EQ(outcome_of(4096, 12'288), kFailed);
}

/// The sum of address and length does not wrap around to a harmless end.
TEST(ScrubWindow, EndsBeforeTheAddressSpaceDoes) {
  RawEngine engine;
  engine.start();
  ring::Descriptor descriptor = engine.fill(0, 8192, 0);
  descriptor.address = ~0ULL - 4095;
  engine.submit(descriptor);
  const auto completion = engine.collect();
  EXPECT_EQ(completion.outcome, kFailed);
  EXPECT_EQ(completion.cause, cause(FailureCause::OutsideWindow));
}

TEST(ScrubErrors, SlaveErrorGivesTheExactPrefixAndStopsTheJob) {
  RawEngine engine;
  engine.data().fill(kUntouched);
  engine.device().set_faults({.slave_error_range = engine.data().part(40'960, 1)});
  engine.start();
  engine.submit(engine.fill(0, 1 << 20, 0));
  const auto completion = engine.collect();
  EXPECT_EQ(completion.outcome, kFailed);
  EXPECT_EQ(completion.cause, cause(FailureCause::SlaveError));
  EXPECT_EQ(completion.bytes, 40'960U);
  EXPECT_EQ(first_not(engine.data().part(0, 40'960), std::byte{0}), std::nullopt);
  EXPECT_EQ(first_not(engine.data().part(512 << 10, 512 << 10), kUntouched), std::nullopt) << "it stopped";
}

TEST(ScrubErrors, NothingMappedGivesADecodeError) {
  RawEngine engine;
  engine.write64(ring::kQueueWindowLimit, engine.data_iova() + (1ULL << 32));
  engine.start();
  engine.submit(engine.fill((1 << 20) - 4096, 16'384, 0));
  auto completion = engine.collect();
  // The bursts behind the end of the memory fall into the rings, which are mapped there: look further out.
  engine.submit(engine.fill(1ULL << 31, 4096, 1));
  completion = engine.collect();
  EXPECT_EQ(completion.outcome, kFailed);
  EXPECT_EQ(completion.cause, cause(FailureCause::DecodeError));
  EXPECT_EQ(completion.bytes, 0U);
}

TEST(ScrubErrors, AnUnreadableRingStopsTheQueueAndSaysSo) {
  RawEngine engine;
  engine.device().set_faults({.ring_errors = true});
  engine.start();
  engine.submit(engine.fill(0, 4096, 0));
  engine.device().run_cycles(500);
  EXPECT_EQ(engine.try_collect(), std::nullopt);
  EXPECT_NE(engine.read(ring::kQueueStatus) & ring::kStatusFetchFault, 0U);
  EXPECT_NE(engine.device().read_register(ring::kRegIsr) & 2U, 0U);
}

TEST(ScrubCancel, NamesSlotAndGeneration) {
  RawEngine engine;
  engine.start();
  engine.submit(engine.fill(0, 512 << 10, 5, 7));
  engine.cancel(5, 6);
  engine.cancel(4, 7);
  engine.cancel(300, 7);
  EXPECT_EQ(engine.collect().outcome, kZeroed) << "none of them named it";
  engine.submit(engine.fill(0, 512 << 10, 5, 8));
  engine.cancel(5, 8);
  const auto completion = engine.collect();
  EXPECT_EQ(completion.outcome, kCancelled);
  EXPECT_EQ(completion.generation, 8U);
}

TEST(ScrubCancel, ThatCameBeforeItsDescriptorWaitsForIt) {
  RawEngine engine;
  engine.data().fill(kUntouched);
  engine.start();
  engine.cancel(5, 8);
  engine.submit(engine.fill(0, 4096, 5, 8));
  const auto completion = engine.collect();
  EXPECT_EQ(completion.outcome, kCancelled);
  EXPECT_EQ(completion.bytes, 0U);
  EXPECT_EQ(first_not(engine.data().all(), kUntouched), std::nullopt);
}

TEST(ScrubCancel, AtEveryCycleLeavesAnExactPrefixThatStays) {
  std::uint64_t cancelled = 0;
  for (std::uint64_t delay = 0; delay < 420; delay += 3) {
    SCOPED_TRACE("cancel after " + std::to_string(delay) + " cycles");
    RawEngine engine({.seed = delay + 1});
    engine.data().fill(kUntouched);
    engine.start();
    ring::Descriptor descriptor = engine.fill(1000, 20'000, 0);
    descriptor.pattern = 0x1122334455667788;
    engine.submit(descriptor);
    engine.device().run_cycles(delay);
    engine.cancel(0, 1);
    const auto completion = engine.collect();
    const MemorySpan target = engine.data().part(1000, 20'000);
    ASSERT_LE(completion.bytes, target.size());
    ASSERT_EQ(completion.outcome, completion.bytes == target.size() ? kZeroed : kCancelled);
    cancelled += completion.outcome == kCancelled ? 1 : 0;
    const auto expect_prefix = [&] {
      EXPECT_EQ(first_not_pattern(target.first(completion.bytes), descriptor.pattern), std::nullopt);
      EXPECT_EQ(first_not(target.subspan(completion.bytes), kUntouched), std::nullopt);
    };
    expect_prefix();
    engine.device().run_cycles(300);
    expect_prefix();
  }
  EXPECT_GT(cancelled, 20U) << "the delays should catch the job in the middle";
  EXPECT_LT(cancelled, 140U) << "and some should come too late";
}

TEST(ScrubCompletions, WaitForRoomInTheirRingAndNoneIsLost) {
  RawEngine engine({}, 4 << 20);
  engine.start();
  const auto submit = [&](std::uint16_t job) { engine.submit(engine.fill(job * 4096U, 4096, job)); };
  for (std::uint16_t job = 0; job < RawEngine::kEntries; ++job) submit(job);
  engine.device().run_cycles(5000);
  for (std::uint16_t job = 0; job < RawEngine::kEntries; ++job) submit(job + RawEngine::kEntries);
  engine.device().run_cycles(5000);
  EXPECT_EQ(engine.read(ring::kQueueCqTail), RawEngine::kEntries) << "full: software has collected nothing";
  for (std::uint16_t job = 0; job < RawEngine::kEntries; ++job) EXPECT_EQ(engine.collect(0 + 1).slot, job);
  EXPECT_EQ(engine.try_collect(), std::nullopt);
  engine.release_completions();
  for (std::uint16_t job = 0; job < RawEngine::kEntries; ++job) {
    EXPECT_EQ(engine.collect().slot, job + RawEngine::kEntries);
  }
}

TEST(ScrubBursts, CountEveryBeatAndStreamWithoutABubble) {
  RawEngine engine({.timing = {{1, 1}, {1, 1}, {1, 1}, 1.0}}, 4 << 20);
  engine.start();
  const std::uint32_t before = engine.device().read_register(ring::kRegDataBeats);
  engine.submit(engine.fill(0, 2 << 20, 0));
  const std::uint64_t start = engine.device().cycles();
  engine.collect();
  const std::uint64_t cycles = engine.device().cycles() - start;
  const std::uint32_t beats = engine.device().read_register(ring::kRegDataBeats) - before;
  EXPECT_EQ(beats, (2U << 20) / 64);
  EXPECT_LT(cycles, beats + 64) << "one beat a cycle, apart from the start and the end";
}

TEST(ScrubRandom, MixOfJobsCancelsAndBackpressureKeepsItsPromises) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const std::array<std::uint32_t, 5> widths = {64, 128, 256, 512, 1024};
    sim::SimOptions options;
    options.data_width = widths[seed % widths.size()];
    options.seed = seed;
    options.timing.ready_probability = 0.4 + 0.6 * static_cast<double>(random() % 100) / 100;
    options.timing.write_latency = {0, static_cast<std::uint32_t>(random() % 150)};
    options.timing.completion_latency = {0, static_cast<std::uint32_t>(random() % 150)};
    options.timing.read_latency = {0, static_cast<std::uint32_t>(random() % 150)};
    options.faults.slave_error_probability = seed % 3 == 0 ? 0.01 : 0.0;
    RawEngine engine(options, 1 << 20);
    engine.data().fill(kUntouched);
    engine.start();
    struct Job {
      ring::Descriptor descriptor;
      std::uint64_t offset = 0;
    };
    std::vector<Job> jobs;
    constexpr std::size_t kJobs = 48;
    constexpr std::uint64_t kShare = (1 << 20) / kJobs / 64 * 64;
    std::size_t collected = 0;
    const auto collect_one = [&] {
      const auto completion = engine.collect();
      const Job& job = jobs.at(collected);
      ASSERT_EQ(completion.slot, job.descriptor.slot) << "completions of one queue come in order";
      ASSERT_EQ(completion.generation, job.descriptor.generation);
      ASSERT_LE(completion.bytes, job.descriptor.length_bytes);
      ASSERT_EQ(completion.outcome == kZeroed, completion.bytes == job.descriptor.length_bytes);
      const MemorySpan target = engine.data().part(job.offset, job.descriptor.length_bytes);
      EXPECT_EQ(first_not_pattern(target.first(completion.bytes), job.descriptor.pattern), std::nullopt);
      if (completion.outcome != kFailed) {
        EXPECT_EQ(first_not(target.subspan(completion.bytes), kUntouched), std::nullopt);
      }
      ++collected;
      engine.release_completions();
    };
    while (jobs.size() < kJobs) {
      if (jobs.size() - collected < RawEngine::kEntries && random() % 3 != 0) {
        Job job;
        const std::uint64_t length = 1 + random() % kShare;
        job.offset = jobs.size() * kShare + random() % (kShare - length + 1);
        job.descriptor = engine.fill(job.offset, length, static_cast<std::uint16_t>(jobs.size() % RawEngine::kEntries),
                                     static_cast<std::uint32_t>(1 + jobs.size() / RawEngine::kEntries));
        job.descriptor.pattern = random();
        jobs.push_back(job);
        engine.submit(job.descriptor);
      } else if (random() % 2 == 0 && collected < jobs.size()) {
        const Job& victim = jobs[collected + random() % (jobs.size() - collected)];
        engine.cancel(victim.descriptor.slot, victim.descriptor.generation);
      } else {
        engine.device().run_cycles(random() % 200);
      }
      if (jobs.size() - collected == RawEngine::kEntries) collect_one();
      if (HasFatalFailure()) return;
    }
    while (collected < jobs.size()) {
      collect_one();
      if (HasFatalFailure()) return;
    }
    engine.device().run_cycles(10);
    EXPECT_NE(engine.read(ring::kQueueStatus) & ring::kStatusIdle, 0U);
  }
}

}  // namespace
}  // namespace sluice::test
