// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>

#include "sluice/memory/extent_table.hpp"
#include "sluice/policy/claim.hpp"

namespace sluice::inline manager {

/// Calls `take` with free extents for `claim`, best first, until they are `missing` bytes together or no more are
/// there: the VM's own reserved memory, then zone by zone what can be recycled (queued before running scrubs) and clean
/// memory (of its pool, then shared), and at last memory that must be scrubbed for it. Cuts what is longer than needed,
/// but nothing that an engine works on. `take` claims what it is given.
void choose_memory(ExtentTable& table, const Claim& claim, std::span<const std::uint32_t> zones, ByteCount missing,
                   const std::function<void(Extent&)>& take);

}  // namespace sluice::inline manager
