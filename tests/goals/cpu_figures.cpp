// SPDX-License-Identifier: Apache-2.0
#include "cpu_figures.hpp"

#include <fmt/format.h>
#include <immintrin.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>
#include <vector>

#include "sluice/cpu/cpu_engine.hpp"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;
using Blocks = std::vector<MemorySpan>;

constexpr int kRounds = 15;
constexpr std::size_t kRoundBytes = 128ULL << 20;  // that one side of a ratio touches in a round

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return Seconds(Clock::now() - start).count();
}

/// Rounds go through the arena, so that each side finds cold memory.
class Rounds {
 public:
  explicit Rounds(MemorySpan arena) : arena_(arena) {}

  Blocks next(std::size_t block, bool scattered) {
    if (at_ + kRoundBytes > arena_.size()) at_ = 0;
    Blocks blocks(kRoundBytes / block);
    for (std::size_t index = 0; index < blocks.size(); ++index)
      blocks[index] = arena_.subspan(at_ + index * block, block);
    if (scattered) std::shuffle(blocks.begin(), blocks.end(), random_);
    at_ += kRoundBytes;
    return blocks;
  }

  using Side = std::function<void(const Blocks&)>;
  /// How many times faster than `other` this is.
  double speed_up(const Side& side, const Side& other, std::size_t block, bool scattered = false) {
    std::vector<double> ratios;
    for (int round = 0; round < kRounds; ++round) {
      const Blocks mine = next(block, scattered);
      const Blocks theirs = next(block, scattered);
      double my_time = 0.0;
      double their_time = 0.0;
      const auto run_mine = [&] { my_time = seconds_of([&] { side(mine); }); };
      if (round % 2 == 0) run_mine();
      their_time = seconds_of([&] { other(theirs); });
      if (round % 2 != 0) run_mine();
      ratios.push_back(their_time / my_time);
    }
    return median(ratios);
  }

 private:
  MemorySpan arena_;
  std::size_t at_ = 0;
  std::mt19937_64 random_{1};
};

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
void run_jobs(CpuEngine& engine, const Blocks& blocks, Wait wait, Operation operation = Operation::Fill) {
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
      }
      const auto accepted = engine.submit(std::span(jobs).first(count), ids);
      if (!accepted) throw std::runtime_error(accepted.error().message);
      submitted += *accepted;
    }
    for (std::size_t got = 1; got > 0; done += got) got = engine.poll(completions);
    if (done == blocks.size() || wait == Wait::Polling) continue;
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

/// How many times longer a walk through a working set of half a level-2 cache takes after `fill` ran on this core.
double walk_slowdown(Rounds& rounds, const Rounds::Side& fill) {
  std::vector<std::uint64_t> working_set((1 << 20) / 8, 1);
  const auto walk = [&] { return seconds_of([&] { read_blocks({std::as_writable_bytes(std::span(working_set))}); }); };
  std::vector<double> ratios;
  for (int round = 0; round < kRounds; ++round) {
    const Blocks blocks = rounds.next(1 << 20, false);
    for (std::size_t index = 0; index + 4 <= blocks.size(); index += 4) {
      for (int warm = 0; warm < 3; ++warm) walk();
      const double before = walk();
      fill({blocks.begin() + static_cast<std::ptrdiff_t>(index),
            blocks.begin() + static_cast<std::ptrdiff_t>(index + 4)});
      ratios.push_back(walk() / before);
    }
  }
  return median(ratios);
}

/// Microseconds from the cancel of a running job to its completion, the median.
double cancel_latency_us(CpuEngine& engine, MemorySpan arena) {
  std::vector<double> latencies;
  latencies.reserve(301);
  const ScrubJob job{arena};
  for (int round = 0; round < 301; ++round) {
    JobId id;
    if (!engine.submit({&job, 1}, {&id, 1})) return 0.0;
    const auto started = Clock::now();
    while (Clock::now() - started < std::chrono::microseconds(200 + 13 * (round % 7))) {
    }
    Completion completion;
    latencies.push_back(1e6 * seconds_of([&] {
                          engine.cancel(id);
                          while (engine.poll({&completion, 1}) == 0) _mm_pause();
                        }));
  }
  return median(latencies);
}

