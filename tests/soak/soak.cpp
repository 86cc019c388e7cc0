// SPDX-License-Identifier: Apache-2.0
// Replays of random traces with random engines, buses and faults until the time is up. The same seed gives the same
// story: a failing one is printed with the way to see it again.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <atomic>
#include <chrono>

#include "sluice/bench/engine_choice.hpp"
#include "sluice/workload/random.hpp"
#include "sluice/workload/replay.hpp"
#include "sluice/workload/trace_generator.hpp"

namespace sluice {
namespace {

constexpr std::uint64_t kScale = 16'384;

struct Story {
  Trace trace;
  std::uint64_t pool_bytes = 0;
  ReplayOptions replay;
  std::string rtl;
  bool faulty = false;
};

Story draw(std::uint64_t seed) {
  Random random(seed);
  GeneratorOptions options;
  options.vms = 20 + random.below(200);
  options.hours = 0.5 + random.uniform() * 3;
  options.population.seed = seed;
  options.population.customers = 1 + random.below(30);
  options.population.group_share = random.uniform();
  options.population.pool_share = random.uniform() * 0.5;
  options.population.reboots_per_day = random.uniform() * 40;
  options.population.balloons_per_day = random.uniform() * 40;
  options.population.group_changes_per_day = random.uniform() * 10;
  Story story;
  story.trace = *generate_trace(options);
  TraceChecker checker(kScale);
  for (const TraceEvent& event : story.trace.events) static_cast<void>(checker.add(event));
  story.faulty = random.chance(0.3);
  const std::uint64_t spare = story.faulty ? 8ULL << 20 : random.below(1ULL << 20) / 4096 * 4096;
  story.pool_bytes = checker.peak().value() + spare;
  story.replay = {.memory_scale = kScale,
                  .scrub_rate = 16e6 * static_cast<double>(1 + random.below(100)),
                  .job_length = ByteCount(4096 * (1 + random.below(256)))};
  constexpr std::array kBuilds = {"64", "128", "256", "512", "512-shared", "512-lean", "1024"};
  const auto cycles = [&] { return static_cast<std::uint32_t>(random.below(200)); };
  story.rtl = fmt::format(
      "rtl:build={},seed={},read-latency=0:{},write-latency=0:{},completion-latency=0:{},ready={:.3f},interleave={}",
      kBuilds[random.below(kBuilds.size())], seed, cycles(), cycles(), cycles(), 0.3 + 0.7 * random.uniform(),
      random.chance(0.5) ? "yes" : "no");
  if (story.faulty) story.rtl += fmt::format(",bus-error-rate={:.6f}", random.uniform() * 0.001);
  return story;
}

ReplayResult play(const Story& story, const std::string& name) {
  const auto memory = FileMemory::create(ByteCount(story.pool_bytes), 1);
  if (!memory) throw std::runtime_error(memory.error().message);
  const EngineRegistry registry = make_engine_registry();
  auto engine = make_engine(registry, {*EngineName::parse(name)}, **memory);
  if (!engine) throw std::runtime_error(engine.error().message);
  const std::atomic<bool> stop{false};
  return Replay(story.trace, **memory, **engine, story.replay).run(stop, [](std::size_t) {});
}

/// What went wrong with this seed; empty: nothing.
std::string run(std::uint64_t seed, const std::string& wave_file) {
  Story story = draw(seed);
  if (!wave_file.empty()) story.rtl += ",wave=" + wave_file;
  const ReplayResult rtl = play(story, story.rtl);
  if (story.faulty) {
    const bool fine = rtl.end == ReplayEnd::Finished || rtl.end == ReplayEnd::OutOfMemory;
    return fine && rtl.leaks == 0 ? "" : rtl.message;
  }
  const ReplayResult cpu = play(story, "cpu");
  if (rtl.end != ReplayEnd::Finished) return "rtl: " + rtl.message;
  if (cpu.end != ReplayEnd::Finished) return "cpu: " + cpu.message;
  const bool same = rtl.statistics.recycled == cpu.statistics.recycled &&
                    rtl.statistics.scrubbed_for_claim == cpu.statistics.scrubbed_for_claim &&
                    rtl.statistics.granted_clean == cpu.statistics.granted_clean &&
                    rtl.statistics.scrubbed == cpu.statistics.scrubbed;
  return same ? "" : "rtl and cpu came to different decisions";
}

int soak(std::uint64_t seconds, std::uint64_t seed, const std::string& wave_file) {
  const auto start = std::chrono::steady_clock::now();
  const auto end = start + std::chrono::seconds(seconds);
  auto report = start;
  std::uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++seed, ++runs) {
    if (const std::string problem = run(seed, wave_file); !problem.empty()) {
      fmt::print("seed {} failed: {}\nsee it again, with waves: soak --seconds 1 --seed {} --wave FILE.fst\n", seed,
                 problem, seed);
      return 1;
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - report < std::chrono::seconds(10)) continue;
    report = now;
    fmt::print("{} runs in {} of {} s, next seed {}\n", runs + 1,
               std::chrono::duration_cast<std::chrono::seconds>(now - start).count(), seconds, seed + 1);
    std::fflush(stdout);
  }
  fmt::print("{} runs without a failure\n", runs);
  return 0;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  CLI::App app("Random replays until the time is up.", "soak");
  std::uint64_t seconds = 600;
  std::uint64_t seed = 1;
  app.add_option("--seconds", seconds, "How long")->capture_default_str();
  app.add_option("--seed", seed, "The first seed")->capture_default_str();
  std::string wave_file;
  app.add_option("--wave", wave_file, "Write the signals of each run to this FST file, the last run's stays");
  CLI11_PARSE(app, argc, argv);
  try {
    return sluice::soak(seconds, seed, wave_file);
  } catch (const std::exception& error) {
    fmt::print(stderr, "soak: {}\n", error.what());
    return 2;
  }
}
