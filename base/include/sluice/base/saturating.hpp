// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

// Arithmetic of times that ends at the last one there is.
namespace sluice::inline base {

/// a + b, neither below 0.
[[nodiscard]] inline std::chrono::nanoseconds add_saturating(std::chrono::nanoseconds a, std::chrono::nanoseconds b) {
  constexpr auto kLast = std::chrono::nanoseconds::max();
  return a > kLast - b ? kLast : a + b;
}

/// Seconds, not below 0, as nanoseconds.
[[nodiscard]] inline std::chrono::nanoseconds nanoseconds_of(double seconds) {
  constexpr double kFirstTooLong = 9.2e18;
  const double nanoseconds = seconds * 1e9;
  if (!(nanoseconds < kFirstTooLong)) return std::chrono::nanoseconds::max();
  return std::chrono::nanoseconds(static_cast<std::int64_t>(nanoseconds));
}

}  // namespace sluice::inline base
