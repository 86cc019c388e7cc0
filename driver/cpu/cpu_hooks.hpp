// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "sluice/cpu/cpu_engine.hpp"

namespace sluice::inline cpu {

/// What a test puts in the place of what the engine does itself. Users have no part in it.
struct CpuHooks {
  std::function<bool(MemorySpan, std::uint64_t pattern)> fill;  ///< Writes a chunk; false: the memory did not take it.
  std::function<void(MemorySpan)> before_verify;                ///< Before a chunk is read.
  std::function<void()> fence;                                  ///< Before each publication.
  bool callers_help = false;  ///< A fill that holds up a worker must not hold up whoever calls poll().
};

}  // namespace sluice::inline cpu
