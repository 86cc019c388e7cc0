// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <thread>

namespace sluice::test {

/// Longer than anything takes that works.
inline constexpr std::chrono::seconds kPatience{10};

/// A limit for a loop that waits: over when nothing has happened for so long, and then the test has failed. On a
/// machine that gives this process less than a quarter of a CPU, up to four times as long.
class Patience {
 public:
  explicit Patience(std::chrono::seconds limit = kPatience) : limit_(limit) { renew(); }
  [[nodiscard]] bool over() const {
    const auto waited = std::chrono::steady_clock::now() - since_;
    if (waited < limit_ || (waited < 4 * limit_ && own_time() - own_since_ < limit_ / 4)) return false;
    ADD_FAILURE() << "nothing has happened for " << limit_.count() << " s";
    return true;
  }
  /// Some of what is waited for has come.
  void renew() {
    since_ = std::chrono::steady_clock::now();
    own_since_ = own_time();
  }

 private:
  /// Of this process, on all CPUs.
  static std::chrono::nanoseconds own_time() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  }

  std::chrono::seconds limit_;
  std::chrono::steady_clock::time_point since_;
  std::chrono::nanoseconds own_since_{0};
};

/// Returns whether it came true; a test that waits for what never comes fails and does not hang.
template <class Condition>
bool comes_true(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

/// For a thread at a gate, which must not wait for ever either.
template <class Condition>
void hold_until(Condition condition) {
  if (!comes_true(condition)) ADD_FAILURE() << "nobody has opened the gate for " << kPatience.count() << " s";
}

/// Does `step` until `done`, at most `most` times; false, and a failure, where that is not enough. For what has a clock
/// of its own or ends after a number of steps.
template <class Step, class Done>
bool steps_until(std::size_t most, Step step, Done done) {
  for (std::size_t count = 0; count < most; ++count) {
    if (done()) return true;
    step();
  }
  if (done()) return true;
  ADD_FAILURE() << most << " steps were not enough";
  return false;
}

}  // namespace sluice::test
