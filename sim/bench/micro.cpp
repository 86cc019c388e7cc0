// SPDX-License-Identifier: Apache-2.0
// Engines and their peers, job by job. Google Benchmark runs them, each measurement once in every round, in an order
// that it draws anew.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <stdexcept>
#include <thread>

#include "sluice/bench/bench.hpp"
#include "sluice/bench/cpu_time.hpp"
#include "sluice/bench/statistics.hpp"

namespace sluice::bench {
namespace {

struct Measured {
  double seconds = 0.0;  ///< For each iteration.
  std::map<std::string, double> counters;
  std::string error;
};

class Collector final : public ::benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& /*context*/) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      Measured& measured = results[run.run_name.function_name];
      measured.seconds = run.real_accumulated_time / static_cast<double>(std::max<std::int64_t>(run.iterations, 1));
      for (const auto& [name, counter] : run.counters) measured.counters[name] = counter.value;
      measured.error = run.error_occurred ? run.error_message : "";
    }
  }
  std::map<std::string, Measured> results;  ///< by name
};

/// Runs what is registered as `group`/..., once each. By what follows the group.
std::map<std::string, Measured> run(const std::string& group) {
  static const bool initialized = [] {
    char name[] = "sluice";
    char random_order[] = "--benchmark_enable_random_interleaving=true";
    char* arguments[] = {name, random_order};
    int count = 2;
    ::benchmark::Initialize(&count, arguments);
    return true;
  }();
  static_cast<void>(initialized);
  Collector collector;
  ::benchmark::RunSpecifiedBenchmarks(&collector, "^" + group + "/");
  std::map<std::string, Measured> results;
  for (auto& [name, measured] : collector.results) results[name.substr(group.size() + 1)] = std::move(measured);
  return results;
}

/// What one measurement took, for each block.
struct Cleared {
  double seconds = 0.0;
  double cpu_seconds = 0.0;  ///< 0: not looked at.
};
using Clear = std::function<Result<Cleared>(Contender&)>;

/// One more value at one place of a chart, made from a measurement.
struct Output {
  Chart* chart;
  std::string at;
  double x;
  std::function<double(const Measured&)> sample;
};

/// Everything that is compared at one place.
struct Place {
  std::string group;  ///< Of the benchmarks; no two places have the same.
  std::vector<Entry> entries;
  std::vector<Output> outputs;
};

std::string group_of(const Place& place, bool simulated) { return place.group + (simulated ? "/simulated" : "/timed"); }

void register_entry(const Place& place, std::size_t number, MemorySpan memory, Clear clear) {
  const Entry& entry = place.entries[number];
  const auto function = [make = entry.make, memory, clear = std::move(clear)](::benchmark::State& state) {
    auto contender = make(memory);
    for (auto _ : state) {
      const auto cleared = contender ? clear(**contender) : Result<Cleared>(contender.error());
      if (!cleared) {
        state.SkipWithError(cleared.error().message.c_str());
        break;
      }
      state.counters["cpu_seconds"] = cleared->cpu_seconds;
      state.SetIterationTime(cleared->seconds);
    }
  };
  const std::string name = fmt::format("{}/{:03}", group_of(place, entry.simulated), number);
  ::benchmark::internal::Benchmark* const made = ::benchmark::RegisterBenchmark(name.c_str(), function);
  made->UseManualTime()->Iterations(1);
}

/// Runs what of a place is simulated, or what is not, once.
void take_samples(const Place& place, bool simulated) {
  for (const auto& [number, measured] : run(group_of(place, simulated))) {
    const Entry& entry = place.entries.at(std::stoull(number));
    for (const Output& output : place.outputs) {
      if (!measured.error.empty()) {
        Bench::note_once(*output.chart, fmt::format("{}: not measured: {}", entry.name, measured.error));
      } else {
        Bench::add_sample(*output.chart, {entry.name, output.at, output.x, {}, simulated, simulated},
                          output.sample(measured));
      }
    }
  }
}

/// Many blocks, as fast as they go.
Result<Cleared> many(Contender& contender, Arena& arena, ByteCount block, ByteCount total) {
  const auto blocks = arena.next(block, total);
  if (auto prepared = contender.prepare(blocks); !prepared) return prepared.error();
  const CpuTime cpu_time;
  const auto time = contender.clear(blocks);
  if (!time) return time.error();
  const auto count = static_cast<double>(blocks.size());
  return Cleared{std::chrono::duration<double>(*time).count() / count, cpu_time.seconds() / count};
}

