// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "sluice/memory/extent_table.hpp"
#include "sluice/policy/claim.hpp"

namespace sluice::inline manager {

/// The zones that a claim may have memory from, best first.
[[nodiscard]] std::vector<std::uint32_t> zones_for(const ExtentTable& table, const Claim& claim);

/// What a claim could be granted now: free memory of its zones and its pool, and what is reserved for its VM.
[[nodiscard]] ByteCount available_for(const ExtentTable& table, const Claim& claim);

}  // namespace sluice::inline manager
