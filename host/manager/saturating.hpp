// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>

namespace sluice::inline manager {

/// a + b, or the last time that there is. Neither is below 0.
[[nodiscard]] inline std::chrono::nanoseconds add_saturating(std::chrono::nanoseconds a, std::chrono::nanoseconds b) {
  constexpr auto kLast = std::chrono::nanoseconds::max();
  return a > kLast - b ? kLast : a + b;
}

/// Seconds as nanoseconds, or the last time that there is. Not below 0.
[[nodiscard]] inline std::chrono::nanoseconds nanoseconds_of(double seconds) {
  constexpr double kFirstTooLong = 9.2e18;
  const double nanoseconds = seconds * 1e9;
  if (!(nanoseconds < kFirstTooLong)) return std::chrono::nanoseconds::max();
  return std::chrono::nanoseconds(static_cast<std::int64_t>(nanoseconds));
}

}  // namespace sluice::inline manager
