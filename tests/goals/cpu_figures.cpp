// SPDX-License-Identifier: Apache-2.0
#include "cpu_figures.hpp"

#include <fmt/format.h>
#include <immintrin.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include "goals/measuring.hpp"
#include "sluice/cpu/cpu_engine.hpp"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 15;

void memset_blocks(const Blocks& blocks) {
  for (const MemorySpan block : blocks) std::memset(block.data(), 0, block.size());
}

void read_blocks(const Blocks& blocks) {
  for (const MemorySpan block : blocks) {
    std::uint64_t sum = 0;
    const auto* const words = reinterpret_cast<const std::uint64_t*>(block.data());
    for (std::size_t word = 0; word < block.size() / 8; ++word) sum += words[word];
    asm volatile("" : : "r"(sum));  // NOLINT: it must be computed
  }
}

enum class Wait : std::uint8_t { Sleeping, Polling };

/// Has the engine do one job for each block, 64 in a batch, as many batches as it has room for. Sleeping leaves
/// the CPU to the workers.
void run_jobs(CpuEngine& engine, const Blocks& blocks, Wait wait, Operation operation = Operation::Fill,
              Urgency urgency = Urgency::Background) {
  std::array<ScrubJob, 64> jobs;
  std::array<JobId, 64> ids;
  std::array<Completion, 64> completions;
  std::size_t submitted = 0;
  std::size_t done = 0;
  while (done < blocks.size()) {
    while (submitted < blocks.size()) {
      const std::size_t count = std::min(jobs.size(), blocks.size() - submitted);
      if (count > engine.capabilities().max_jobs_in_flight - (submitted - done)) break;
      for (std::size_t index = 0; index < count; ++index) {
        jobs[index].memory = blocks[submitted + index];
        jobs[index].operation = operation;
        jobs[index].urgency = urgency;
      }
      const auto accepted = engine.submit(std::span(jobs).first(count), ids);
      if (!accepted) throw std::runtime_error(accepted.error().message);
      submitted += *accepted;
    }
    for (std::size_t got = 1; got > 0; done += got) got = engine.poll(completions);
    if (done == submitted || wait == Wait::Polling) continue;
    pollfd descriptor{engine.completion_fd(), POLLIN, 0};
    ::poll(&descriptor, 1, 1000);
  }
}

std::unique_ptr<CpuEngine> make(MemorySpan arena, std::uint32_t threads) {
  CpuOptions options;
  options.threads = threads;
  options.max_jobs = 512;
  const MemorySpan windows[] = {arena};
  return std::move(CpuEngine::create(options, windows)).value();
}

void store_blocks(const Blocks& blocks) {
  for (const MemorySpan block : blocks) fill_nontemporal(best_store(), block, 0);
  store_fence();
}

/// The same stores in bare loops on two threads, each with half of the blocks. The other thread sleeps meanwhile: what
/// is measured beside it has its CPU.
class TwoLoops {
 public:
  void operator()(const Blocks& blocks) {
    const auto middle = blocks.begin() + static_cast<std::ptrdiff_t>(blocks.size() / 2);
    other_half_ = {middle, blocks.end()};
    const int round = begun_.fetch_add(1) + 1;
    begun_.notify_one();
    store_blocks({blocks.begin(), middle});
    while (ended_.load() != round) _mm_pause();
  }
  ~TwoLoops() {
    stop_ = true;
    begun_.fetch_add(1);
    begun_.notify_one();
  }
  TwoLoops() = default;
  TwoLoops(const TwoLoops&) = delete;
  TwoLoops& operator=(const TwoLoops&) = delete;

 private:
  void work() {
    for (int round = 0;; ++round) {
      begun_.wait(round);
      if (stop_) return;
      store_blocks(other_half_);
      ended_.fetch_add(1);
    }
  }

  Blocks other_half_;
  std::atomic<int> begun_{0};
  std::atomic<int> ended_{0};
  std::atomic<bool> stop_{false};
  std::jthread thread_{[this] { work(); }};
};

