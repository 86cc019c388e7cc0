// SPDX-License-Identifier: Apache-2.0
#include "sluice/compose/read_back.hpp"

#include "sluice/cpu/bus_errors.hpp"
#include "sluice/cpu/cpu_stores.hpp"

namespace sluice::inline compose {

std::size_t read_back(MemorySpan memory, std::uint64_t pattern) {
  std::size_t equal = 0;
  return survives(memory, [&] { equal = equal_prefix(memory, pattern); }) ? equal : 0;
}

}  // namespace sluice::inline compose
