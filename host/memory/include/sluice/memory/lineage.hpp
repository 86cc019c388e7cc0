// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "sluice/memory/fill.hpp"
#include "sluice/memory/owner.hpp"

namespace sluice::inline memory {

inline constexpr std::chrono::nanoseconds kOnlyForClaims = std::chrono::nanoseconds::max();

/// Names a set of VMs that must not get some memory as long as memory has it; 0: no VM.
using SuspectIndex = std::uint32_t;

/// Everything about an extent but its place, its length and its state. It is kept once for all extents that have it.
struct Lineage {
  Owner owner;           ///< Clean: unset, since who wrote it does not matter any more.
  DedicatedPoolId pool;  ///< The pool it belongs to; unset: the shared pool.
  std::uint32_t zone = 0;
  SuspectIndex suspect = 0;           ///< For whom it is suspect: ExtentTable::is_suspect().
  bool lent = false;                  ///< Reserved: its VM's trust group may have it meanwhile.
  Fill fill;                          ///< Dirty: what its next scrub in the background fills it with.
  std::chrono::nanoseconds delay{0};  ///< Dirty: from its release to that scrub; kOnlyForClaims: there is none.
  bool operator==(const Lineage&) const = default;
};

/// Names a lineage as long as an extent has it.
using LineageIndex = std::uint32_t;

}  // namespace sluice::inline memory