/// Single blocks, one after the other: the median.
Result<Cleared> single(Contender& contender, Arena& arena, ByteCount block, std::size_t count) {
  std::vector<double> seconds;
  for (std::size_t job = 0; job < count; ++job) {
    const auto time = contender.prepare_and_clear(arena.next(block, block));
    if (!time) return time.error();
    seconds.push_back(std::chrono::duration<double>(*time).count());
  }
  return Cleared{estimate(std::move(seconds)).median};
}

enum class Way { Many, Single };

/// Rounds of what is timed, and once what is simulated.
void plan_place(Bench& bench, Plan& plan, const Place& place, ByteCount block, Way way) {
  bool any_simulated = false;
  bool any_timed = false;
  const Effort& effort = bench.effort;
  for (std::size_t number = 0; number < place.entries.size(); ++number) {
    const Entry& entry = place.entries[number];
    if (block < entry.least || block > entry.most) continue;
    (entry.simulated ? any_simulated : any_timed) = true;
    const ByteCount total = entry.simulated ? effort.simulated : effort.sample;
    const std::size_t count = entry.simulated ? 1 : effort.latencies;
    register_entry(place, number, bench.arena.all(), [&arena = bench.arena, block, total, count, way](Contender& each) {
      return way == Way::Many ? many(each, arena, block, total) : single(each, arena, block, count);
    });
  }
  for (std::size_t round = 0; any_timed && round < effort.rounds; ++round) {
    plan.emplace_back([place] { take_samples(place, false); });
  }
  if (any_simulated) plan.emplace_back([place] { take_samples(place, true); });
}

std::function<double(const Measured&)> rate_of(ByteCount block) {
  return [block](const Measured& measured) { return gib(block) / measured.seconds; };
}

std::vector<Entry> engine_entries(const Bench& bench, const Drive& drive = {}) {
  std::vector<Entry> entries;
  for (const EngineName& name : bench.engines) entries.push_back(engine_entry(bench.registry, name, drive));
  return entries;
}

