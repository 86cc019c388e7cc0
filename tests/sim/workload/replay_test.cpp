// SPDX-License-Identifier: Apache-2.0
// Traces through manager, ring and engine to clean memory, with the oracle reading along.
#include "sluice/workload/replay.hpp"

#include <gtest/gtest.h>

#include "sluice/bench/engine_choice.hpp"
#include "sluice/bench/modelled_host.hpp"
#include "sluice/workload/report.hpp"
#include "sluice/workload/trace_generator.hpp"
#include "support/faulty_engine.hpp"

namespace sluice {
namespace {

constexpr std::uint64_t kScale = 16'384;

Trace small_trace(std::uint64_t seed) {
  GeneratorOptions options;
  options.vms = 150;
  options.population.seed = seed;
  return *generate_trace(options);
}

std::unique_ptr<Engine> engine_of(const std::string& name, const BackingMemory& memory) {
  if (name == "idle") return std::make_unique<bench::NullEngine>();  // says that it zeroes, and writes nothing
  auto engine = make_engine(make_engine_registry(), {*EngineName::parse(name)}, memory);
  EXPECT_TRUE(engine) << engine.error().message;
  return std::move(*engine);
}

ReplayResult replay(const Trace& trace, const std::string& name, std::uint64_t spare_bytes = 64 << 10,
                    double scrub_rate = 128.0 * 1024 * 1024) {
  TraceChecker checker(kScale);
  for (const TraceEvent& event : trace.events) EXPECT_FALSE(checker.add(event));
  const auto memory = FileMemory::create(checker.peak() + ByteCount(spare_bytes), 1);
  EXPECT_TRUE(memory);
  const auto engine = engine_of(name, **memory);
  const std::atomic<bool> stop{false};
  return Replay(trace, **memory, *engine, {kScale, scrub_rate, ByteCount(256 << 10)}).run(stop, [](std::size_t) {});
}

TEST(Replay, FindsNoLeakAndUsesEveryWayOfGettingMemory) {
  ByteCount scrubbed_first;
  Statistics sum;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const ReplayResult result = replay(small_trace(seed), "cpu", 64 << 10, 32.0 * 1024 * 1024);
    EXPECT_EQ(result.end, ReplayEnd::Finished) << result.message;
    EXPECT_EQ(result.leaks, 0U);
    for (std::size_t reason = 0; reason < kReasons; ++reason) {
      sum.recycled[reason] += result.statistics.recycled[reason];
      scrubbed_first += result.statistics.scrubbed_for_claim[reason];
    }
    sum.granted_clean += result.statistics.granted_clean;
    sum.scrubs_cancelled += result.statistics.scrubs_cancelled;
    sum.taken_from_queue += result.statistics.taken_from_queue;
  }
  for (const Reason reason : kRecycleReasons) {
    EXPECT_GT(sum.recycled_for(reason), ByteCount(0)) << to_string(reason);
  }
  EXPECT_GT(sum.granted_clean, ByteCount(0));
  EXPECT_GT(scrubbed_first, ByteCount(0));
  EXPECT_GT(sum.scrubs_cancelled, 0U);
  EXPECT_GT(sum.taken_from_queue, ByteCount(0));
}

TEST(Replay, TakesTheSameDecisionsWithTheRtlAndTheCpu) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Trace trace = small_trace(seed);
    const ReplayResult cpu = replay(trace, "cpu");
    const ReplayResult rtl =
        replay(trace, "rtl:read-latency=0:100,write-latency=0:100,completion-latency=0:100,ready=0.7,seed=" +
                          std::to_string(seed));
    ASSERT_EQ(cpu.end, ReplayEnd::Finished) << cpu.message;
    ASSERT_EQ(rtl.end, ReplayEnd::Finished) << rtl.message;
    EXPECT_EQ(cpu.statistics.recycled, rtl.statistics.recycled);
    EXPECT_EQ(cpu.statistics.scrubbed_for_claim, rtl.statistics.scrubbed_for_claim);
    EXPECT_EQ(cpu.statistics.granted_clean, rtl.statistics.granted_clean);
    EXPECT_EQ(cpu.statistics.scrubbed, rtl.statistics.scrubbed);
    EXPECT_EQ(cpu.statistics.scrub_jobs, rtl.statistics.scrub_jobs);
    EXPECT_EQ(cpu.statistics.scrubs_cancelled, rtl.statistics.scrubs_cancelled);
    EXPECT_EQ(cpu.statistics.taken_from_queue, rtl.statistics.taken_from_queue);
    for (std::size_t kind = 0; kind < kGrantKinds; ++kind) {
      EXPECT_EQ(cpu.latencies[kind].size(), rtl.latencies[kind].size());
    }
  }
}

TEST(Replay, OracleFailsAtOnceWhenNothingIsScrubbed) {
  const ReplayResult result = replay(small_trace(1), "idle");
  EXPECT_EQ(result.end, ReplayEnd::Leak);
  EXPECT_EQ(result.leaks, 1U);
  EXPECT_NE(result.message.find("holds data of VM"), std::string::npos) << result.message;
}

TEST(Replay, BusErrorsQuarantineAndLeakNothing) {
  const ReplayResult result = replay(small_trace(1), "rtl:seed=3,bus-error-rate=0.0005", 16 << 20);
  EXPECT_EQ(result.end, ReplayEnd::Finished) << result.message;
  EXPECT_EQ(result.leaks, 0U);
  EXPECT_GT(result.statistics.quarantined + result.quarantined_at_start, ByteCount(0));
}

TEST(Replay, BusThatStopsAnsweringEndsTheRun) {
  const ReplayResult result = replay(small_trace(1), "rtl:bus-hang-after=3500,stall-timeout-us=50");
  EXPECT_EQ(result.end, ReplayEnd::EngineFailed);
  EXPECT_NE(result.message.find("moved nothing"), std::string::npos) << result.message;
  EXPECT_EQ(result.leaks, 0U);
}

