// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>

namespace sluice::inline workload {

/// Draws that are the same on every machine: the standard's engine is exact, its distributions are not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  /// In [0, 1).
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }
  /// In [0, limit); limit above 0.
  std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }
  bool chance(double probability) { return uniform() < probability; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace sluice::inline workload
