// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "sluice/host/extent_table.hpp"

namespace sluice {

/// Free extents for `claim`, best first, of at least `missing` bytes together if there are so many: the VM's own
/// reserved memory, what can be recycled (queued before running scrubs), clean memory (of its pool, then shared), and
/// at last memory that must be scrubbed for it. Changes nothing.
[[nodiscard]] std::vector<Extent*> choose_memory(const ExtentTable& table, const Claim& claim, ByteCount missing);

}  // namespace sluice