class ReplayMisdeeds : public ::testing::TestWithParam<test::EngineMisdeed> {};

/// Whatever an engine does wrong, the oracle finds no data of another VM in granted memory.
TEST_P(ReplayMisdeeds, LeakNothingAndTheNextEngineTakesOver) {
  for (const std::uint64_t nth : {5U, 60U, 150U}) {
    SCOPED_TRACE("at completion " + std::to_string(nth));
    const Trace trace = small_trace(nth);
    TraceChecker checker(kScale);
    for (const TraceEvent& event : trace.events) ASSERT_FALSE(checker.add(event));
    const auto memory = FileMemory::create(checker.peak() + ByteCount(64 << 20), 1);
    ASSERT_TRUE(memory);
    const auto make_faulty = [&]() -> Result<std::unique_ptr<Engine>> {
      return std::unique_ptr<Engine>(
          std::make_unique<test::FaultyEngine>(engine_of("cpu", **memory), GetParam(), nth, nth));
    };
    FailoverOptions options;
    options.stall_timeout = std::chrono::seconds(1);
    auto engine = FailoverEngine::create(
        {{"faulty", make_faulty},
         {"cpu", [&]() -> Result<std::unique_ptr<Engine>> { return engine_of("cpu", **memory); }}},
        options);
    ASSERT_TRUE(engine);
    const std::atomic<bool> stop{false};
    const ReplayResult result = Replay(trace, **memory, **engine, {kScale, 128.0 * 1024 * 1024, ByteCount(256 << 10)})
                                    .run(stop, [](std::size_t) {});
    EXPECT_EQ(result.end, ReplayEnd::Finished) << result.message;
    EXPECT_EQ(result.leaks, 0U);
    const bool given_up = is_harmful(GetParam()) && GetParam() != test::EngineMisdeed::Error;
    EXPECT_EQ((*engine)->failovers().size(), given_up ? 1U : 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ReplayMisdeeds, ::testing::ValuesIn(test::kMisdeeds),
                         [](const auto& misdeed) { return to_string(misdeed.param); });

TEST(Replay, ScheduledScrubsHappenByTheClockOfTheTrace) {
  Trace trace;
  trace.events = {{0, TraceEventKind::Create, VmId(1), CustomerId(1), {}, {}, kMiB},
                  {10'000, TraceEventKind::Terminate, VmId(1), {}, {}, {}, {}},
                  {1'000'000, TraceEventKind::Create, VmId(2), CustomerId(2), {}, {}, kMiB}};
  const auto scrubbed_for_the_second = [&](const std::string& delay) {
    const auto memory = FileMemory::create(kMiB, 1);
    const auto engine = engine_of("cpu", **memory);
    ReplayOptions options{1, 128.0 * 1024 * 1024, ByteCount(256 << 10), {}};
    EXPECT_TRUE(options.policies.attach(
        Caller::provider(), PolicyTarget{},
        *Policy::from_json(R"({"scrub_timing": "scheduled", "scrub_delay_s": )" + delay + "}")));
    const std::atomic<bool> stop{false};
    const ReplayResult result = Replay(trace, **memory, *engine, options).run(stop, [](std::size_t) {});
    EXPECT_EQ(result.end, ReplayEnd::Finished) << result.message;
    return result.statistics.scrubbed_for_claim[static_cast<std::size_t>(Reason::OtherDomain)];
  };
  EXPECT_EQ(scrubbed_for_the_second("600"), ByteCount(0));
  EXPECT_EQ(scrubbed_for_the_second("2000"), kMiB);
}

TEST(Replay, CanBeInterrupted) {
  const Trace trace = small_trace(1);
  const auto memory = FileMemory::create(ByteCount(64 << 20), 1);
  const auto engine = engine_of("cpu", **memory);
  std::atomic<bool> stop{false};
  const ReplayResult result =
      Replay(trace, **memory, *engine, {.memory_scale = kScale}).run(stop, [&](std::size_t done) {
        if (done == 30) stop = true;
      });
  EXPECT_EQ(result.end, ReplayEnd::Interrupted);
  EXPECT_EQ(result.events_done, 30U);
  EXPECT_NE(result.message.find("30 of"), std::string::npos);
}

TEST(Report, NamesEveryFigureWithItsUnit) {
  const Trace trace = small_trace(1);
  const ReplayResult result = replay(trace, "cpu");
  RunDescription run;
  run.engine = "cpu/x";
  run.pool = ByteCount(1 << 20);
  const std::string text = report_text(trace, run, result);
  for (const char* name :
       {"same VM after reboot", "dedicated pool", "trust group", "bytes scrubbed", "cancelled", "saved", "p50", "p99",
        "max", "with a skip", "without", "throughput", "GiB/s", "leaks found", "drawn", "quarantined"}) {
    EXPECT_NE(text.find(name), std::string::npos) << name;
  }
  const auto json = report_json(trace, run, result);
  EXPECT_EQ(json.at("oracle").at("leaks").as_uint64(), 0U);
  EXPECT_GT(json.at("granted_bytes").at("skipped").at("trust_group").as_uint64(), 0U);
}

TEST(Report, WritesBytesForPeople) {
  EXPECT_EQ(human_bytes(ByteCount(0)), "0 B");
  EXPECT_EQ(human_bytes(ByteCount(1023)), "1023 B");
  EXPECT_EQ(human_bytes(ByteCount(1536)), "1.5 KiB");
  EXPECT_EQ(human_bytes(ByteCount(64ULL << 30)), "64.0 GiB");
}

}  // namespace
}  // namespace sluice
