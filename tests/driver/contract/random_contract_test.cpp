// SPDX-License-Identifier: Apache-2.0
// What random fills promise, on every engine: those that have no generator must say so.
#include <algorithm>
#include <cstring>
#include <set>

#include "engine_contract.hpp"

namespace sluice::test {
namespace {

class RandomContract : public EngineContract {
 protected:
  /// The completion of one job, or nothing where the engine refuses it.
  std::optional<Completion> run(Engine& engine, const ScrubJob& job) {
    JobId id;
    const auto accepted = engine.submit({&job, 1}, {&id, 1});
    EXPECT_EQ(accepted.has_value(), engine.capabilities().fills_random);
    if (!accepted) {
      EXPECT_EQ(accepted.error().code, DriverErrc::InvalidArgument);
      EXPECT_NE(accepted.error().message.find("random"), std::string::npos) << accepted.error().message;
      EXPECT_EQ(first_not(job.memory, kUntouched), std::nullopt);
      return std::nullopt;
    }
    const auto completions = collect(engine, 1);
    return completions.empty() ? std::nullopt : std::optional(completions[0]);
  }

  static ScrubJob job(MemorySpan memory, bool read_soon = false) {
    return {memory, kPattern, Urgency::Background, 9, Operation::FillRandom, read_soon};
  }

  /// The whole words of `memory` that are there more than once: of random ones there is none in 2^24 tests.
  static std::size_t repeated_words(MemorySpan memory) {
    std::set<std::uint64_t> words;
    std::size_t repeated = 0;
    for (std::size_t at = 0; at + 8 <= memory.size(); at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, memory.data() + at, 8);
      if (!words.insert(word).second) ++repeated;
    }
    return repeated;
  }

  /// Pearson's statistic of the bytes against 256 equal shares: 255 on average for random ones, with a standard
  /// deviation of 22.6; 510 is more than eleven of those above.
  static double chi_square(MemorySpan memory) {
    std::array<double, 256> counts{};
    for (const std::byte byte : memory) ++counts.at(static_cast<std::size_t>(byte));
    const double share = static_cast<double>(memory.size()) / 256;
    double sum = 0;
    for (const double count : counts) sum += (count - share) * (count - share) / share;
    return sum;
  }

  static void expect_random(MemorySpan memory) {
    EXPECT_EQ(repeated_words(memory), 0U);
    EXPECT_LT(chi_square(memory), 510.0);
    EXPECT_GT(chi_square(memory), 120.0) << "too even";
  }
};

TEST_P(RandomContract, AJobHasBytesOfItsOwnThatLookUniform) {
  auto engine = make();
  for (const bool read_soon : {false, true}) {
    const MemorySpan first = memory_.part(4096, 1 << 20);
    const MemorySpan second = memory_.part(2 << 20, 1 << 20);
    const auto done = run(*engine, job(first, read_soon));
    if (!done) return;
    EXPECT_EQ(done->outcome, Outcome::Zeroed);
    EXPECT_EQ(done->cookie, 9U);
    EXPECT_EQ(done->bytes_zeroed, length_of(first));
    expect_random(first);
    ASSERT_TRUE(run(*engine, job(second, read_soon)));
    expect_random(second);
    EXPECT_FALSE(std::equal(first.begin(), first.end(), second.begin())) << "two jobs with the same bytes";
    const MemorySpan half = first.first(first.size() / 2);
    EXPECT_FALSE(std::equal(half.begin(), half.end(), first.begin() + static_cast<std::ptrdiff_t>(half.size())));
    const std::vector<std::byte> before(first.begin(), first.end());
    ASSERT_TRUE(run(*engine, job(first, read_soon)));
    EXPECT_FALSE(std::equal(before.begin(), before.end(), first.begin())) << "the same bytes again";
  }
}

TEST_P(RandomContract, EverySizeAtEveryAlignmentIsFilledToItsEndsAndNothingElseIs) {
  auto engine = make();
  for (const std::size_t length : {1U, 7U, 8U, 63U, 64U, 65U, 129U, 4097U, 40'001U}) {
    for (const std::size_t offset : {0U, 1U, 7U, 8U, 63U, 4095U}) {
      const MemorySpan around = memory_.part(8192, 65'536);
      std::fill(around.begin(), around.end(), kUntouched);
      const MemorySpan target = around.subspan(4096 + offset, length);
      // A random byte is what was there once in 256 times: never eight times in a row at the same place.
      bool first_changed = false;
      bool last_changed = false;
      for (int attempt = 0; attempt < 8; ++attempt) {
        const auto done = run(*engine, job(target, attempt % 2 == 0));
        if (!done) return;
        EXPECT_EQ(done->outcome, Outcome::Zeroed) << length << " bytes at offset " << offset;
        first_changed = first_changed || target.front() != kUntouched;
        last_changed = last_changed || target.back() != kUntouched;
      }
      EXPECT_TRUE(first_changed && last_changed) << length << " bytes at offset " << offset;
      EXPECT_EQ(first_not(around.first(4096 + offset), kUntouched), std::nullopt);
      EXPECT_EQ(first_not(around.subspan(4096 + offset + length), kUntouched), std::nullopt);
    }
  }
}

TEST_P(RandomContract, ACancelInTheMiddleLeavesAPrefixOfRandomBytes) {
  auto engine = make({.gated = true});
  if (!engine->capabilities().fills_random) return;
  const MemorySpan target = memory_.part(100, 4 << 20);
  const JobId id = submit_one(*engine, job(target));
  under_test_->let_work(*engine);
  EXPECT_EQ(engine->cancel(id), CancelResult::Requested);
  under_test_->open_gate();
  const auto completions = collect(*engine, 1);
  ASSERT_EQ(completions.size(), 1U);
  ASSERT_EQ(completions[0].outcome, Outcome::Cancelled);
  const std::size_t done = completions[0].bytes_zeroed.value();
  ASSERT_LT(done, target.size());
  EXPECT_TRUE(GetParam().cuts || done > 0);
  if (done > 0) expect_random(target.first(done));
  if (!GetParam().cuts) {
    EXPECT_EQ(first_not(target.subspan(done), kUntouched), std::nullopt);
  }
  expect_no_more(*engine);
}

TEST_P(RandomContract, AnErrorOfTheMemoryEndsItBeforeTheBadPlace) {
  const MemorySpan bad = memory_.part((1 << 20) + 300'000, 64);
  auto engine = make({.bad_range = bad});
  if (!engine->capabilities().fills_random) return;
  const MemorySpan target = memory_.part(1 << 20, 1 << 20);
  const auto failed = run(*engine, job(target));
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->outcome, Outcome::Failed);
  EXPECT_EQ(failed->cause, FailureCause::SlaveError);
  EXPECT_LE(failed->bytes_zeroed, ByteCount(300'000));
  if (failed->bytes_zeroed > ByteCount(0)) expect_random(target.first(failed->bytes_zeroed.value()));
  EXPECT_EQ(first_not(bad, kUntouched), std::nullopt);
  EXPECT_FALSE(engine->fault());
}

INSTANTIATE_TEST_SUITE_P(All, RandomContract, ::testing::ValuesIn(all_engines()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace sluice::test