/// How many times longer a walk through a working set of half a level-2 cache takes after `fill` ran on this core.
Spread walk_slowdown(Rounds& rounds, const Side& fill) {
  std::vector<std::uint64_t> working_set((1 << 20) / 8, 1);
  const auto walk = [&] { return seconds_of([&] { read_blocks({std::as_writable_bytes(std::span(working_set))}); }); };
  std::vector<double> ratios;
  for (int round = 0; round < kRounds; ++round) {
    const Blocks blocks = rounds.next({.block = 1 << 20});
    for (std::size_t index = 0; index + 4 <= blocks.size(); index += 4) {
      for (int warm = 0; warm < 3; ++warm) walk();
      const double before = walk();
      fill({blocks.begin() + static_cast<std::ptrdiff_t>(index),
            blocks.begin() + static_cast<std::ptrdiff_t>(index + 4)});
      ratios.push_back(walk() / before);
    }
  }
  return spread_of(std::move(ratios));
}

/// Microseconds from the cancel of a running job to its completion.
Spread cancel_latency_us(CpuEngine& engine, MemorySpan arena) {
  std::vector<double> latencies;
  latencies.reserve(301);
  const ScrubJob job{arena};
  for (int round = 0; round < 301; ++round) {
    JobId id;
    if (!engine.submit({&job, 1}, {&id, 1})) return {};
    const auto started = Clock::now();
    while (Clock::now() - started < std::chrono::microseconds(200 + 13 * (round % 7))) {
    }
    Completion completion;
    latencies.push_back(1e6 * seconds_of([&] {
                          engine.cancel(id);
                          while (engine.poll({&completion, 1}) == 0) _mm_pause();
                        }));
  }
  return spread_of(std::move(latencies));
}