/// Nanoseconds from one job of 64 bytes to the next, submitted and collected 64 at a time.
double job_cost_ns(CpuEngine& engine, MemorySpan arena) {
  std::vector<double> costs;
  costs.reserve(kRounds);
  Blocks blocks(100'000);
  for (std::size_t index = 0; index < blocks.size(); ++index) blocks[index] = arena.subspan(index % 4096 * 64, 64);
  for (int round = 0; round < kRounds; ++round) {
    costs.push_back(1e9 * seconds_of([&] { run_jobs(engine, blocks, Wait::Polling); }) /
                    static_cast<double>(blocks.size()));
  }
  return median(costs);
}

void row(const std::string& name, double value, const std::string& unit, bool at_least, double goal) {
  const bool reached = at_least ? value >= goal : value <= goal;
  fmt::print("{:<64} {:>8.2f} {:<4} {} {:<5.4g} {}\n", name, value, unit, at_least ? ">=" : "<=", goal,
             reached ? "" : "MISSED");
}

}  // namespace

void print_cpu_figures(MemorySpan arena) {
  const auto one = make(arena, 1);
  const auto two = make(arena, 2);
  const auto fill_one = [&](const Blocks& blocks) { run_jobs(*one, blocks, Wait::Sleeping); };
  const auto fill_two = [&](const Blocks& blocks) { run_jobs(*two, blocks, Wait::Sleeping); };
  const auto verify = [&](const Blocks& blocks) { run_jobs(*one, blocks, Wait::Sleeping, Operation::Verify); };
  const auto store = [](const Blocks& blocks) {
    for (const MemorySpan block : blocks) fill_nontemporal(best_store(), block, 0);
    store_fence();
  };
  Rounds rounds(arena);
  fmt::print(
      "\nCPU engine ({}), cold memory in 2 MiB pages where the kernel gives them; medians of {} rounds\n{:<64} {:>8} "
      "{:>13}\n",
      one->capabilities().name, kRounds, "", "measured", "goal");
  const auto fill = [&](const std::string& name, std::size_t block, bool scattered, double goal) {
    row(name, rounds.speed_up(fill_one, memset_blocks, block, scattered), "x", true, goal);
    fmt::print("{:<64} {:>8.2f} x\n", "  the same stores without an engine",
               rounds.speed_up(store, memset_blocks, block, scattered));
  };
  fill("fill, jobs of 64 KiB: times libc memset", 64 << 10, false, 1.6);
  fill("fill, jobs of 2 MiB: times libc memset", 2 << 20, false, 1.6);
  fill("fill, scattered jobs of 4 KiB in batches: times libc memset", 4096, true, 1.8);
  row("fill, jobs of 2 MiB: two threads to one", rounds.speed_up(fill_two, fill_one, 2 << 20), "x", true, 1.9);
  row("verify, jobs of 2 MiB: times reading", rounds.speed_up(verify, read_blocks, 2 << 20), "x", true, 0.95);
  row("working set of 1 MiB on the same core after 4 MiB were filled: slower by", walk_slowdown(rounds, store), "x",
      false, 1.05);
  fmt::print("{:<64} {:>8.2f} {:<4}\n", "the same after libc memset", walk_slowdown(rounds, memset_blocks), "x");
  const auto polled = make(arena, 1);  // nobody has asked for its descriptor
  row("cancel of a running job to its completion", cancel_latency_us(*polled, arena), "us", false, 5);
  row("submit and completion of a job, 64 at a time", job_cost_ns(*polled, arena), "ns", false, 50);
}

}  // namespace sluice::bench
