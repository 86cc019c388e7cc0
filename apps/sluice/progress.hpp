// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace sluice {

/// Progress of long work on stderr: a bar on a terminal, else a line every ten seconds.
class Progress {
 public:
  /// `unit`: of what there are `total`, for people.
  Progress(std::size_t total, std::string unit);
  void update(std::size_t done);
  /// Ends the bar's line.
  void finish();

 private:
  void print(std::size_t done) const;

  std::size_t total_;
  std::string unit_;
  bool started_ = false;
  bool terminal_;
  bool printed_ = false;
  std::chrono::steady_clock::time_point start_;  ///< of the first event: what comes before it takes its own time
  std::chrono::steady_clock::time_point last_;
};

}  // namespace sluice