std::vector<Entry> joined(std::initializer_list<std::vector<Entry>> lists) {
  std::vector<Entry> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

constexpr ByteCount kHuge{2ULL << 20};
const char* const kSkeletonNote =
    "dmadev:dma_skeleton and raw rte_dma_copy: the device is a thread of this machine, in software.";

void plan_throughput(Bench& bench, Plan& plan) {
  Chart rates{"throughput", "micro", "Throughput by length of job", "job", "throughput", "GiB/s"};
  rates.x_scale = Scale::Logarithmic;
  rates.baseline = "libc memset";
  rates.marks = {{"PCIe Gen4 x16, before packet headers", 29.3}};
  rates.notes = {kSkeletonNote};
  Chart costs{"cpu_cost", "micro", "CPU cycles spent for each GiB, in jobs of 2 MiB", "job", "CPU cost", "Gcycles/GiB"};
  costs.more_is_better = false;
  costs.baseline = "libc memset";
  costs.notes = {"Cycles of the time stamp counter, of all threads of the process, also those that wait by looking.",
                 kSkeletonNote, "Simulated engines are left out: what they cost here is the simulation."};
  Chart& throughput = bench.add(std::move(rates));
  Chart& cpu_cost = bench.add(std::move(costs));
  const std::vector<Entry> entries = joined({cpu_peers(), kernel_peers(), engine_entries(bench), raw_dmadev()});
  for (const ByteCount block : bench.effort.blocks) {
    if (block.value() > bench.arena.all().size()) continue;
    Place place{fmt::format("throughput/{}", block.value()), entries, {}};
    place.outputs.push_back({&throughput, short_bytes(block), static_cast<double>(block.value()), rate_of(block)});
    plan_place(bench, plan, place, block, Way::Many);
  }
  std::vector<Entry> timed = entries;
  std::erase_if(timed, [](const Entry& entry) { return entry.simulated; });
  Place place{"cpu_cost", timed, {}};
  place.outputs.push_back({&cpu_cost, short_bytes(kHuge), 0.0, [](const Measured& measured) {
                             return measured.counters.at("cpu_seconds") * tsc_hz() / gib(kHuge) / 1e9;
                           }});
  plan_place(bench, plan, place, kHuge, Way::Many);
}

void plan_latency(Bench& bench, Plan& plan) {
  Chart chart{"latency", "micro", "One job alone, from its submission to its completion", "job", "time", "us"};
  chart.x_scale = Scale::Logarithmic;
  chart.y_logarithmic = true;
  chart.more_is_better = false;
  chart.baseline = "libc memset";
  chart.notes = {
      fmt::format("Each sample is the median of {} jobs. A worker of the CPU engine looks for work for 20 us "
                  "before it sleeps.",
                  bench.effort.latencies)};
  Chart& latency = bench.add(std::move(chart));
  const std::vector<Entry> entries = joined({cpu_peers(), engine_entries(bench, {1, 1, false}), raw_dmadev()});
  for (const ByteCount block : bench.effort.blocks) {
    if (block > ByteCount(64ULL << 20) || block.value() > bench.arena.all().size()) continue;
    Place place{fmt::format("latency/{}", block.value()), entries, {}};
    place.outputs.push_back({&latency, short_bytes(block), static_cast<double>(block.value()),
                             [](const Measured& measured) { return measured.seconds * 1e6; }});
    plan_place(bench, plan, place, block, Way::Single);
  }
}

/// How an engine is driven: one value of Drive after the other.
void plan_drive(Bench& bench, Plan& plan, const std::string& id, const std::string& title, const std::string& x_label,
                ByteCount block, const std::vector<std::size_t>& values, Drive (*drive)(std::size_t)) {
  Chart chart{id, "micro", title, x_label, "throughput", "GiB/s"};
  chart.x_scale = Scale::Logarithmic;
  Chart& added = bench.add(std::move(chart));
  for (const std::size_t value : values) {
    Place place{fmt::format("{}/{}", id, value), engine_entries(bench, drive(value)), {}};
    place.outputs.push_back({&added, std::to_string(value), static_cast<double>(value), rate_of(block)});
    plan_place(bench, plan, place, block, Way::Many);
  }
}

void plan_threads(Bench& bench, Plan& plan) {
  Chart chart{"threads", "micro", "CPU engine by number of workers, jobs of 2 MiB", "workers", "throughput", "GiB/s"};
  chart.x_scale = Scale::Linear;
  chart.baseline = "libc memset";
  Chart& threads = bench.add(std::move(chart));
  for (unsigned count = 1; count <= std::clamp(std::thread::hardware_concurrency(), 1U, 64U); count *= 2) {
    Entry workers = engine_entry(bench.registry, *EngineName::parse(fmt::format("cpu:threads={}", count)));
    workers.name = "cpu";
    Place place{fmt::format("threads/{}", count), {cpu_peers().front(), workers}, {}};
    place.outputs.push_back({&threads, std::to_string(count), static_cast<double>(count), rate_of(kHuge)});
    plan_place(bench, plan, place, kHuge, Way::Many);
  }
}

/// The same work on memory with pages of each length. An arena for each, made when its turn comes.
void plan_pages(Bench& bench, Plan& plan) {
  Chart chart{"pages", "micro", "Clearing memory by its pages, jobs of 2 MiB", "pages", "throughput", "GiB/s"};
  chart.baseline = "libc memset";
  Chart& pages = bench.add(std::move(chart));
  constexpr Pages kKinds[] = {Pages::Small, Pages::Transparent, Pages::Hugetlb};
  const ByteCount length(std::min<std::uint64_t>(bench.arena.all().size(), 256ULL << 20));
  for (std::size_t round = 0; round < bench.effort.rounds; ++round) {
    for (std::size_t kind = 0; kind < std::size(kKinds); ++kind) {
      plan.emplace_back([&bench, &pages, length, kind, round, which = kKinds[kind]] {
        auto arena = Arena::create(length, which);
        if (!arena) {
          Bench::note_once(pages, "not measured: " + arena.error().message);
          return;
        }
        std::vector<Entry> entries = {cpu_peers().front(), engine_entry(bench.registry, *EngineName::parse("cpu"))};
        if (round % 2 == 1) std::swap(entries[0], entries[1]);
        for (const Entry& entry : entries) {
          auto contender = entry.make((*arena)->all());
          const auto cleared = contender ? many(**contender, **arena, kHuge, bench.effort.sample) : contender.error();
          if (!cleared) throw std::runtime_error(entry.name + ": " + cleared.error().message);
          Bench::add_sample(pages, {entry.name, to_string(which), static_cast<double>(kind), {}},
                            gib(kHuge) / cleared->seconds);
        }
      });
    }
  }
}

/// Reads a working set round and round on a thread of its own, and says how long a round takes.
class Victim {
 public:
  explicit Victim(ByteCount working_set) : words_(working_set.value() / sizeof(std::uint64_t), 1) {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        std::uint64_t sum = 0;
        for (const std::uint64_t word : words_) sum += word;
        asm volatile("" : : "r"(sum));  // NOLINT: it must be computed
        rounds_.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }

  /// Rounds a second while `work` is done again and again for `length`.
  double rate_during(std::chrono::milliseconds length, const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t before = rounds_.load(std::memory_order_relaxed);
    auto now = start;
    for (; now - start < length; now = std::chrono::steady_clock::now()) work();
    const std::uint64_t after = rounds_.load(std::memory_order_relaxed);
    return static_cast<double>(after - before) / std::chrono::duration<double>(now - start).count();
  }

 private:
  std::vector<std::uint64_t> words_;
  std::atomic<std::uint64_t> rounds_{0};
  std::jthread thread_;
};

void disturb(Bench& bench, Chart& chart, const Entry& entry, ByteCount working_set) {
  auto contender = entry.make(bench.arena.all());
  if (!contender) return;
  Victim reader(working_set);
  const double alone =
      reader.rate_during(bench.effort.victim, [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
  const double disturbed = reader.rate_during(bench.effort.victim, [&] {
    const auto cleared = (*contender)->prepare_and_clear(bench.arena.next(kHuge, kHuge));
    if (!cleared) throw std::runtime_error(entry.name + ": " + cleared.error().message);
  });
  if (disturbed <= 0.0) return;
  Bench::add_sample(chart, {entry.name, short_bytes(working_set), gib(working_set), {}}, alone / disturbed);
}

void plan_victim(Bench& bench, Plan& plan) {
  Chart chart{
      "victim",      "micro",     "What a neighbour pays: how many times longer it takes to read its working set",
      "working set", "slow-down", "times"};
  chart.more_is_better = false;
  chart.baseline = "libc memset";
  chart.marks = {{"undisturbed", 1.0}};
  chart.notes = {
      fmt::format("The neighbour reads its memory on a thread of its own, while another one clears 2 MiB at a time. "
                  "This machine has {} CPUs.",
                  std::thread::hardware_concurrency()),
      kSkeletonNote};
  Chart& victim = bench.add(std::move(chart));
  std::vector<Entry> entries = joined({cpu_peers(), engine_entries(bench)});
  const auto kernel = kernel_peers();
  entries.push_back(kernel.at(1));
  std::erase_if(entries, [](const Entry& entry) { return entry.simulated; });
  for (const ByteCount working_set : {kMiB, ByteCount(16ULL << 20)}) {
    for (std::size_t round = 0; round < bench.effort.rounds; ++round) {
      Plan tasks;
      for (const Entry& entry : entries) {
        tasks.emplace_back([&bench, &victim, entry, working_set] { disturb(bench, victim, entry, working_set); });
      }
      add_round(plan, std::move(tasks), round);
    }
  }
}

}  // namespace

void plan_micro(Bench& bench, Plan& plan) {
  plan_throughput(bench, plan);
  plan_latency(bench, plan);
  plan_drive(bench, plan, "depth", "Jobs of 64 KiB by how many are in flight", "jobs in flight", ByteCount(64ULL << 10),
             {1, 4, 16, 64, 256}, [](std::size_t depth) {
               return Drive{depth, 1};
             });
  plan_drive(bench, plan, "batch", "Jobs of 4 KiB by how many are submitted together", "jobs in a batch",
             ByteCount(4096), {1, 8, 64}, [](std::size_t batch) {
               return Drive{256, batch};
             });
  plan_threads(bench, plan);
  plan_pages(bench, plan);
  plan_victim(bench, plan);
}

}  // namespace sluice::bench
