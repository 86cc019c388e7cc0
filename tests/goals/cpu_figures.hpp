// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/base/units.hpp"

namespace sluice::bench {

/// Measures the CPU engine against its goals and prints a table. Each figure is the median over rounds; in a ratio the
/// two sides take turns within a round. `arena`: populated memory, larger than the caches.
void print_cpu_figures(MemorySpan arena);

}  // namespace sluice::bench
