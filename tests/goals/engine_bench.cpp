// SPDX-License-Identifier: Apache-2.0
// What the engines reach. Wall-clock figures are interleaved at random and shown as ratios to libc memset in the same
// run; cycles of the simulated engine are exact.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <map>

#include "goals/cpu_figures.hpp"
#include "goals/dmadev_figures.hpp"
#include "goals/engine_table.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/device/simulated_device.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "support/memory.hpp"
#include "support/rtl_figures.hpp"

namespace sluice {
namespace {

constexpr std::size_t kArena = 1ULL << 30;  // larger than any cache: every pass finds cold memory

MemorySpan arena() {
  static const test::Memory memory(kArena, std::byte{1}, test::Pages::Huge);
  return memory.all();
}

/// Calls `fill` with one block after the other, round and round through the arena.
template <class Fill>
void over_cold_memory(benchmark::State& state, Fill fill) {
  const auto block = static_cast<std::size_t>(state.range(0));
  std::size_t at = 0;
  for (auto _ : state) {
    fill(arena().subspan(at, block));
    at = at + 2 * block <= kArena ? at + block : 0;
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(block) * state.iterations());
}

void libc_memset(benchmark::State& state) {
  over_cold_memory(state, [](MemorySpan block) {
    std::memset(block.data(), 0, block.size());
    benchmark::ClobberMemory();
  });
}

/// What a kernel with fast string stores does.
void rep_stosb(benchmark::State& state) {
  over_cold_memory(state, [](MemorySpan block) {
    void* to = block.data();
    std::size_t count = block.size();
    asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0) : "memory");  // NOLINT
  });
}

/// What a hypervisor does page by page: movnti, and a fence for each.
void movnti_page_by_page(benchmark::State& state) {
  over_cold_memory(state, [](MemorySpan block) {
    for (std::size_t at = 0; at < block.size(); at += 4096) {
      fill_nontemporal(StoreKind::Movnti, block.subspan(at, std::min<std::size_t>(4096, block.size() - at)), 0);
      store_fence();
    }
  });
}

void store(benchmark::State& state, StoreKind kind) {
  over_cold_memory(state, [kind](MemorySpan block) { fill_nontemporal(kind, block, 0); });
  store_fence();
}

void cpu_engine(benchmark::State& state) {
  const MemorySpan windows[] = {arena()};
  auto engine = CpuEngine::create({}, windows);
  std::array<Completion, 64> completions;
  std::size_t in_flight = 0;
  over_cold_memory(state, [&](MemorySpan block) {
    const ScrubJob job{block};
    JobId id;
    while (!(*engine)->submit({&job, 1}, {&id, 1})) in_flight -= (*engine)->poll(completions);
    ++in_flight;
  });
  while (in_flight > 0) in_flight -= (*engine)->poll(completions);
}

/// Prints the table of Google Benchmark, and keeps the medians for the ratios.
class RatioReporter final : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      const auto rate = run.counters.find("bytes_per_second");
      if (run.aggregate_name == "median" && rate != run.counters.end()) {
        medians_[run.run_name.args][run.run_name.function_name] = rate->second;
      }
    }
  }

  void print_ratios() const {
    fmt::print("\nratio to libc memset, medians of one run\n{:>12} {:>14} {:>16}\n", "block", "", "ratio");
    for (const auto& [block, rates] : medians_) {
      for (const auto& [name, rate] : rates) {
        fmt::print("{:>10} B  {:<20} {:>8.2f}\n", block, name, rate / rates.at("libc_memset"));
      }
    }
  }

 private:
  std::map<std::string, std::map<std::string, double>> medians_;
};

void print_figures(const std::string& build, const std::string& masters) {
  fmt::print("\nsimulated engine, 512 bits, 4 queues, {}: exact, in clock cycles\n{:<52} {:>9} {:>12}\n", masters, "",
             "measured", "goal");
  for (const test::RtlFigure& figure : test::measure_rtl(build)) {
    fmt::print("{:<52} {:>9.4g} {:>3} {:>8.4g} {}\n", figure.name, figure.value,
               figure.at_least ? ">=" : "<=", figure.goal, figure.reached() ? "" : "MISSED");
  }
}

/// Mcycle/s of a simulated fill, with the assertions on.
double simulation_speed(const test::Memory& memory) {
  auto device = SimulatedDevice::create({});
  SimulatedDevice& simulated = **device;
  const MemorySpan windows[] = {memory.all()};
  auto engine = RingEngine::create(std::move(*device), {}, windows);
  const ScrubJob job{memory.all()};
  JobId id;
  if (!(*engine)->submit({&job, 1}, {&id, 1})) return 0.0;
  const std::uint64_t start_cycles = simulated.cycles();
  const auto start = std::chrono::steady_clock::now();
  Completion completion;
  while ((*engine)->poll({&completion, 1}) == 0) {
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return static_cast<double>(simulated.cycles() - start_cycles) / seconds.count() / 1e6;
}

void print_simulation_speed() {
  const test::Memory memory(32 << 20);
  std::array<double, 7> speeds;
  for (double& speed : speeds) speed = simulation_speed(memory);
  std::sort(speeds.begin(), speeds.end());
  fmt::print(
      "\nsimulation with assertions, 512 bits, 4 queues, one of them filling: {:.2f} Mcycle/s, median of {} runs from "
      "{:.2f} to {:.2f} (goal >= 1)\n",
      speeds[speeds.size() / 2], speeds.size(), speeds.front(), speeds.back());
}

void register_all() {
  static_cast<void>(arena());  // populated before anything is timed
  const auto add = [](const std::string& name, auto function) {
    benchmark::RegisterBenchmark(name.c_str(), function)->Arg(4096)->Arg(65'536)->Arg(2 << 20)->UseRealTime();
  };
  add("libc_memset", libc_memset);
  add("rep_stosb", rep_stosb);
  add("movnti_page_by_page", movnti_page_by_page);
  for (const StoreKind kind : kStoreKinds) {
    if (has_store(kind)) add(to_string(kind), [kind](benchmark::State& state) { store(state, kind); });
  }
  add("cpu_engine", cpu_engine);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  std::vector<const char*> arguments = {argv[0], "--benchmark_enable_random_interleaving=true",
                                        "--benchmark_repetitions=7", "--benchmark_min_time=0.1",
                                        "--benchmark_report_aggregates_only=true"};
  arguments.insert(arguments.end(), argv + 1, argv + argc);
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, const_cast<char**>(arguments.data()));
  if (benchmark::ReportUnrecognizedArguments(count, const_cast<char**>(arguments.data()))) return 2;
  sluice::register_all();
  sluice::RatioReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  reporter.print_ratios();
  sluice::bench::print_cpu_figures(sluice::arena());
#ifdef SLUICE_DMADEV_PLUGIN
  sluice::bench::print_dmadev_figures(sluice::arena());
#endif
  sluice::bench::print_engine_table(sluice::arena());
  sluice::print_figures("512", "rings and data on two masters");
  sluice::print_figures("512-shared", "all on one master (beats of data and completions)");
  sluice::print_simulation_speed();
  return 0;
}