/// Nanoseconds from one job of 64 bytes to the next, submitted and collected 64 at a time.
Spread job_cost_ns(CpuEngine& engine, MemorySpan arena) {
  std::vector<double> costs;
  costs.reserve(kRounds);
  Blocks blocks(100'000);
  for (std::size_t index = 0; index < blocks.size(); ++index) blocks[index] = arena.subspan(index % 4096 * 64, 64);
  for (int round = 0; round < kRounds; ++round) {
    costs.push_back(1e9 * seconds_of([&] { run_jobs(engine, blocks, Wait::Polling); }) /
                    static_cast<double>(blocks.size()));
  }
  return spread_of(std::move(costs));
}

struct JobSize {
  const char* name;
  std::size_t bytes;
  double of_bare_loops;  // what is aimed at
};
constexpr JobSize kJobSizes[] = {{"4 KiB, scattered", 4096, 0.9}, {"64 KiB", 64 << 10, 0.97}, {"2 MiB", 2 << 20, 0.97}};

void print_alone(Rounds& rounds, MemorySpan arena) {
  const auto one = make(arena, 1);
  const auto two = make(arena, 2);
  const auto fill_one = [&](const Blocks& blocks) { run_jobs(*one, blocks, Wait::Sleeping); };
  const auto fill_two = [&](const Blocks& blocks) { run_jobs(*two, blocks, Wait::Sleeping); };
  const auto urgent_two = [&](const Blocks& blocks) {
    run_jobs(*two, blocks, Wait::Sleeping, Operation::Fill, Urgency::Urgent);
  };
  const auto verify = [&](const Blocks& blocks) { run_jobs(*one, blocks, Wait::Sleeping, Operation::Verify); };
  TwoLoops two_loops;
  const auto bare_two = [&](const Blocks& blocks) { two_loops(blocks); };
  const auto times = [&](const std::string& name, const Side& mine, const Side& theirs, const Rounds::Shape& shape,
                         double goal) {
    const Load load;
    const Spread measured = rounds.speed_up(mine, theirs, shape);
    print_row(name, measured, "x", true, goal, load);
  };
  for (const JobSize& size : kJobSizes) {
    const std::string name = fmt::format("fill, jobs of {}", size.name);
    const Rounds::Shape shape{size.bytes, size.bytes == 4096};
    times(name + ": times bare loops", fill_one, store_blocks, shape, size.of_bare_loops);
    times(name + ": times libc memset", fill_one, memset_blocks, shape, size.bytes == 4096 ? 1.8 : 1.6);
  }
  times("fill, one job of 1 GiB: times libc memset", fill_one, memset_blocks,
        {.block = arena.size(), .bytes = arena.size(), .rounds = 7}, 1.0);
  {
    const Load load;
    const Spread measured = rounds.speed_up(bare_two, store_blocks, {.block = 2 << 20});
    print_row("two bare loops: times one", measured, "x", true, 1.9, load);
  }
  times("fill, jobs of 2 MiB, two workers: times two bare loops", fill_two, bare_two, {.block = 2 << 20}, 0.95);
  times("fill, jobs of 4 KiB, scattered: two workers to one", fill_two, fill_one, {4096, true}, 1.0);
  times("fill, an urgent claim of 128 MiB as two jobs: times two bare loops", urgent_two, bare_two, {.block = 64 << 20},
        0.95);
  times("verify, jobs of 2 MiB: times reading", verify, read_blocks, {.block = 2 << 20}, 0.95);
}

/// A machine that others use as well. The loops are this process's own, and so no load of others.
void print_beside_neighbours(Rounds& rounds, MemorySpan arena) {
  const auto engine = make(arena, 1);
  const auto fill = [&](const Blocks& blocks) { run_jobs(*engine, blocks, Wait::Sleeping); };
  constexpr std::size_t kBytes = 64ULL << 20;
  const auto gib_per_second = [](const std::vector<double>& seconds) {
    std::vector<double> rates;
    rates.reserve(seconds.size());
    for (const double time : seconds) rates.push_back(static_cast<double>(kBytes) / double(1 << 30) / time);
    return spread_of(std::move(rates));
  };
  fmt::print("\nCPU engine, one worker, beside endless loops on {} CPUs; the caller sleeps on the descriptor\n",
             std::thread::hardware_concurrency());
  for (const JobSize& size : kJobSizes) {
    double alone = 0.0;
    for (const std::size_t loops : {0U, 2U, 4U}) {
      const EndlessLoops neighbours(loops);
      const Load load;
      const Rounds::Times times = rounds.run(fill, memset_blocks, {size.bytes, true, kBytes, 61});
      const Spread mine = gib_per_second(times.mine);
      const Spread theirs = gib_per_second(times.theirs);
      std::vector<double> ratios;
      for (std::size_t round = 0; round < times.mine.size(); ++round) {
        ratios.push_back(times.theirs[round] / times.mine[round]);
      }
      Spread ratio = spread_of(std::move(ratios));
      ratio.median = mine.median / theirs.median;
      const std::string name = fmt::format("jobs of {}, {} loops", size.name, loops);
      if (loops == 0) {
        alone = ratio.median;
        print_row(name + ": times libc memset", ratio, "x", true, 1.0, load);
        continue;
      }
      print_row(name + ": times libc memset, a tenth below alone at most", ratio, "x", true, 0.9 * alone, load);
      print_row(name + ": its p10 over memset's p10, GiB/s", spread_of({mine.p10 / theirs.p10}), "x", true, 1.0, load);
    }
  }
}

}  // namespace

void print_cpu_figures(MemorySpan arena) {
  Rounds rounds(arena);
  fmt::print("\nCPU engine (cpu/{}), cold memory in 2 MiB pages where the kernel gives them\n{:<78} {:>7}     {}\n",
             to_string(best_store()), "", "median", "(p10 to p90)  goal");
  print_alone(rounds, arena);
  {
    const Load load;
    print_row("working set of 1 MiB on the same core after 4 MiB were filled: slower by",
              walk_slowdown(rounds, store_blocks), "x", false, 1.05, load);
  }
  const Spread after_memset = walk_slowdown(rounds, memset_blocks);
  fmt::print("{:<78} {:>7.2f} x   ({:.2f} to {:.2f})\n", "the same after libc memset", after_memset.median,
             after_memset.p10, after_memset.p90);
  const auto polled = make(arena, 1);  // nobody has asked for its descriptor
  {
    const Load load;
    print_row("cancel of a running job to its completion", cancel_latency_us(*polled, arena), "us", false, 5, load);
  }
  {
    const Load load;
    print_row("submit and completion of a job, 64 at a time", job_cost_ns(*polled, arena), "ns", false, 50, load);
  }
  print_beside_neighbours(rounds, arena);
}

}  // namespace sluice::bench
