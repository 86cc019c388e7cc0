// SPDX-License-Identifier: Apache-2.0
#include "engine_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <vector>

#include "goals/measuring.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/device/rtl_factory.hpp"
#include "sluice/engine/engine_registry.hpp"
#include "sluice/ring/ring_engine.hpp"

namespace sluice::bench {
namespace {

using Nanoseconds = std::chrono::nanoseconds;

constexpr std::size_t kSizes[] = {4 << 10, 64 << 10, 2 << 20, 64 << 20, 1 << 30};
constexpr std::size_t kMostJobs = 4096;
constexpr double kMhz = 300.0;
constexpr std::size_t kMostForXrt = 64 << 20;  // the same cycles as rtl's, at a tenth of the speed

struct Row {
  double gib_per_second = 0.0;  // of many jobs
  double latency_us = 0.0;      // of one job, the median
};

double gib_per_second(std::size_t bytes, Nanoseconds time) {
  return static_cast<double>(bytes) / static_cast<double>(1 << 30) / std::chrono::duration<double>(time).count();
}

/// The time that counts: an engine's own, or the cycles of one that is simulated in another process.
Nanoseconds now(Engine& engine) {
  auto* const ring = dynamic_cast<RingEngine*>(&engine);
  if (ring == nullptr || engine.capabilities().clock_mhz > 0.0) return engine.now();
  return Nanoseconds(static_cast<std::int64_t>(static_cast<double>(ring->counters().cycles) * 1000.0 / kMhz));
}

/// Jobs of `size` one after the other through `memory`, as many in flight as the engine takes; how long that took.
Nanoseconds time_jobs(Engine& engine, MemorySpan memory, std::size_t size, std::size_t jobs) {
  std::array<ScrubJob, 32> batch;
  std::array<JobId, 32> ids;
  std::array<Completion, 32> completions;
  const std::size_t places = memory.size() / size;
  std::size_t submitted = 0;
  const Nanoseconds start = now(engine);
  for (std::size_t done = 0; done < jobs;) {
    const std::size_t count = std::min(batch.size(), jobs - submitted);
    for (std::size_t index = 0; index < count; ++index) {
      batch[index].memory = memory.subspan((submitted + index) % places * size, size);
    }
    if (count > 0) {
      if (const auto accepted = engine.submit(std::span(batch).first(count), ids)) submitted += *accepted;
    }
    done += engine.poll(completions);
    if (engine.fault()) return Nanoseconds::max();
  }
  return now(engine) - start;
}

Row measure(Engine& engine, MemorySpan memory, std::size_t size) {
  const bool simulated = dynamic_cast<RingEngine*>(&engine) != nullptr;  // exact, and slow
  const std::size_t bytes = simulated ? std::max<std::size_t>(size, 1 << 20) : memory.size();
  const std::size_t jobs = std::clamp<std::size_t>(bytes / size, 1, kMostJobs);
  Row row;
  row.gib_per_second = gib_per_second(jobs * size, time_jobs(engine, memory, size, jobs));
  std::vector<double> latencies(simulated ? 1 : std::clamp<std::size_t>((256 << 20) / size, 3, 101));
  std::size_t at = 0;
  for (double& latency : latencies) {
    const Nanoseconds time = time_jobs(engine, memory.subspan(at, size), size, 1);
    latency = static_cast<double>(time.count()) / 1000.0;
    at = at + 2 * size <= memory.size() ? at + size : 0;
  }
  std::nth_element(latencies.begin(), latencies.begin() + static_cast<std::ptrdiff_t>(latencies.size() / 2),
                   latencies.end());
  row.latency_us = latencies[latencies.size() / 2];
  return row;
}

Row measure_memset(MemorySpan memory, std::size_t size) {
  const std::size_t jobs = std::clamp<std::size_t>(memory.size() / size, 1, kMostJobs);
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t job = 0; job < jobs; ++job) std::memset(&memory[job * size], 0, size);
  const Nanoseconds time = std::chrono::steady_clock::now() - start;
  return {gib_per_second(jobs * size, time), static_cast<double>(time.count()) / 1000.0 / static_cast<double>(jobs)};
}

void print(const std::string& name, std::size_t size, const Row& row, const Row& memset, const std::string& clock) {
  fmt::print("{:<24} {:>9} KiB {:>9.2f} GiB/s {:>7.2f} {:>12.1f} us{}\n", name, size >> 10, row.gib_per_second,
             row.gib_per_second / memset.gib_per_second, row.latency_us, clock);
}

}  // namespace

void print_engine_table(MemorySpan arena) {
  struct Choice {
    std::string label;
    std::string name;
  };
  std::vector<Choice> choices = {{"cpu", "cpu"}, {"cpu:threads=2", "cpu:threads=2"}};
  EngineRegistry registry;
  registry.add(make_cpu_factory());
  registry.add(make_rtl_factory());
#ifdef SLUICE_DMADEV_PLUGIN
  registry.add_plugin("dmadev", SLUICE_DMADEV_PLUGIN);
  choices.push_back({"dmadev:dma_skeleton", "dmadev:dma_skeleton"});
  choices.push_back({"dmadev:dma_sluice on cpu", "dmadev:dma_sluice,arguments=engine=cpu"});
#endif
  choices.push_back({"rtl", "rtl"});
#ifdef SLUICE_XRT_PLUGIN
  registry.add_plugin("xrt", SLUICE_XRT_PLUGIN);
  choices.push_back({"xrt:emulate=yes", "xrt:emulate=yes"});
#endif
  fmt::print("\nengines, many jobs and one job, on cold memory\n{:<24} {:>13} {:>15} {:>7} {:>15}\n", "", "job",
             "many jobs", "memset", "one job");
  const Load load;
  std::map<std::string, MemorySpan> own;  // of engines that reach no other
  for (const std::size_t size : kSizes) {
    const Row memset = measure_memset(arena, size);
    print("libc memset", size, memset, memset, "");
    for (const auto& [label, text] : choices) {
      const EngineName name = *EngineName::parse(text);
      if (name.kind == "xrt" && size > kMostForXrt) continue;
      if (!own.contains(text)) {
        const auto allocated = registry.allocate(name, ByteCount(kMostForXrt));
        own[text] = !allocated || allocated->empty() ? arena : *allocated;
      }
      const MemorySpan windows[] = {own[text]};
      auto engine = registry.create(name, windows);
      if (!engine) {
        fmt::print("{:<24} not available: {}\n", label, engine.error().message);
        continue;
      }
      const bool simulated = dynamic_cast<RingEngine*>(engine->get()) != nullptr;
      print(label, size, measure(**engine, windows[0], size), memset,
            simulated ? fmt::format(" (cycles at {:.0f} MHz)", kMhz) : "");
    }
  }
  if (load.of_others() > kMostLoad) {
    fmt::print("NOT TO BE USED: others had {:.0f} % of the CPUs; only cycles are exact\n", 100 * load.of_others());
  }
}

}  // namespace sluice::bench
