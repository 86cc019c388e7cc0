// SPDX-License-Identifier: Apache-2.0
// What every engine says of itself and of its completions: limits, progress, its descriptor, and whose jobs are whose.
#include <poll.h>

#include "engine_contract.hpp"

namespace sluice::test {
namespace {

class LimitsContract : public EngineContract {
 protected:
  /// Sleeps on the descriptor until there is something to collect. An engine without one is polled instead.
  static void sleep_until_readable(const Engine& engine) {
    if (engine.completion_fd() < 0) return;
    pollfd asked{engine.completion_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&asked, 1, static_cast<int>(std::chrono::milliseconds(kLongestJob).count())), 1)
        << "completions remain, and nobody is woken up";
  }
  static bool readable_at_once(const Engine& engine) {
    pollfd asked{engine.completion_fd(), POLLIN, 0};
    return engine.completion_fd() < 0 || ::poll(&asked, 1, 0) == 1;
  }
  void submit_pages(Engine& engine, std::size_t count, Urgency urgency, Operation operation = Operation::Fill) {
    for (std::size_t page = 0; page < count; ++page) {
      submit_one(engine, {memory_.part(page * 4096, 4096), 0, urgency, page, operation});
    }
  }
};

TEST_P(LimitsContract, WhoeverSleepsOnTheDescriptorCollectsEachCompletionOneByOne) {
  auto engine = make();
  EXPECT_TRUE(engine->completion_fd() == -1 || engine->completion_fd() > 2);
  for (const Operation operation : operations(*engine)) {
    for (const Urgency urgency : {Urgency::Background, Urgency::Urgent}) {
      for (const std::size_t jobs : {1U, 3U, 20U}) {
        submit_pages(*engine, jobs, urgency, operation);
        const Patience patience(2 * kLongestJob);
        for (std::size_t collected = 0; collected < jobs && !patience.over();) {
          sleep_until_readable(*engine);
          if (HasFatalFailure()) return;
          Completion one;
          collected += engine->poll({&one, 1});
        }
      }
    }
  }
  expect_no_more(*engine);
}

TEST_P(LimitsContract, WhenManyFailAtOnceTheDescriptorIsReadableUntilTheLastIsCollected) {
  auto engine = make({.stalls = true});
  constexpr std::size_t kJobs = 12;
  for (std::size_t index = 0; index < kJobs; ++index) submit_one(*engine, {memory_.part(index << 19, 1 << 19)});
  std::size_t collected = 0;
  bool failed = false;
  const Patience patience(2 * kLongestJob);
  while (collected < kJobs && !patience.over()) {
    ASSERT_TRUE(!failed || readable_at_once(*engine)) << kJobs - collected << " remain";
    Completion one;
    const std::size_t got = engine->poll({&one, 1});
    failed = failed || (got == 1 && one.outcome == Outcome::Failed);
    collected += got;
  }
  EXPECT_TRUE(failed);
}

TEST_P(LimitsContract, JobsBeyondItsLimitsAreRefusedForGood) {
  auto engine = make({.max_jobs = 4, .gated = true});
  EXPECT_GE(engine->capabilities().parallel_jobs, 1U);
  const ByteCount longest = engine->capabilities().max_job_length;
  const ScrubJob too_long{MemorySpan(memory_.all().data(), longest.value() + 1)};
  JobId id;
  const auto refused = engine->submit({&too_long, 1}, {&id, 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, DriverErrc::InvalidArgument);
  EXPECT_EQ(engine->capabilities().max_jobs_in_flight, 4U);
  submit_pages(*engine, 4, Urgency::Urgent);
  const ScrubJob one_more{memory_.part(0, 4096), 0, Urgency::Urgent};
  EXPECT_EQ(engine->submit({&one_more, 1}, {&id, 1}).error().code, DriverErrc::Busy);
  under_test_->open_gate();
  collect(*engine, 4);
}

TEST_P(LimitsContract, ReachesWhatItTakesAndNothingElse) {
  auto engine = make({.window = memory_.part(8192, 8192)});
  const std::pair<std::size_t, std::size_t> parts[] = {{8192, 8192}, {8192, 1},   {16'383, 1}, {8191, 1},
                                                       {8191, 2},    {16'384, 1}, {16'383, 2}, {0, 65'536}};
  for (const auto& [offset, length] : parts) {
    const bool inside = offset >= 8192 && offset + length <= 16'384;
    EXPECT_EQ(engine->reaches(memory_.part(offset, length)), inside) << offset << " +" << length;
    const ScrubJob job{memory_.part(offset, length)};
    JobId id;
    const auto accepted = engine->submit({&job, 1}, {&id, 1});
    EXPECT_EQ(accepted.has_value(), inside);
    if (accepted) {
      collect(*engine, 1);
    } else {
      EXPECT_EQ(accepted.error().code, DriverErrc::OutsideWindow);
    }
  }
}

TEST_P(LimitsContract, ProgressGrowsWithTheWorkAndAnIdleEngineIsHealthyBeforeAndAfter) {
  auto engine = make();
  std::array<Completion, 4> some;
  for (const Operation operation : operations(*engine)) {
    for (int attempt = 0; attempt < 200; ++attempt) ASSERT_EQ(engine->poll(some), 0U);
    EXPECT_FALSE(engine->fault());
    const std::uint64_t before = engine->progress();
    // The first fills, so the second finds what it expects.
    submit_one(*engine, {memory_.part(0, 1 << 20), 0, Urgency::Background, 0, operation});
    EXPECT_EQ(collect(*engine, 1).at(0).outcome, Outcome::Zeroed);
    EXPECT_GT(engine->progress(), before);
  }
}

TEST_P(LimitsContract, OfJobsThatOverlapTheLaterOneIsNotSpoiltByTheEarlier) {
  auto engine = make();
  const MemorySpan parts[] = {memory_.part(0, 400'000), memory_.part(200'000, 400'000)};
  for (const bool at_once : {true, false}) {
    for (const std::size_t first : {0U, 1U}) {
      memory_.fill(kUntouched);
      const std::uint64_t patterns[] = {0x1111111111111111, 0x2222222222222222};
      submit_one(*engine, {parts[first], patterns[0]});
      if (!at_once) collect(*engine, 1);
      submit_one(*engine, {parts[1 - first], patterns[1]});
      for (const Completion& completion : collect(*engine, at_once ? 2 : 1)) {
        EXPECT_EQ(completion.outcome, Outcome::Zeroed);
      }
      const MemorySpan both = memory_.part(200'000, 200'000);
      for (const std::byte& byte : both) {
        const bool later = byte == pattern_byte(patterns[1], &byte);
        ASSERT_TRUE(later || (at_once && byte == pattern_byte(patterns[0], &byte)));
      }
      const MemorySpan alone[] = {memory_.part(0, 200'000), memory_.part(400'000, 200'000)};
      EXPECT_EQ(first_not_pattern(alone[first], patterns[0]), std::nullopt);
      EXPECT_EQ(first_not_pattern(alone[1 - first], patterns[1]), std::nullopt);
    }
  }
}

TEST_P(LimitsContract, ACancelHitsTheJobThatItNamesAmongItsNeighbours) {
  auto engine = make({.max_jobs = 16, .gated = true});
  std::vector<JobId> ids;
  for (std::size_t index = 0; index < 12; ++index) {
    ids.push_back(submit_one(*engine, {memory_.part(index * 600'000, 600'000), 0, Urgency::Background, index}));
  }
  EXPECT_EQ(engine->cancel(ids[10]), CancelResult::Requested);
  under_test_->open_gate();
  for (const Completion& completion : collect(*engine, 12)) {
    ASSERT_LT(completion.cookie, ids.size());
    EXPECT_EQ(completion.id, ids[completion.cookie]);
    EXPECT_EQ(completion.outcome, completion.cookie == 10 ? Outcome::Cancelled : Outcome::Zeroed);
  }
}

INSTANTIATE_TEST_SUITE_P(All, LimitsContract, ::testing::ValuesIn(all_engines()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace sluice::test
