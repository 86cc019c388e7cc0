// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

namespace sluice::bench {

/// CPU time that the threads which this process has now will have had. Each by its own clock: the process's clock knows
/// of a thread that runs only what it had at the kernel's last tick, so for some milliseconds it says anything.
class CpuTime {
 public:
  CpuTime() {
    for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
      // As pthread_getcpuclockid() makes them: the thread's number, "of a thread" and "what the scheduler counts"
      // (MAKE_THREAD_CPUCLOCK in Linux' posix-timers.h).
      const auto number = static_cast<unsigned>(std::stoul(thread.path().filename()));
      clocks_.push_back(static_cast<clockid_t>((~number << 3) | 6U));
    }
    before_ = now();
  }

  /// Since this was made, which none of the threads may have ended.
  [[nodiscard]] double seconds() const { return now() - before_; }

 private:
  [[nodiscard]] double now() const {
    double sum = 0.0;
    for (const clockid_t clock : clocks_) {
      timespec time{};
      ::clock_gettime(clock, &time);
      sum += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
    }
    return sum;
  }

  std::vector<clockid_t> clocks_;
  double before_ = 0.0;
};

}  // namespace sluice::bench
