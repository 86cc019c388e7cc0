// SPDX-License-Identifier: Apache-2.0
#include "measuring.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

}  // namespace

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<std::size_t>(share * double(values.size() - 1) + 0.5)];
  };
  return {at(0.1), at(0.5), at(0.9)};
}

double seconds_of(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return Seconds(Clock::now() - start).count();
}

Load::Load() : start_(now()) {}

/// proc_stat(5): user nice system idle iowait irq softirq steal, in clock ticks.
Load::Ticks Load::now() {
  std::ifstream file("/proc/stat");
  std::string cpu;
  file >> cpu;
  Ticks ticks;
  for (int column = 0; column < 8; ++column) {
    double value = 0.0;
    file >> value;
    ticks.all += value;
    if (column != 3 && column != 4) ticks.busy += value;
  }
  rusage own{};
  ::getrusage(RUSAGE_SELF, &own);
  const auto seconds = [](timeval time) { return double(time.tv_sec) + 1e-6 * double(time.tv_usec); };
  ticks.own = (seconds(own.ru_utime) + seconds(own.ru_stime)) * static_cast<double>(::sysconf(_SC_CLK_TCK));
  return ticks;
}

double Load::of_others() const {
  const Ticks end = now();
  const double all = end.all - start_.all;
  if (all <= 0.0) return 0.0;
  return std::max(0.0, (end.busy - start_.busy - (end.own - start_.own)) / all);
}

void print_row(const std::string& name, const Spread& measured, const std::string& unit, bool at_least, double goal,
               const Load& load) {
  const bool reached = at_least ? measured.median >= goal : measured.median <= goal;
  const double others = load.of_others();
  const std::string verdict = others > kMostLoad
                                  ? fmt::format("NOT JUDGED: others had {:.0f} % of the CPUs", 100 * others)
                              : reached ? ""
                                        : "MISSED";
  fmt::print("{:<78} {:>7.2f} {:<3} ({:.2f} to {:.2f})  {} {:<5.4g} {}\n", name, measured.median, unit, measured.p10,
             measured.p90, at_least ? ">=" : "<=", goal, verdict);
}

Blocks Rounds::next(const Shape& shape) {
  if (at_ + shape.bytes > arena_.size()) at_ = 0;
  Blocks blocks(shape.bytes / shape.block);
  for (std::size_t index = 0; index < blocks.size(); ++index) {
    blocks[index] = arena_.subspan(at_ + index * shape.block, shape.block);
  }
  if (shape.scattered) std::shuffle(blocks.begin(), blocks.end(), random_);
  at_ += shape.bytes;
  return blocks;
}

Rounds::Times Rounds::run(const Side& mine, const Side& theirs, const Shape& shape) {
  Times times;
  for (int round = 0; round < shape.rounds; ++round) {
    const Blocks my_blocks = next(shape);
    const Blocks their_blocks = next(shape);
    const auto run_mine = [&] { times.mine.push_back(seconds_of([&] { mine(my_blocks); })); };
    if (round % 2 == 0) run_mine();
    times.theirs.push_back(seconds_of([&] { theirs(their_blocks); }));
    if (round % 2 != 0) run_mine();
  }
  return times;
}

Spread Rounds::speed_up(const Side& mine, const Side& theirs, const Shape& shape) {
  const Times times = run(mine, theirs, shape);
  std::vector<double> ratios;
  ratios.reserve(times.mine.size());
  for (std::size_t round = 0; round < times.mine.size(); ++round) {
    ratios.push_back(times.theirs[round] / times.mine[round]);
  }
  return spread_of(std::move(ratios));
}

EndlessLoops::EndlessLoops(std::size_t count) {
  for (std::size_t index = 0; index < count; ++index) {
    threads_.emplace_back([this] {
      while (!stop_.load(std::memory_order_relaxed)) {
      }
    });
  }
}

}  // namespace sluice::bench
