// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "sluice/base/units.hpp"

namespace sluice::bench {

using Blocks = std::vector<MemorySpan>;
/// Does something with all of the blocks.
using Side = std::function<void(const Blocks&)>;

/// What the rounds of one figure gave.
struct Spread {
  double p10 = 0.0;
  double median = 0.0;
  double p90 = 0.0;
};
[[nodiscard]] Spread spread_of(std::vector<double> values);

[[nodiscard]] double seconds_of(const std::function<void()>& work);

/// How much of the machine others had since this was made.
class Load {
 public:
  Load();
  /// A share of all CPUs: other processes, and what the hypervisor took away.
  [[nodiscard]] double of_others() const;

 private:
  struct Ticks {
    double busy = 0.0;  // with what was stolen
    double all = 0.0;
    double own = 0.0;
  };
  static Ticks now();
  Ticks start_;
};

/// A goal and what was measured. A figure that was taken beside more of others' load than kMostLoad is shown and not
/// judged.
inline constexpr double kMostLoad = 0.05;
void print_row(const std::string& name, const Spread& measured, const std::string& unit, bool at_least, double goal,
               const Load& load);

/// Blocks go through the arena, so that each side of each round finds cold memory.
class Rounds {
 public:
  explicit Rounds(MemorySpan arena) : arena_(arena) {}

  struct Shape {
    std::size_t block;
    bool scattered = false;
    std::size_t bytes = 128ULL << 20;  ///< Of one side in a round.
    int rounds = 21;
  };
  struct Times {
    std::vector<double> mine;  ///< Seconds, by round.
    std::vector<double> theirs;
  };
  /// The two sides take turns in going first.
  [[nodiscard]] Times run(const Side& mine, const Side& theirs, const Shape& shape);
  /// How many times faster than `theirs` this is.
  [[nodiscard]] Spread speed_up(const Side& mine, const Side& theirs, const Shape& shape);

  [[nodiscard]] Blocks next(const Shape& shape);

 private:
  MemorySpan arena_;
  std::size_t at_ = 0;
  std::mt19937_64 random_{1};
};

/// Threads that do nothing for ever, until this ends.
class EndlessLoops {
 public:
  explicit EndlessLoops(std::size_t count);
  EndlessLoops(const EndlessLoops&) = delete;
  EndlessLoops& operator=(const EndlessLoops&) = delete;
  ~EndlessLoops() { stop_ = true; }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::jthread> threads_;
};

}  // namespace sluice::bench
