// SPDX-License-Identifier: Apache-2.0
// What verify jobs promise, on every engine: those that cannot verify must say so.
#include <algorithm>

#include "engine_contract.hpp"

namespace sluice::test {
namespace {

class VerifyContract : public EngineContract {
 protected:
  /// The completion of one job, or nothing where the engine refuses to verify.
  std::optional<Completion> run(Engine& engine, const ScrubJob& job) {
    JobId id;
    const auto accepted = engine.submit({&job, 1}, {&id, 1});
    EXPECT_EQ(accepted.has_value(), engine.capabilities().verifies);
    if (!accepted) {
      EXPECT_EQ(accepted.error().code, DriverErrc::InvalidArgument);
      EXPECT_NE(accepted.error().message.find("verify"), std::string::npos) << accepted.error().message;
      return std::nullopt;
    }
    const auto completions = collect(engine, 1);
    return completions.empty() ? std::nullopt : std::optional(completions[0]);
  }

  static ScrubJob job(MemorySpan memory, Operation operation) {
    return {memory, kPattern, Urgency::Background, 9, operation};
  }
};

TEST_P(VerifyContract, FindsTheFirstByteThatDiffersWhereverItIs) {
  auto engine = make();
  const MemorySpan target = memory_.part(4099, 200'003);
  for (std::size_t index = 0; index < target.size(); ++index) target[index] = pattern_byte(kPattern, &target[index]);
  const auto good = run(*engine, job(target, Operation::Verify));
  if (!good) return;
  EXPECT_EQ(good->outcome, Outcome::Zeroed);
  EXPECT_EQ(good->bytes_zeroed, length_of(target));
  for (const std::size_t at :
       {0U, 1U, 60U, 61U, 62U, 63U, 64U, 4095U, 65'535U, 65'536U, 131'071U, 199'990U, 200'002U}) {
    target[at] ^= std::byte{0x10};
    target[target.size() - 1] ^= std::byte{0x01};  // a later one does not matter
    const auto bad = run(*engine, job(target, Operation::Verify));
    target[target.size() - 1] ^= std::byte{0x01};
    target[at] ^= std::byte{0x10};
    ASSERT_TRUE(bad);
    EXPECT_EQ(bad->outcome, Outcome::Failed) << at;
    EXPECT_EQ(bad->cause, FailureCause::Mismatch) << at;
    EXPECT_EQ(bad->bytes_zeroed, ByteCount(at));
  }
  EXPECT_FALSE(engine->fault()) << "a mismatch is the memory's, not the engine's";
}

TEST_P(VerifyContract, VerifyOfEverySizeAtEveryAlignmentReadsThatAndNothingElse) {
  auto engine = make();
  for (const std::size_t length : {1U, 7U, 8U, 63U, 64U, 65U, 129U, 4097U}) {
    for (const std::size_t offset : {0U, 1U, 7U, 8U, 63U, 4095U}) {
      const MemorySpan around = memory_.part(8192, 16'384);
      std::fill(around.begin(), around.end(), kUntouched);
      const MemorySpan target = around.subspan(4096 + offset, length);
      for (std::byte& byte : target) byte = pattern_byte(kPattern, &byte);
      const auto done = run(*engine, job(target, Operation::Verify));
      if (!done) return;
      EXPECT_EQ(done->outcome, Outcome::Zeroed) << length << " bytes at offset " << offset;
      EXPECT_EQ(first_not(around.first(4096 + offset), kUntouched), std::nullopt);
      EXPECT_EQ(first_not_pattern(target, kPattern), std::nullopt);
      EXPECT_EQ(first_not(around.subspan(4096 + offset + length), kUntouched), std::nullopt);
    }
  }
}

TEST_P(VerifyContract, FillVerifyFillsAndVerifies) {
  auto engine = make();
  const MemorySpan target = memory_.part(12'345, 300'001);
  const auto done = run(*engine, job(target, Operation::FillVerify));
  if (!done) return;
  EXPECT_EQ(done->outcome, Outcome::Zeroed);
  EXPECT_EQ(done->cookie, 9U);
  EXPECT_EQ(done->bytes_zeroed, length_of(target));
  EXPECT_EQ(first_not_pattern(target, kPattern), std::nullopt);
  EXPECT_EQ(memory_.all()[12'344], kUntouched);
  EXPECT_EQ(memory_.all()[12'345 + 300'001], kUntouched);
}

TEST_P(VerifyContract, CancelOfAVerifyEndsItOnceAndNoFurtherThanItCame) {
  auto engine = make({.gated = true});
  if (!engine->capabilities().verifies) return;
  for (std::byte& byte : memory_.all()) byte = pattern_byte(kPattern, &byte);
  const MemorySpan target = memory_.part(4 << 20, 4 << 20);
  const std::vector<ScrubJob> jobs = {{memory_.part(0, 4 << 20), kPattern}, job(target, Operation::Verify)};
  std::vector<JobId> ids(2);
  ASSERT_TRUE(engine->submit(jobs, ids));
  under_test_->let_work(*engine);
  const CancelResult asked = engine->cancel(ids[1]);
  under_test_->open_gate();
  int verifies = 0;
  for (const Completion& completion : collect(*engine, 2)) {
    if (completion.id != ids[1]) continue;
    ++verifies;
    const bool whole = completion.bytes_zeroed == length_of(target);
    EXPECT_NE(completion.outcome, Outcome::Failed);
    EXPECT_TRUE(whole || completion.outcome == Outcome::Cancelled);
    EXPECT_TRUE(asked == CancelResult::Requested || completion.outcome == Outcome::Zeroed);
  }
  EXPECT_EQ(verifies, 1);
  expect_no_more(*engine);
}

TEST_P(VerifyContract, AnErrorOfTheMemoryEndsAFillThatIsVerifiedAndTheNextJobRuns) {
  const MemorySpan bad = memory_.part((1 << 20) + 300'000, 64);
  auto engine = make({.bad_range = bad});
  if (!engine->capabilities().verifies) return;
  const MemorySpan target = memory_.part(1 << 20, 1 << 20);
  const auto failed = run(*engine, job(target, Operation::FillVerify));
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->outcome, Outcome::Failed);
  EXPECT_EQ(failed->cause, FailureCause::SlaveError);
  EXPECT_LE(failed->bytes_zeroed, ByteCount(300'000));
  EXPECT_EQ(first_not_pattern(target.first(failed->bytes_zeroed.value()), kPattern), std::nullopt);
  EXPECT_EQ(first_not(bad, kUntouched), std::nullopt);
  const auto next = run(*engine, job(memory_.part(0, 4096), Operation::FillVerify));
  ASSERT_TRUE(next);
  EXPECT_EQ(next->outcome, Outcome::Zeroed);
  EXPECT_FALSE(engine->fault());
}

TEST_P(VerifyContract, AMixOfOperationsAndUrgenciesEndsEachJobAsItsMemorySays) {
  auto engine = make({.max_jobs = 16});
  if (!engine->capabilities().verifies) return;
  constexpr std::size_t kJobs = 96;
  constexpr std::size_t kShare = 20'000;
  std::vector<ScrubJob> jobs;
  for (std::size_t index = 0; index < kJobs; ++index) {
    const Operation operation = operations(*engine).at(index % 3);
    jobs.push_back({memory_.part(index * kShare + index, 1 + index * 200), kPattern + index,
                    index % 4 == 0 ? Urgency::Urgent : Urgency::Background, index, operation});
    // Of the verifies every other one is of what another has written.
    const std::uint64_t there = index % 2 == 0 ? kPattern + index : 0;
    for (std::byte& byte : jobs.back().memory) byte = pattern_byte(there, &byte);
  }
  std::vector<JobId> ids(jobs.size());
  std::size_t next = 0;
  std::size_t done = 0;
  for (Patience patience(kLongestJob); done < kJobs && !patience.over();) {
    if (next < kJobs) {
      if (const auto accepted = engine->submit(std::span(jobs).subspan(next), ids)) next += *accepted;
    }
    Completion one;
    if (engine->poll({&one, 1}) == 0) continue;
    patience.renew();
    ++done;
    const ScrubJob& job = jobs.at(one.cookie);
    const bool equal = job.operation != Operation::Verify || one.cookie % 2 == 0;
    const std::size_t prefix = first_not_pattern(job.memory, job.pattern).value_or(job.memory.size());
    EXPECT_EQ(one.outcome, equal ? Outcome::Zeroed : Outcome::Failed) << one.cookie;
    EXPECT_EQ(one.cause, equal ? FailureCause::None : FailureCause::Mismatch);
    EXPECT_EQ(one.bytes_zeroed, ByteCount(prefix));
    EXPECT_EQ(equal, prefix == job.memory.size());
  }
  EXPECT_EQ(done, kJobs);
  expect_no_more(*engine);
}

INSTANTIATE_TEST_SUITE_P(All, VerifyContract, ::testing::ValuesIn(all_engines()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace sluice::test
