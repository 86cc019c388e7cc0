// SPDX-License-Identifier: Apache-2.0
// Verify, fill-then-verify, fence, no-op and lists of extents.
#include <gtest/gtest.h>

#include "raw_engine.hpp"
#include "support/patience.hpp"

namespace sluice::test {
namespace {

constexpr std::byte kUntouched{0xA5};
constexpr std::uint64_t kPattern = 0x1122334455667788;

using Extent = RawEngine::Extent;

TEST(ScrubVerify, FindsTheFirstByteThatDiffers) {
  for (const std::string build : {"64", "128", "256", "512", "1024"}) {
    SCOPED_TRACE(build);
    RawEngine engine({.build = build});
    engine.start();
    const std::uint64_t offset = 1003;
    const std::uint64_t length = 9001;
    auto fill = engine.fill(offset, length, 0);
    fill.pattern = kPattern;
    ASSERT_EQ(engine.run(fill).outcome, ring::kOutcomeZeroed);
    std::uint32_t generation = 2;
    const auto verify = [&] {
      auto job = engine.job(ring::kOpVerify, offset, length, 0, generation++);
      job.pattern = kPattern;
      return engine.run(job);
    };
    auto whole = verify();
    EXPECT_EQ(whole.outcome, ring::kOutcomeZeroed);
    EXPECT_EQ(whole.bytes, length);
    for (const std::uint64_t at : {0U, 1U, 60U, 61U, 62U, 3092U, 3093U, 3094U, 5000U, 8999U, 9000U}) {
      std::byte& spoiled = engine.data().all()[offset + at];
      const std::byte before = spoiled;
      spoiled ^= std::byte{0x10};
      const auto completion = verify();
      spoiled = before;
      EXPECT_EQ(completion.outcome, ring::kOutcomeFailed) << at;
      EXPECT_EQ(completion.cause, ring::kCauseMismatch) << at;
      EXPECT_EQ(completion.bytes, at);
    }
    // Bytes on either side are not its business.
    engine.data().all()[offset - 1] = engine.data().all()[offset + length] = std::byte{0xFF};
    EXPECT_EQ(verify().outcome, ring::kOutcomeZeroed);
  }
}

TEST(ScrubVerify, WritesNothing) {
  RawEngine engine;
  engine.data().fill(kUntouched);
  engine.start();
  EXPECT_EQ(engine.run(engine.job(ring::kOpVerify, 100, 5000, 0)).bytes, 0U);
  EXPECT_EQ(first_not(engine.data().all(), kUntouched), std::nullopt);
}

TEST(ScrubVerify, ReadErrorsGiveTheExactPrefixOfBeats) {
  RawEngine engine;
  engine.start();
  engine.device().set_faults({.slave_error_range = engine.data().part(40'960, 1)});
  const auto completion = engine.run(engine.job(ring::kOpVerify, 0, 1 << 20, 0));
  EXPECT_EQ(completion.outcome, ring::kOutcomeFailed);
  EXPECT_EQ(completion.cause, ring::kCauseSlaveError);
  EXPECT_EQ(completion.bytes, 40'960U);
}

TEST(ScrubVerify, OfQueuedJobsWithOtherPatternsKeepsThemApart) {
  RawEngine engine;
  engine.start();
  for (std::uint16_t job = 0; job < 4; ++job) {
    auto fill = engine.fill(job * 4096U, 4096, job);
    fill.pattern = job / 2;
    engine.place(fill);
  }
  for (std::uint16_t job = 0; job < 4; ++job) {
    auto verify = engine.job(ring::kOpVerify, job * 4096U, 4096, static_cast<std::uint16_t>(job + 4));
    verify.pattern = job == 3 ? 7 : job / 2;
    engine.place(verify);
  }
  engine.ring_doorbell();
  for (std::uint16_t job = 0; job < 7; ++job) EXPECT_EQ(engine.collect().outcome, ring::kOutcomeZeroed) << job;
  EXPECT_EQ(engine.collect().cause, ring::kCauseMismatch);
}

TEST(ScrubFillVerify, FillsReadsBackAndSaysWhere) {
  RawEngine engine;
  engine.data().fill(kUntouched);
  engine.start();
  auto job = engine.job(ring::kOpFillVerify, 77, 20'000, 0);
  job.pattern = kPattern;
  const auto completion = engine.run(job);
  EXPECT_EQ(completion.outcome, ring::kOutcomeZeroed);
  EXPECT_EQ(completion.bytes, 20'000U);
  EXPECT_EQ(first_not_pattern(engine.data().part(77, 20'000), kPattern), std::nullopt);
  engine.device().run_cycles(100);
  EXPECT_EQ(engine.engine_counter(ring::kRegReadBeats), engine.engine_counter(ring::kRegWriteBeats));
}

TEST(ScrubFillVerify, NoticesMemoryThatDoesNotKeepWhatWasWritten) {
  RawEngine engine({.timing = {{200, 200}, {5, 5}, {5, 5}, 1.0}});
  engine.start();
  engine.submit(engine.job(ring::kOpFillVerify, 0, 64 << 10, 0));
  // The writes are done, the reads have begun.
  ASSERT_TRUE(test::steps_until(
      100'000, [&] { engine.device().run_cycles(1); },
      [&] { return engine.engine_counter(ring::kRegWriteBeats) >= 1024; }));
  engine.data().all()[33'333] = std::byte{1};
  const auto completion = engine.collect();
  EXPECT_EQ(completion.outcome, ring::kOutcomeFailed);
  EXPECT_EQ(completion.cause, ring::kCauseMismatch);
  EXPECT_EQ(completion.bytes, 33'333U);
}

TEST(ScrubFence, WaitsForAllThatWentBeforeAndHoldsWhatFollows) {
  RawEngine engine({.timing = {{1, 1}, {500, 500}, {1, 1}, 1.0}});
  engine.data().fill(kUntouched);
  engine.start();
  engine.place(engine.fill(0, 4096, 0));
  engine.place(RawEngine::marker(ring::kOpFence, 1));
  engine.place(engine.fill(8192, 4096, 2));
  engine.ring_doorbell();
  while (engine.device().data_bus().last_data_b == 0) engine.device().run_cycles(1);
  EXPECT_EQ(engine.device().data_bus().aw_seen, 1U) << "the job behind the fence has not begun";
  EXPECT_EQ(engine.collect().slot, 0);
  const auto fence = engine.collect();
  EXPECT_EQ(fence.slot, 1);
  EXPECT_EQ(fence.outcome, ring::kOutcomeZeroed);
  EXPECT_EQ(fence.bytes, 0U);
  EXPECT_EQ(engine.collect().slot, 2);
}

TEST(ScrubFence, ThatIsCancelledStillHoldsWhatFollows) {
  for (const std::uint64_t delay : {0ULL, 20ULL, 60ULL, 200ULL}) {
    SCOPED_TRACE(delay);
    RawEngine engine({.timing = {{1, 1}, {500, 500}, {1, 1}, 1.0}});
    engine.start();
    engine.device().run_cycles(300);
    engine.place(engine.fill(0, 4096, 0));
    engine.place(RawEngine::marker(ring::kOpFence, 1));
    engine.place(engine.fill(8192, 4096, 2));
    engine.ring_doorbell();
    engine.device().run_cycles(delay);
    engine.cancel(1, 1);
    for (int cycle = 0; cycle < 5000 && engine.device().data_bus().last_data_b == 0; ++cycle) {
      engine.device().run_cycles(1);
    }
    EXPECT_EQ(engine.device().data_bus().aw_seen, 1U) << "the job behind the fence has not begun";
    EXPECT_EQ(engine.collect().slot, 0);
    EXPECT_EQ(engine.collect().outcome, ring::kOutcomeCancelled);
    EXPECT_EQ(engine.collect().outcome, ring::kOutcomeZeroed);
  }
}

TEST(ScrubNoop, EndsInItsTurn) {
  RawEngine engine;
  engine.start();
  engine.place(engine.fill(0, 4096, 0));
  engine.place(RawEngine::marker(ring::kOpNoop, 1));
  engine.place(RawEngine::marker(ring::kOpNoop, 2));
  engine.ring_doorbell();
  for (std::uint16_t slot = 0; slot < 3; ++slot) EXPECT_EQ(engine.collect().slot, slot);
  EXPECT_EQ(engine.device().data_bus().w_beats, 64U);
}

class ScrubList : public ::testing::TestWithParam<std::string> {
 protected:
  RawEngine engine_{{.build = GetParam()}};
};

TEST_P(ScrubList, FillsItsExtentsAndNothingElse) {
  engine_.data().fill(kUntouched);
  engine_.start();
  const Extent extents[] = {{5, 1}, {100, 4000}, {8192, 8192}, {20'001, 77}, {30'000, 64}, {40'000, 10'000}};
  for (const std::uint8_t operation : {ring::kOpFill, ring::kOpFillVerify, ring::kOpVerify}) {
    auto job = engine_.job(operation, 0, 0, 0, operation);
    engine_.use_list(job, extents, 128);
    const auto completion = engine_.run(job);
    EXPECT_EQ(completion.outcome, ring::kOutcomeZeroed);
    EXPECT_EQ(completion.bytes, job.length_bytes);
  }
  std::uint64_t at = 0;
  for (const Extent& extent : extents) {
    EXPECT_EQ(first_not(engine_.data().part(at, extent.offset - at), kUntouched), std::nullopt);
    EXPECT_EQ(first_not(engine_.data().part(extent.offset, extent.length), std::byte{0}), std::nullopt);
    at = extent.offset + extent.length;
  }
  EXPECT_EQ(first_not(engine_.data().all().subspan(at), kUntouched), std::nullopt);
}

TEST_P(ScrubList, EndsAtTheFirstExtentThatIsBad) {
  const auto run = [&](Extent bad, std::uint64_t length_bytes) {
    engine_.data().fill(kUntouched);
    const Extent extents[] = {{0, 4096}, {8192, 100}, bad, {20'000, 100}};
    static std::uint32_t generation = 1;
    auto job = engine_.job(ring::kOpFill, 0, 0, 0, generation++);
    engine_.use_list(job, extents);
    if (length_bytes != 0) job.length_bytes = length_bytes;
    const auto completion = engine_.run(job);
    EXPECT_EQ(completion.outcome, ring::kOutcomeFailed);
    EXPECT_EQ(completion.bytes, 4196U);
    EXPECT_EQ(first_not(engine_.data().part(8292, 20'000), kUntouched), std::nullopt);
    return completion.cause;
  };
  engine_.start();
  EXPECT_EQ(run({1ULL << 30, 64}, 0), ring::kCauseOutsideWindow);
  EXPECT_EQ(run({12'000, 0}, 0), ring::kCauseBadDescriptor) << "an empty extent";
  EXPECT_EQ(run({12'000, 101}, 4296), ring::kCauseBadDescriptor) << "longer than the job";
}

TEST_P(ScrubList, ThatCannotBeReadFailsTheJob) {
  engine_.data().fill(kUntouched);
  engine_.start();
  auto job = engine_.job(ring::kOpFill, 0, 4096, 0);
  job.flags = ring::kDescriptorFlagList;
  job.address = 0x4000;  // nothing is mapped there
  const auto completion = engine_.run(job);
  EXPECT_EQ(completion.outcome, ring::kOutcomeFailed);
  EXPECT_EQ(completion.cause, ring::kCauseSlaveError);
  EXPECT_EQ(first_not(engine_.data().all(), kUntouched), std::nullopt);
  EXPECT_EQ(engine_.run(engine_.fill(0, 4096, 1)).outcome, ring::kOutcomeZeroed) << "the next job runs";
}

TEST_P(ScrubList, CancelledGivesThePrefixOverItsExtents) {
  std::vector<Extent> extents;
  for (std::uint64_t i = 0; i < 40; ++i) extents.push_back({i * 8192, 5000});
  std::uint32_t cancelled = 0;
  engine_.start();
  engine_.device().run_cycles(300);
  for (std::uint32_t delay = 20; delay < 2500; delay += 97) {
    SCOPED_TRACE(delay);
    engine_.data().fill(kUntouched);
    auto job = engine_.job(ring::kOpFill, 0, 0, 3, delay);
    engine_.use_list(job, extents);
    engine_.place(job);
    engine_.place(engine_.fill(1'000'000, 64, 4, delay));
    engine_.ring_doorbell();
    engine_.device().run_cycles(delay);
    engine_.cancel(3, delay);
    const auto completion = engine_.collect();
    ASSERT_EQ(completion.slot, 3);
    cancelled += completion.outcome == ring::kOutcomeCancelled ? 1 : 0;
    std::uint64_t left = completion.bytes;
    for (const Extent& extent : extents) {
      const std::uint64_t done = std::min(left, extent.length);
      left -= done;
      EXPECT_EQ(first_not(engine_.data().part(extent.offset, done), std::byte{0}), std::nullopt);
      EXPECT_EQ(first_not(engine_.data().part(extent.offset + done, 8192 - done), kUntouched), std::nullopt);
    }
    const auto next = engine_.collect();
    EXPECT_EQ(next.slot, 4) << "the job behind it is not touched";
    EXPECT_EQ(next.outcome, ring::kOutcomeZeroed);
    engine_.release_completions();
  }
  EXPECT_GT(cancelled, 5U);
}

INSTANTIATE_TEST_SUITE_P(Builds, ScrubList, ::testing::Values("64", "256", "512", "512-shared", "1024"),
                         [](const auto& build) {
                           std::string name = build.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace sluice::test
