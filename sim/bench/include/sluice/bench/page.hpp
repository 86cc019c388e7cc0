// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "sluice/bench/results.hpp"

namespace sluice::bench {

/// The results as one page of HTML that needs nothing else: pictures, tables, notes.
[[nodiscard]] std::string to_page(const Results& results);

}  // namespace sluice::bench
