// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "sluice/base/units.hpp"

namespace sluice::inline compose {

/// Does what an engine that cannot verify is not asked for: reads `memory`, in which no job is under way, with the
/// caller's CPU, and returns how many bytes lie before the first that differs from the pattern; its size if none does.
/// 0 where the kernel answers with SIGBUS and an engine catches that (cpu/bus_errors.hpp). Thread-safe.
[[nodiscard]] std::size_t read_back(MemorySpan memory, std::uint64_t pattern);

}  // namespace sluice::inline compose
