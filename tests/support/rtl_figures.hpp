// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace sluice::test {

/// One figure of the engine in clock cycles of its simulation: exact, the same in every run.
struct RtlFigure {
  std::string name;
  double value;
  double goal;
  bool at_least;  ///< else at most

  [[nodiscard]] bool reached() const { return at_least ? value >= goal : value <= goal; }
};

/// Measures a build of 512 bits with four queues ("512" or "512-shared") against its goals.
[[nodiscard]] std::vector<RtlFigure> measure_rtl(const std::string& build);

}  // namespace sluice::test
