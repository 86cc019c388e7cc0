// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/base/units.hpp"

namespace sluice::bench {

/// Prints throughput and latency of every engine that is available, from 4 KiB to 1 GiB, beside libc memset. Times of a
/// simulated engine are its cycles. `arena`: populated memory of at least 1 GiB.
void print_engine_table(MemorySpan arena);

}  // namespace sluice::bench
