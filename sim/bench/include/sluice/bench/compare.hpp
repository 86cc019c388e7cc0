// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "sluice/bench/results.hpp"

namespace sluice::bench {

/// What moved from one run to another, beyond noise: a figure whose intervals do not meet. A figure with less than
/// three samples that is not exact cannot tell.
struct Comparison {
  std::size_t better = 0;
  std::size_t worse = 0;
  std::size_t same = 0;
  std::size_t unknown = 0;
  std::size_t only_in_one = 0;
  std::string text;
};

[[nodiscard]] Comparison compare(const Results& before, const Results& after);

}  // namespace sluice::bench
