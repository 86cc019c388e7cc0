// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace sluice::inline cpu {

/// What others see of a thread that works: how far it is, and whether it is running on a CPU. One thread writes. Not a
/// counter of all workers: a locked instruction would wait, chunk by chunk, until the stores past the caches have left
/// the CPU.
class alignas(64) Pulse {
 public:
  using Clock = std::chrono::steady_clock;

  /// One more chunk is done; true: a beat is due.
  bool count(std::size_t bytes) {
    chunks_.store(chunks_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    bytes_ += bytes;
    return bytes_ >= kBytesPerBeat;
  }
  [[nodiscard]] std::uint64_t chunks() const { return chunks_.load(std::memory_order_relaxed); }

  /// This thread runs. Returns the time since its last beat; 0 after a rest.
  Clock::duration beat(Clock::time_point now) {
    bytes_ = 0;
    const Clock::rep before = beat_.load(std::memory_order_relaxed);
    beat_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    cpu_.store(::sched_getcpu(), std::memory_order_relaxed);
    return Clock::duration(before == 0 ? 0 : now.time_since_epoch().count() - before);
  }
  /// This thread is about to sleep.
  void rest() { beat_.store(0, std::memory_order_relaxed); }

  /// Since when no beat was seen; 0: it rests.
  [[nodiscard]] Clock::duration silent_for(Clock::time_point now) const {
    const Clock::rep last = beat_.load(std::memory_order_relaxed);
    return Clock::duration(last == 0 ? 0 : now.time_since_epoch().count() - last);
  }
  /// Whether it seems to run, on another CPU than the caller, who has that one.
  [[nodiscard]] bool runs_beside(int callers_cpu, Clock::time_point now) const {
    return beat_.load(std::memory_order_relaxed) != 0 && silent_for(now) < kRunning &&
           cpu_.load(std::memory_order_relaxed) != callers_cpu;
  }

 private:
  static constexpr std::size_t kBytesPerBeat = 128 << 10;
  static constexpr Clock::duration kRunning = std::chrono::microseconds(100);

  // What is written for each chunk has a cache line of its own: callers look at the other one in each poll.
  std::atomic<std::uint64_t> chunks_{0};
  std::size_t bytes_ = 0;  // since the last beat
  alignas(64) std::atomic<Clock::rep> beat_{0};
  std::atomic<int> cpu_{-1};
};

/// Whether the scheduler lately kept a thread waiting so long that a wake-up costs more than it brings.
class Crowd {
 public:
  using Clock = std::chrono::steady_clock;

  void waited(Clock::duration time, Clock::time_point now) {
    if (time > kTooLong) until_.store((now + kRemembered).time_since_epoch().count(), std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_here(Clock::time_point now) const {
    return now.time_since_epoch().count() < until_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr Clock::duration kTooLong = std::chrono::microseconds(500);  // a CPU that idles wakes up sooner
  static constexpr Clock::duration kRemembered = std::chrono::milliseconds(200);

  std::atomic<Clock::rep> until_{0};
};

}  // namespace sluice::inline cpu
