// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace sluice::inline engine {

/// Judges by a counter of progress whether something that has work still does it. Time in which nobody looked counts as
/// a quarter of the timeout at most: who is stopped for a minute finds what he polls where it was.
class StallWatch {
 public:
  explicit StallWatch(std::chrono::nanoseconds timeout) : timeout_(timeout) {}

  /// One look. True: it has had work, and was looked at, for the whole timeout, and has done nothing.
  bool stalled(bool has_work, std::uint64_t progress, std::chrono::nanoseconds now) {
    if (!has_work || !watching_ || progress != progress_) {
      watching_ = has_work;
      progress_ = progress;
      silence_ = std::chrono::nanoseconds(0);
    } else {
      const auto most = std::max(timeout_ / 4, std::chrono::nanoseconds(1));
      silence_ += std::clamp(now - last_look_, std::chrono::nanoseconds(0), most);
    }
    last_look_ = now;
    return watching_ && silence_ >= timeout_;
  }

  [[nodiscard]] std::chrono::nanoseconds silence() const { return silence_; }
  [[nodiscard]] std::chrono::nanoseconds last_look() const { return last_look_; }

 private:
  std::chrono::nanoseconds timeout_;
  bool watching_ = false;
  std::uint64_t progress_ = 0;
  std::chrono::nanoseconds silence_{0};
  std::chrono::nanoseconds last_look_{0};
};

}  // namespace sluice::inline engine
