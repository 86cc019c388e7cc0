// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>

#include "sluice/base/units.hpp"

namespace sluice::inline cpu {

/// Spaces work out so that it stays below a byte rate. Any thread may call it.
class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;

  /// 0: no limit.
  explicit RateLimit(ByteCount bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  [[nodiscard]] bool limits() const { return bytes_per_second_ != ByteCount(0); }

  /// When this work may start. Time in which nobody worked is not saved up.
  Clock::time_point reserve(ByteCount length, Clock::time_point now) {
    const std::chrono::duration<double> cost(static_cast<double>(length.value()) /
                                             static_cast<double>(bytes_per_second_.value()));
    Clock::rep free_at = free_at_.load(std::memory_order_relaxed);
    Clock::rep start = 0;
    do {
      start = std::max(free_at, now.time_since_epoch().count());
    } while (!free_at_.compare_exchange_weak(free_at, start + std::chrono::duration_cast<Clock::duration>(cost).count(),
                                             std::memory_order_relaxed));
    return Clock::time_point(Clock::duration(start));
  }

 private:
  ByteCount bytes_per_second_;
  std::atomic<Clock::rep> free_at_{0};  // when all that was reserved has been paid for
};

}  // namespace sluice::inline cpu
