// SPDX-License-Identifier: Apache-2.0
// The small parts of the CPU engine: rates and signs of life by a clock far from 0, and counters at their limits.
#include "driver/cpu/cpu_support.hpp"
#include "hand_over.hpp"
#include "pulse.hpp"
#include "rate_limit.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::Memory;

using Time = std::chrono::steady_clock::time_point;

TEST(RateLimit, SpacesWorkOutAndSavesNoTimeUp) {
  RateLimit limit(ByteCount(1000));
  const std::chrono::nanoseconds idles[] = {1h, 1ns, 100'000h};
  for (const std::chrono::nanoseconds idle : idles) {
    const Time now = limit.reserve(ByteCount(0), Time()) + idle;  // all that was reserved is over
    EXPECT_EQ(limit.reserve(ByteCount(500), now), now) << "the first at once";
    EXPECT_EQ(limit.reserve(ByteCount(2000), now), now + 500ms) << "whatever was not used before";
    EXPECT_EQ(limit.reserve(ByteCount(1), now + 1s), now + 2500ms);
  }
}

TEST(Pulse, ARestIsNoSilenceHoweverLong) {
  Pulse pulse;
  for (const Time start : {Time(1h), Time(100'000h)}) {
    EXPECT_EQ(pulse.silent_for(start), 0ns) << "nothing was ever seen of it, or it rests";
    EXPECT_FALSE(pulse.runs_beside(-2, start));
    EXPECT_EQ(pulse.beat(start), 0ns) << "the first after a rest";
    EXPECT_TRUE(pulse.runs_beside(-2, start + 99us));
    EXPECT_FALSE(pulse.runs_beside(-2, start + 100us));
    EXPECT_FALSE(pulse.runs_beside(::sched_getcpu(), start)) << "that CPU is the caller's";
    EXPECT_EQ(pulse.silent_for(start + 3s), 3s);
    EXPECT_EQ(pulse.beat(start + 4s), 4s);
    pulse.rest();
  }
}

TEST(Crowd, IsForgottenAfterAWhileAndShortWaitsAreNone) {
  Crowd crowd;
  for (const Time now : {Time(1h), Time(100'000h)}) {
    EXPECT_FALSE(crowd.is_here(now));
    crowd.waited(500us, now);
    EXPECT_FALSE(crowd.is_here(now));
    crowd.waited(501us, now);
    crowd.waited(1us, now + 1us);
    EXPECT_TRUE(crowd.is_here(now + 199ms));
    EXPECT_FALSE(crowd.is_here(now + 200ms));
  }
}

TEST(HandOver, WhatWasClaimedStaysReadableWhileNoMoreThanItsCapacityArePublished) {
  HandOver<std::uint64_t> queue(5);  // 8 of them
  for (std::uint64_t position = 0; position < 100; position += 5) {
    for (std::uint64_t at = position; at < position + 5; ++at) queue.entry(at) = at;
    queue.publish_to(position + 5);
    EXPECT_EQ(queue.size(), 5U);
    queue.claim_to(position + 5);
    EXPECT_TRUE(queue.empty());
    for (std::uint64_t at = position + 5; at < position + 8; ++at) queue.entry(at) = 0;
    for (std::uint64_t at = position; at < position + 5; ++at) EXPECT_EQ(queue.entry(at), at);
  }
}

/// Slots have 16 bits in the workers' queues.
TEST(CpuEngineLimits, AsManyJobsAsThereAreSlotsAreInFlightAtOnce) {
  constexpr std::size_t kJobs = 65'536;
  const Memory memory(kJobs * 64, std::byte{0xA5});
  CpuOptions options;
  options.max_jobs = kJobs;
  std::atomic<bool> open{false};
  CpuHooks hooks;
  hooks.fill = [&](MemorySpan chunk, std::uint64_t pattern) {
    test::hold_until([&] { return open.load(); });
    fill_temporal(chunk, pattern);
    return true;
  };
  const auto engine = test::make_engine(memory.all(), options, hooks);
  std::vector<ScrubJob> jobs;
  for (std::size_t job = 0; job < kJobs; ++job) {
    jobs.push_back({memory.part(job * 64, 64), job, Urgency::Background, job});
  }
  const auto ids = test::submit_all(*engine, jobs);
  const ScrubJob more{memory.part(0, 64)};
  JobId none;
  EXPECT_EQ(engine->submit({&more, 1}, {&none, 1}).error().code, DriverErrc::Busy);
  EXPECT_EQ(engine->cancel(ids.back()), CancelResult::Requested);
  open = true;
  std::vector<int> seen(kJobs);
  for (const Completion& completion : test::collect(*engine, kJobs)) {
    ASSERT_LT(completion.cookie, kJobs);
    ++seen[completion.cookie];
    ASSERT_EQ(completion.id, ids[completion.cookie]);
    const bool last = completion.cookie == kJobs - 1;
    ASSERT_EQ(completion.outcome, last ? Outcome::Cancelled : Outcome::Zeroed);
    const MemorySpan target = jobs[completion.cookie].memory;
    ASSERT_EQ(last ? test::first_not(target, std::byte{0xA5}) : test::first_not_pattern(target, completion.cookie),
              std::nullopt);
  }
  EXPECT_EQ(seen, std::vector<int>(kJobs, 1));
}

}  // namespace
}  // namespace sluice
