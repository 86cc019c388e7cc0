// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/memory/extent_table.hpp"

namespace sluice::inline manager {

/// Moves free memory that no engine works on from a pool to another (unset: to the shared pool), clean memory first.
/// What is dirty keeps its owner: where that is of another domain than the next claim's, it is scrubbed.
/// Errors: InvalidArgument (no whole pages), OutOfMemory (less is free), NoResources.
[[nodiscard]] Result<void> move_free(ExtentTable& table, DedicatedPoolId from, ByteCount unit, DedicatedPoolId to,
                                     ByteCount length);

/// Moves all memory of a pool of which nothing is claimed.
void move_all(ExtentTable& table, DedicatedPoolId from, DedicatedPoolId to);

}  // namespace sluice::inline manager
