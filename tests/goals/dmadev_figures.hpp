// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/base/units.hpp"

namespace sluice::bench {

/// Measures the engine over DPDK's software device against the same device without Sluice, side by side.
void print_dmadev_figures(MemorySpan arena);

}  // namespace sluice::bench
