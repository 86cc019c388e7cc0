// SPDX-License-Identifier: Apache-2.0
// The promises of sluice/driver/engine.hpp, tested on every engine. The suite knows no engine: engines.cpp does.
#include "engine_contract.hpp"

#include <array>
#include <map>
#include <mutex>
#include <random>
#include <thread>

namespace sluice::test {
namespace {

TEST_P(EngineContract, FillsEverySizeAtEveryAlignmentAndNothingElse) {
  auto engine = make();
  for (const std::size_t length : {1U, 7U, 8U, 9U, 63U, 64U, 65U, 129U, 4095U, 4096U, 4097U, 70'001U}) {
    for (const std::size_t offset : {0U, 1U, 7U, 8U, 63U, 64U, 127U, 2047U, 4095U}) {
      const MemorySpan around = memory_.part(8192, 90'112);
      std::fill(around.begin(), around.end(), kUntouched);
      const MemorySpan target = around.subspan(4096 + offset, length);
      const JobId id = submit_one(*engine, {target, kPattern, Urgency::Background, 77});
      const auto completions = collect(*engine, 1);
      ASSERT_EQ(completions.size(), 1U);
      EXPECT_EQ(completions[0].id, id);
      EXPECT_EQ(completions[0].cookie, 77U);
      EXPECT_EQ(completions[0].outcome, Outcome::Zeroed);
      EXPECT_EQ(completions[0].bytes_zeroed, ByteCount(length));
      EXPECT_EQ(first_not_pattern(target, kPattern), std::nullopt) << length << " bytes at offset " << offset;
      EXPECT_EQ(first_not(around.first(4096 + offset), kUntouched), std::nullopt);
      EXPECT_EQ(first_not(around.subspan(4096 + offset + length), kUntouched), std::nullopt);
    }
  }
}

TEST_P(EngineContract, ZeroesMegabytes) {
  auto engine = make();
  submit_one(*engine, {memory_.part(12'345, 3 << 20), 0, Urgency::Background, 1});
  const auto completions = collect(*engine, 1);
  ASSERT_EQ(completions.size(), 1U);
  EXPECT_EQ(completions[0].outcome, Outcome::Zeroed);
  EXPECT_EQ(first_not(memory_.part(12'345, 3 << 20), std::byte{0}), std::nullopt);
  EXPECT_EQ(memory_.all()[12'344], kUntouched);
  EXPECT_EQ(memory_.all()[12'345 + (3 << 20)], kUntouched);
}

TEST_P(EngineContract, TakesBatchesAndCompletesEachJobOnce) {
  auto engine = make();
  std::vector<ScrubJob> jobs;
  for (std::size_t index = 0; index < 20; ++index) {
    jobs.push_back({memory_.part(index * 10'000, 5'000), index, Urgency::Background, 100 + index});
  }
  std::vector<JobId> ids(jobs.size());
  const auto accepted = engine->submit(jobs, ids);
  ASSERT_TRUE(accepted);
  ASSERT_EQ(*accepted, jobs.size());
  std::map<std::uint64_t, int> seen;
  for (const Completion& completion : collect(*engine, jobs.size())) ++seen[completion.cookie];
  expect_no_more(*engine);
  for (std::size_t index = 0; index < jobs.size(); ++index) {
    EXPECT_EQ(seen[100 + index], 1);
    EXPECT_EQ(first_not_pattern(jobs[index].memory, index), std::nullopt);
  }
}

TEST_P(EngineContract, FullRingGivesBusyAndTakesMoreOnceCollected) {
  auto engine = make({.max_jobs = 4, .gated = true});
  std::vector<ScrubJob> jobs(6);
  for (std::size_t index = 0; index < jobs.size(); ++index) jobs[index] = {memory_.part(index * 4096, 4096)};
  std::vector<JobId> ids(jobs.size());
  const auto first = engine->submit(jobs, ids);
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, 4U) << "accepts what fits";
  const auto second = engine->submit(std::span(jobs).subspan(4), ids);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, DriverErrc::Busy);
  under_test_->open_gate();
  collect(*engine, 4);
  const auto third = engine->submit(std::span(jobs).subspan(4), ids);
  ASSERT_TRUE(third);
  EXPECT_EQ(*third, 2U);
  collect(*engine, 2);
  EXPECT_EQ(first_not(memory_.part(0, 6 * 4096), std::byte{0}), std::nullopt);
}

TEST_P(EngineContract, CancelBeforeStartWritesNothing) {
  auto engine = make({.gated = true});
  std::vector<ScrubJob> jobs;
  for (std::size_t index = 0; index < 4; ++index) {
    jobs.push_back({memory_.part(index << 20, 1 << 20), 0, Urgency::Background, index});
  }
  std::vector<JobId> ids(jobs.size());
  ASSERT_TRUE(engine->submit(jobs, ids));
  EXPECT_EQ(engine->cancel(ids[3]), CancelResult::Requested);
  under_test_->open_gate();
  for (const Completion& completion : collect(*engine, 4)) {
    EXPECT_EQ(completion.outcome, completion.cookie == 3 ? Outcome::Cancelled : Outcome::Zeroed);
    EXPECT_EQ(completion.bytes_zeroed.value(), completion.cookie == 3 ? 0U : 1U << 20);
  }
  EXPECT_EQ(first_not(jobs[3].memory, kUntouched), std::nullopt);
}

TEST_P(EngineContract, CancelInTheMiddleLeavesAnExactPrefix) {
  auto engine = make({.gated = true});
  const MemorySpan target = memory_.part(100, 4 << 20);
  const JobId id = submit_one(*engine, {target, kPattern});
  under_test_->let_work(*engine);
  EXPECT_EQ(engine->cancel(id), CancelResult::Requested);
  under_test_->open_gate();
  const auto completions = collect(*engine, 1);
  ASSERT_EQ(completions.size(), 1U);
  ASSERT_EQ(completions[0].outcome, Outcome::Cancelled);
  const std::size_t done = completions[0].bytes_zeroed.value();
  EXPECT_TRUE(GetParam().cuts || done > 0);
  EXPECT_LT(done, target.size());
  EXPECT_EQ(first_not_pattern(target.first(done), kPattern), std::nullopt);
  expect_untouched(target.subspan(done), kPattern);
}

TEST_P(EngineContract, CancelAfterTheEndChangesNothing) {
  auto engine = make();
  const JobId id = submit_one(*engine, {memory_.part(0, 4096), kPattern});
  ASSERT_EQ(collect(*engine, 1).at(0).outcome, Outcome::Zeroed);
  EXPECT_EQ(engine->cancel(id), CancelResult::AlreadyFinished);
  expect_no_more(*engine);
}

TEST_P(EngineContract, CancelTwiceGivesOneCompletion) {
  auto engine = make({.gated = true});
  const JobId id = submit_one(*engine, {memory_.part(0, 4 << 20)});
  under_test_->let_work(*engine);  // or a worker could find it cancelled, and end it, between the two
  EXPECT_EQ(engine->cancel(id), CancelResult::Requested);
  EXPECT_EQ(engine->cancel(id), CancelResult::Requested);
  under_test_->open_gate();
  EXPECT_EQ(collect(*engine, 1).at(0).outcome, Outcome::Cancelled);
  expect_no_more(*engine);
  EXPECT_EQ(engine->cancel(id), CancelResult::AlreadyFinished);
}

TEST_P(EngineContract, CancelOfAnUnknownJobIsRefused) {
  auto engine = make();
  EXPECT_EQ(engine->cancel({0, 0}), CancelResult::UnknownJob);
  EXPECT_EQ(engine->cancel({3, 1}), CancelResult::UnknownJob);
  EXPECT_EQ(engine->cancel({1'000'000, 1}), CancelResult::UnknownJob);
  const JobId id = submit_one(*engine, {memory_.part(0, 4096)});
  EXPECT_EQ(engine->cancel({id.slot, id.generation + 1}), CancelResult::UnknownJob);
  EXPECT_EQ(collect(*engine, 1).at(0).outcome, Outcome::Zeroed);
}

TEST_P(EngineContract, LateCancelDoesNotHitTheNextJobOfItsSlot) {
  auto engine = make({.max_jobs = 2});
  std::vector<JobId> old;
  for (int round = 0; round < 10; ++round) {
    const JobId id = submit_one(*engine, {memory_.part(0, 64 * 1024), kPattern});
    for (const JobId past : old) EXPECT_NE(engine->cancel(past), CancelResult::Requested);
    EXPECT_EQ(collect(*engine, 1).at(0).outcome, Outcome::Zeroed);
    old.push_back(id);
  }
}

TEST_P(EngineContract, MemoryIsNeverTouchedAfterItsCancelledCompletion) {
  auto engine = make({.gated = true});
  const MemorySpan target = memory_.part(0, 2 << 20);
  const JobId id = submit_one(*engine, {target, kPattern});
  submit_one(*engine, {memory_.part(4 << 20, 2 << 20), 0});
  under_test_->let_work(*engine);
  engine->cancel(id);
  under_test_->open_gate();
  bool cancelled = false;
  std::array<Completion, 1> one;
  const Patience patience(kLongestJob);
  for (int completions = 0; completions < 2 && !patience.over();) {
    if (engine->poll(one) == 0) {
      std::this_thread::yield();
      continue;
    }
    ++completions;
    if (one[0].id != id) continue;
    ASSERT_EQ(one[0].outcome, Outcome::Cancelled);
    cancelled = true;
    std::fill(target.begin(), target.end(), std::byte{0x5A});  // the next owner writes
  }
  ASSERT_TRUE(cancelled);
  expect_no_more(*engine);
  EXPECT_EQ(first_not(target, std::byte{0x5A}), std::nullopt);
}

TEST_P(EngineContract, EveryJobOfARandomMixCompletesOnceWithAnExactPrefix) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    memory_.fill(kUntouched);
    auto engine = make({.max_jobs = 16, .seed = seed});
    std::mt19937_64 random(seed);
    constexpr std::size_t kJobs = 120;
    constexpr std::size_t kShare = (8 << 20) / kJobs / 8 * 8;
    std::vector<ScrubJob> jobs;
    for (std::size_t index = 0; index < kJobs; ++index) {
      const std::size_t length = 1 + random() % kShare;
      jobs.push_back({memory_.part(index * kShare + random() % (kShare - length + 1), length), random(),
                      random() % 4 == 0 ? Urgency::Urgent : Urgency::Background, index});
    }
    std::vector<std::optional<Completion>> results(kJobs);
    std::vector<JobId> in_flight;
    std::array<Completion, 8> some;
    std::size_t next = 0;
    std::size_t done = 0;
    Patience patience(kLongestJob);
    while (done < kJobs && !patience.over()) {
      if (next < kJobs && random() % 2 == 0) {
        std::vector<JobId> ids(std::min<std::size_t>(1 + random() % 6, kJobs - next));
        const auto accepted = engine->submit(std::span(jobs).subspan(next, ids.size()), ids);
        if (accepted) {
          in_flight.insert(in_flight.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(*accepted));
          next += *accepted;
        } else {
          ASSERT_EQ(accepted.error().code, DriverErrc::Busy);
        }
      }
      if (!in_flight.empty() && random() % 3 == 0) engine->cancel(in_flight[random() % in_flight.size()]);
      const std::size_t got = engine->poll(some);
      for (const Completion& completion : std::span(some).first(got)) {
        ASSERT_LT(completion.cookie, kJobs);
        ASSERT_FALSE(results[completion.cookie]) << "job " << completion.cookie << " completed twice";
        results[completion.cookie] = completion;
        patience.renew();
        ++done;
      }
    }
    expect_no_more(*engine);
    for (std::size_t index = 0; index < kJobs; ++index) {
      ASSERT_TRUE(results[index]);
      const Completion& result = *results[index];
      const MemorySpan target = jobs[index].memory;
      const std::size_t bytes = result.bytes_zeroed.value();
      ASSERT_NE(result.outcome, Outcome::Failed);
      ASSERT_EQ(result.outcome == Outcome::Zeroed, bytes == target.size() && result.outcome != Outcome::Cancelled);
      ASSERT_LE(bytes, target.size());
      EXPECT_EQ(first_not_pattern(target.first(bytes), jobs[index].pattern), std::nullopt);
      expect_untouched(target.subspan(bytes), jobs[index].pattern);
    }
  }
}

/// More than 2^16: ring pointers and generations go round.
TEST_P(EngineContract, TakesManyMoreJobsThanItsRingHas) {
  auto engine = make({.max_jobs = 32});
  constexpr std::uint64_t kJobs = 70'000;
  std::vector<ScrubJob> jobs(32);
  std::vector<JobId> ids(jobs.size());
  std::array<Completion, 32> completions;
  std::uint64_t submitted = 0;
  std::uint64_t zeroed = 0;
  Patience patience(kLongestJob);
  while (zeroed < kJobs && !patience.over()) {
    const std::size_t wanted = std::min<std::uint64_t>(jobs.size(), kJobs - submitted);
    for (std::size_t index = 0; index < wanted; ++index) {
      jobs[index] = {memory_.part((submitted + index) * 64, 64), 0, Urgency::Background, submitted + index};
    }
    if (wanted > 0) {
      if (const auto accepted = engine->submit(std::span(jobs).first(wanted), ids)) submitted += *accepted;
    }
    const std::size_t got = engine->poll(completions);
    for (std::size_t index = 0; index < got; ++index) ASSERT_EQ(completions[index].outcome, Outcome::Zeroed);
    if (got > 0) patience.renew();
    zeroed += got;
  }
  expect_no_more(*engine);
  EXPECT_EQ(first_not(memory_.part(0, kJobs * 64), std::byte{0}), std::nullopt);
  EXPECT_EQ(first_not(memory_.all().subspan(kJobs * 64), kUntouched), std::nullopt);
}

TEST_P(EngineContract, ErrorCompletesWithThePrefixBeforeItAndTheNextJobRuns) {
  const MemorySpan bad = memory_.part((1 << 20) + 300'000, 64);
  auto engine = make({.bad_range = bad});
  const MemorySpan target = memory_.part(1 << 20, 1 << 20);
  submit_one(*engine, {target, kPattern, Urgency::Background, 1});
  submit_one(*engine, {memory_.part(0, 4096), kPattern, Urgency::Background, 2});
  for (const Completion& completion : collect(*engine, 2)) {
    if (completion.cookie == 2) {
      EXPECT_EQ(completion.outcome, Outcome::Zeroed);
      continue;
    }
    EXPECT_EQ(completion.outcome, Outcome::Failed);
    EXPECT_EQ(completion.cause, FailureCause::SlaveError);
    const std::size_t bytes = completion.bytes_zeroed.value();
    EXPECT_LE(bytes, 300'000U);
    EXPECT_GT(bytes, 300'000U - (64U << 10));
    EXPECT_EQ(first_not_pattern(target.first(bytes), kPattern), std::nullopt);
  }
  EXPECT_EQ(first_not(bad, kUntouched), std::nullopt);
  EXPECT_FALSE(engine->fault());
}

TEST_P(EngineContract, EngineThatStopsAnsweringFailsEverythingAndTakesNoMore) {
  auto engine = make({.stalls = true});
  for (std::size_t index = 0; index < 3; ++index) {
    submit_one(*engine, {memory_.part(index << 20, 1 << 20), 0, Urgency::Background, index});
  }
  for (const Completion& completion : collect(*engine, 3)) {
    EXPECT_EQ(completion.outcome, Outcome::Failed);
    EXPECT_EQ(completion.cause, FailureCause::Timeout);
    EXPECT_EQ(completion.bytes_zeroed, ByteCount(0)) << "nothing is known, so nothing is promised";
  }
  const ScrubJob more{memory_.part(0, 4096)};
  JobId id;
  if (GetParam().goes_on) {
    EXPECT_FALSE(engine->fault());
    ASSERT_TRUE(engine->submit({&more, 1}, {&id, 1}));
    EXPECT_EQ(collect(*engine, 1).at(0).outcome, Outcome::Zeroed);
    return;
  }
  ASSERT_TRUE(engine->fault());
  const auto refused = engine->submit({&more, 1}, {&id, 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, DriverErrc::EngineFailed);
  under_test_->open_gate();
  expect_no_more(*engine);
}

TEST_P(EngineContract, DestructionWithWorkInFlightLeavesTheMemoryAlone) {
  auto engine = make({.gated = true});
  for (std::size_t index = 0; index < 8; ++index) submit_one(*engine, {memory_.part(index << 20, 1 << 20), kPattern});
  under_test_->let_work(*engine);
  under_test_->open_gate();
  engine.reset();
  memory_.fill(std::byte{0x5A});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(first_not(memory_.all(), std::byte{0x5A}), std::nullopt);
}

TEST_P(EngineContract, ManyThreadsLoseNothing) {
  auto engine = make({.max_jobs = 32});
  std::mutex one_at_a_time;  // only where the engine asks for it
  const auto guarded = [&](auto call) {
    std::unique_lock lock(one_at_a_time, std::defer_lock);
    if (!engine->capabilities().concurrent_calls) lock.lock();
    return call();
  };
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kEach = 100;
  const Patience patience(2 * kLongestJob);
  std::vector<std::jthread> submitters;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    submitters.emplace_back([&, thread] {
      for (std::size_t index = 0; index < kEach && !patience.over();) {
        const std::size_t number = thread * kEach + index;
        const ScrubJob job{memory_.part(number * 16'384, 16'384), number, Urgency::Background, number};
        JobId id;
        if (guarded([&] { return engine->submit({&job, 1}, {&id, 1}).has_value(); })) {
          ++index;
          if (number % 5 == 0) guarded([&] { return engine->cancel(id); });
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  std::vector<int> seen(kThreads * kEach);
  std::array<Completion, 8> some;
  for (std::size_t done = 0; done < seen.size() && !patience.over();) {
    const std::size_t got = guarded([&] { return engine->poll(some); });
    for (const Completion& completion : std::span(some).first(got)) {
      ++seen.at(completion.cookie);
      const MemorySpan prefix = memory_.part(completion.cookie * 16'384, completion.bytes_zeroed.value());
      EXPECT_EQ(first_not_pattern(prefix, completion.cookie), std::nullopt);
    }
    done += got;
    if (got == 0) std::this_thread::yield();
  }
  for (const int times : seen) EXPECT_EQ(times, 1);
}

TEST_P(EngineContract, RefusesWhatItMustNotWriteAndSaysWhy) {
  auto engine = make({.window = memory_.part(4096, 4096)});
  const auto refusal = [&](MemorySpan target) {
    const ScrubJob jobs[] = {{memory_.part(4096, 64)}, {target}};
    std::array<JobId, 2> ids;
    const auto accepted = engine->submit(jobs, ids);
    EXPECT_FALSE(accepted);
    return accepted.has_value() ? Error{} : accepted.error();
  };
  EXPECT_EQ(refusal(memory_.part(4096, 0)).code, DriverErrc::InvalidArgument);
  EXPECT_EQ(refusal(memory_.part(4095, 2)).code, DriverErrc::OutsideWindow);
  EXPECT_EQ(refusal(memory_.part(8191, 2)).code, DriverErrc::OutsideWindow);
  EXPECT_NE(refusal(memory_.part(0, 10)).message.find("job 1"), std::string::npos);
  expect_no_more(*engine);
  EXPECT_EQ(first_not(memory_.all(), kUntouched), std::nullopt) << "a refused batch does nothing";
}

TEST_P(EngineContract, RefusesABatchWithoutJobsOrWithoutRoomForTheirNames) {
  auto engine = make();
  const ScrubJob jobs[] = {{memory_.part(0, 64)}, {memory_.part(64, 64)}};
  std::array<JobId, 1> ids;
  for (const auto& given : {std::span<const ScrubJob>(), std::span<const ScrubJob>(jobs)}) {
    const auto accepted = engine->submit(given, ids);
    ASSERT_FALSE(accepted);
    EXPECT_EQ(accepted.error().code, DriverErrc::InvalidArgument);
    EXPECT_NE(accepted.error().message.find(std::to_string(given.size()) + " jobs"), std::string::npos);
  }
  expect_no_more(*engine);
  EXPECT_EQ(first_not(memory_.part(0, 128), kUntouched), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(All, EngineContract, ::testing::ValuesIn(all_engines()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace sluice::test
