// SPDX-License-Identifier: Apache-2.0
// One queue of the engine: descriptors that are refused, windows, errors, cancels, and room for completions.
#include <gtest/gtest.h>

#include "operation_name.hpp"
#include "raw_engine.hpp"
#include "sluice/engine/engine.hpp"

namespace sluice::test {
namespace {

constexpr std::uint8_t kZeroed = ring::kOutcomeZeroed;
constexpr std::uint8_t kCancelled = ring::kOutcomeCancelled;
constexpr std::uint8_t kFailed = ring::kOutcomeFailed;
constexpr std::byte kUntouched{0xA5};

std::uint8_t cause(FailureCause cause) { return static_cast<std::uint8_t>(cause); }

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
  expect_bad([](ring::Descriptor& d) { d.operation = 6; });
  expect_bad([](ring::Descriptor& d) { d.operation = 0x81; });
  expect_bad([](ring::Descriptor& d) { d.operation = 99; });
  expect_bad([](ring::Descriptor& d) { d.flags = 2; });
  expect_bad([](ring::Descriptor& d) { d.operation = ring::kOpFence; });
  expect_bad([](ring::Descriptor& d) { d.flags = ring::kDescriptorFlagList, d.address |= 16; });
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
    engine.write64(ring::kQueueWindowLimit, engine.data_iova() + 12'287);
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

/// Also the last byte that there is, in every width; the sum of address and length does not wrap around to a harmless
/// end.
TEST(ScrubWindow, HoldsTheLastByteOfTheAddressSpaceAndNothingBehindIt) {
  for (const RtlBuild& build : rtl_builds()) {
    if (build.unsafe) continue;
    SCOPED_TRACE(build.name);
    constexpr std::uint64_t kPages = 16 * 4096;
    const std::uint64_t last = ~0ULL >> (64 - build.addr_width);
    // Mapped in this order: the engine's data, two rings of a page for each queue, its lists, and the memory at the
    // end.
    const std::uint64_t before = kPages + build.queues * 2 * 4096 + RawEngine::kListBytes;
    RawEngine engine({.build = build.name, .first_iova = last - kPages + 1 - before}, kPages);
    Memory top(kPages, kUntouched);
    const std::uint64_t base = engine.device().map(top.all())->value();
    ASSERT_EQ(base, last - kPages + 1);
    engine.write64(ring::kQueueWindowBase, base);
    engine.write64(ring::kQueueWindowLimit, last);
    engine.start();
    std::uint32_t generation = 1;
    const auto outcome_of = [&](std::uint64_t address, std::uint64_t length) {
      ring::Descriptor descriptor = engine.fill(0, length, 0, generation++);
      descriptor.address = address;
      const auto completion = engine.run(descriptor);
      EXPECT_EQ(completion.cause == cause(FailureCause::OutsideWindow), completion.outcome == kFailed);
      return completion.outcome;
    };
    for (const std::uint64_t length : {std::uint64_t{2}, std::uint64_t{4096}, ring::kMaxLengthBytes}) {
      EXPECT_EQ(outcome_of(last, length), kFailed) << length;
    }
    EXPECT_EQ(outcome_of(base - 1, 1), kFailed);
    EXPECT_EQ(first_not(top.all(), kUntouched), std::nullopt);
    EXPECT_EQ(outcome_of(last, 1), kZeroed);
    EXPECT_EQ(outcome_of(last - 4999, 5000), kZeroed);
    EXPECT_EQ(first_not(top.part(0, kPages - 5000), kUntouched), std::nullopt);
    EXPECT_EQ(first_not(top.part(kPages - 5000, 5000), std::byte{0}), std::nullopt);
  }
}

TEST(ScrubWindow, ThatNobodySetUpHoldsNothing) {
  for (const RtlBuild& build : rtl_builds()) {
    RawEngine engine({.build = build.name});
    engine.device().reset();
    EXPECT_NE(engine.read(ring::kQueueWindowBase), 0U) << build.name;
    EXPECT_EQ(engine.read(ring::kQueueWindowLimit), 0U) << build.name;
  }
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
  EXPECT_NE(engine.device().read_register(ring::kRegIsr) & 1U, 0U);
}

TEST(ScrubErrors, ACompletionThatCannotBeWrittenStopsTheQueueAndSaysSo) {
  RawEngine engine({.timing = {{5, 5}, {300, 300}, {5, 5}, 1.0}});
  engine.start();
  engine.submit(engine.fill(0, 4096, 0));
  engine.device().run_cycles(500);  // fetched, and its data is under way
  engine.device().set_faults({.ring_errors = true});
  engine.device().run_cycles(500);
  EXPECT_EQ(engine.try_collect(), std::nullopt);
  EXPECT_NE(engine.read(ring::kQueueStatus) & ring::kStatusCompletionFault, 0U);
  EXPECT_EQ(engine.read(ring::kQueueCause), ring::kIrqCauseFault);
  EXPECT_TRUE(engine.write(ring::kQueueCause, ring::kIrqCauseFault));
  EXPECT_EQ(engine.read(ring::kQueueCause), 0U);
  engine.device().set_faults({});
  engine.submit(engine.fill(0, 4096, 1));
  engine.device().run_cycles(1000);
  EXPECT_EQ(engine.read(ring::kQueueSqHead), 1U) << "nothing more is fetched";
  // The other queues run on; the reset gives the queue back.
  EXPECT_EQ(engine.run(engine.fill(0, 4096, 0), 1).outcome, kZeroed);
  engine.write_engine(ring::kRegCtrl, ring::kEngineCtrlReset);
  engine.device().run_cycles(1000);
  for (std::size_t q = 0; q < engine.queues(); ++q) engine.set_up(q);
  engine.start();
  EXPECT_EQ(engine.run(engine.fill(0, 4096, 0)).outcome, kZeroed);
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

TEST(ScrubCancel, ForTheNextGenerationOutlivesTheJobThatRuns) {
  RawEngine engine;
  engine.start();
  engine.submit(engine.fill(0, 64 << 10, 5, 7));
  engine.device().run_cycles(600);  // it runs
  engine.cancel(5, 8);
  EXPECT_EQ(engine.collect().outcome, kZeroed);
  engine.device().run_cycles(20);
  EXPECT_EQ(engine.run(engine.fill(0, 4096, 5, 8)).outcome, kCancelled);
}

/// Generations count round: also where they pass 2^31 and 2^32.
TEST(ScrubCancel, ForAPastGenerationTakesNothingAway) {
  for (const std::uint32_t first : {1U, 0x7FFFFFFFU, 0xFFFFFFFEU, 0xFFFFFFFFU}) {
    SCOPED_TRACE(first);
    RawEngine engine;
    engine.start();
    for (std::uint32_t job = 0; job < 3; ++job) {
      ASSERT_EQ(engine.run(engine.fill(0, 64, 5, first + job)).outcome, kZeroed);
    }
    engine.cancel(5, first + 3);
    for (const std::uint32_t past : {first, first + 1, first + 2}) engine.cancel(5, past);
    EXPECT_EQ(engine.run(engine.fill(0, 64, 5, first + 3)).outcome, kCancelled);
    EXPECT_EQ(engine.run(engine.fill(0, 64, 5, first + 4)).outcome, kZeroed);
  }
}

/// Between two extents, or the two halves of a fill-then-verify, no part of the job may be where requests are seen.
TEST(ScrubCancel, ReachesAJobOfManyPiecesBetweenThem) {
  const RawEngine::Extent extents[] = {{0, 64}, {4096, 64}, {8192, 64}, {12'288, 64}, {16'384, 64}, {20'480, 64}};
  std::uint32_t cancelled = 0;
  for (std::uint64_t delay = 0; delay < 260; delay += 2) {
    SCOPED_TRACE(delay);
    RawEngine engine({.timing = {{100, 100}, {5, 5}, {5, 5}, 1.0}});
    engine.data().fill(kUntouched);
    engine.start();
    engine.device().run_cycles(300);
    auto job = engine.job(ring::kOpFillVerify, 0, 0, 3);
    engine.use_list(job, extents);
    engine.submit(job);
    engine.device().run_cycles(delay);
    engine.cancel(3, 1);
    const auto completion = engine.collect();
    // While its second line is read the first four extents are done; it must not go on.
    if (delay < 100) {
      EXPECT_EQ(completion.outcome, kCancelled);
    }
    cancelled += completion.outcome == kCancelled ? 1 : 0;
  }
  EXPECT_GT(cancelled, 90U);
}

class CancelOf : public ::testing::TestWithParam<std::uint8_t> {};

TEST_P(CancelOf, AJobAtEveryCycleLeavesAnExactPrefixThatStays) {
  constexpr std::uint64_t kPattern = 0x1122334455667788;
  std::uint64_t cancelled = 0;
  std::uint64_t done = 0;
  for (std::uint64_t delay = 0; delay < 1440; delay += 5) {
    SCOPED_TRACE("cancel after " + std::to_string(delay) + " cycles");
    RawEngine engine({.seed = delay + 1});
    const MemorySpan target = engine.data().part(1000, 20'000);
    engine.data().fill(kUntouched);
    engine.start();
    ring::Descriptor descriptor = engine.job(GetParam(), 1000, 20'000, 0);
    if (GetParam() == ring::kOpVerify) {
      std::fill(target.begin(), target.end(), std::byte{0x33});
      descriptor.pattern = 0x3333333333333333;
    } else {
      descriptor.pattern = kPattern;
    }
    const std::vector<std::byte> before(target.begin(), target.end());
    engine.submit(descriptor);
    engine.device().run_cycles(delay);
    engine.cancel(0, 1);
    const auto completion = engine.collect();
    ASSERT_LE(completion.bytes, target.size());
    if (completion.outcome == kZeroed) {
      ASSERT_EQ(completion.bytes, target.size());
    } else {
      ASSERT_EQ(completion.outcome, kCancelled);
    }
    cancelled += completion.outcome == kCancelled ? 1 : 0;
    done += completion.outcome == kZeroed ? 1 : 0;
    const auto expect_prefix = [&] {
      EXPECT_EQ(first_not_pattern(target.first(completion.bytes), descriptor.pattern), std::nullopt);
      EXPECT_TRUE(std::equal(before.begin() + static_cast<std::ptrdiff_t>(completion.bytes), before.end(),
                             target.begin() + static_cast<std::ptrdiff_t>(completion.bytes)));
    };
    expect_prefix();
    engine.device().run_cycles(300);
    expect_prefix();
  }
  EXPECT_GT(cancelled, 20U) << "the delays should catch the job in the middle";
  EXPECT_GT(done, 20U) << "and some should come too late";
}
INSTANTIATE_TEST_SUITE_P(Operations, CancelOf, every_operation(), operation_name);

TEST(ScrubCompletions, WaitForRoomInTheirRingAndNoneIsLost) {
  RawEngine engine({}, 4 << 20);
  engine.start();
  const auto submit = [&](std::uint32_t job) {
    engine.submit(engine.fill(job * 4096U, 4096, static_cast<std::uint16_t>(job)));
  };
  for (std::uint32_t job = 0; job < engine.entries(); ++job) submit(job);
  engine.device().run_cycles(5000);
  for (std::uint32_t job = 0; job < engine.entries(); ++job) submit(job + engine.entries());
  engine.device().run_cycles(5000);
  EXPECT_EQ(engine.read(ring::kQueueCqTail), engine.entries()) << "full: software has collected nothing";
  for (std::uint32_t job = 0; job < engine.entries(); ++job) EXPECT_EQ(engine.collect().slot, job);
  EXPECT_EQ(engine.try_collect(), std::nullopt);
  engine.release_completions();
  for (std::uint32_t job = 0; job < engine.entries(); ++job) {
    EXPECT_EQ(engine.collect().slot, job + engine.entries());
  }
}

TEST(ScrubRing, GivesBackOnlyThePlacesOfDescriptorsThatHaveArrived) {
  // Software that refills by SQ_HEAD: each slot once and in order, however slow and late the reads are.
  for (const std::uint32_t ring_log2 : {1U, 2U, 3U, 4U}) {
    for (const std::uint32_t latency : {1U, 40U, 400U}) {
      SCOPED_TRACE(std::to_string(ring_log2) + ", " + std::to_string(latency));
      RawEngine engine({.timing = {{latency, latency + 20}, {5, 5}, {5, 5}, 0.8}}, 64 << 10, ring_log2);
      engine.start();
      constexpr std::uint16_t kJobs = 40;
      std::uint16_t placed = 0;
      std::uint16_t done = 0;
      for (std::uint32_t turn = 0; done < kJobs; ++turn) {
        ASSERT_LT(turn, 20'000U) << "jobs were lost";
        const auto taken = static_cast<std::uint16_t>(engine.read(ring::kQueueSqHead));
        for (; placed < kJobs && static_cast<std::uint16_t>(placed - taken) < engine.entries(); ++placed) {
          engine.place(RawEngine::marker(ring::kOpNoop, placed));
        }
        engine.ring_doorbell();
        while (const auto completion = engine.try_collect()) {
          ASSERT_EQ(completion->slot, done);
          ASSERT_EQ(completion->outcome, kZeroed);
          ++done;
        }
        engine.release_completions();
      }
    }
  }
}

TEST(ScrubRing, RefusesADoorbellThatRunsOverADescriptorUnderWay) {
  RawEngine engine({.timing = {{2000, 2000}, {5, 5}, {5, 5}, 1.0}});
  engine.start();
  engine.device().run_cycles(300);
  for (std::uint16_t job = 0; job < engine.entries(); ++job) engine.place(RawEngine::marker(ring::kOpNoop, job));
  engine.ring_doorbell();
  engine.device().run_cycles(200);  // all are asked for, none has come
  EXPECT_EQ(engine.read(ring::kQueueSqHead), 0U);
  EXPECT_FALSE(engine.write(ring::kQueueSqTail, engine.entries() + 1));
  for (std::uint16_t job = 0; job < engine.entries(); ++job) EXPECT_EQ(engine.collect().slot, job);
  EXPECT_EQ(engine.read(ring::kQueueSqHead), engine.entries());
  EXPECT_TRUE(engine.write(ring::kQueueSqTail, engine.entries() + 1));
}

TEST(ScrubErrors, NothingBehindADescriptorThatCannotBeReadIsTaken) {
  RawEngine engine({.timing = {{60, 60}, {5, 5}, {5, 5}, 1.0}});
  engine.start();
  engine.device().run_cycles(300);
  for (std::uint16_t job = 0; job < 3; ++job) engine.place(engine.fill(0, 64, job));
  engine.ring_doorbell();
  for (std::uint16_t job = 0; job < 3; ++job) EXPECT_EQ(engine.collect().slot, job);
  for (std::uint16_t job = 3; job < 12; ++job) engine.place(engine.fill(0, 64, job));
  engine.ring_doorbell();
  engine.device().run_cycles(64);
  engine.device().set_faults({.ring_errors = true});  // the descriptors that come in this cycle
  engine.device().run_cycles(2);
  engine.device().set_faults({});
  engine.device().run_cycles(2000);
  ASSERT_NE(engine.read(ring::kQueueStatus) & ring::kStatusFetchFault, 0U) << "the delay no longer meets the read";
  std::uint32_t completed = 3;
  while (const auto completion = engine.try_collect()) EXPECT_EQ(completion->slot, completed++);
  EXPECT_LT(completed, 12U);
  EXPECT_EQ(engine.read(ring::kQueueSqHead), completed) << "what it has taken it has completed, without a gap";
}

}  // namespace
}  // namespace sluice::test
