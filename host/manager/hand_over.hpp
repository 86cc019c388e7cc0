// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/extent_table.hpp"

namespace sluice::inline manager {

/// A part of a claim: an extent, and why it had to be scrubbed for it, if it had.
struct ClaimPart {
  Extent* extent;
  std::optional<Reason> scrubbed_because;
  bool was_queued = false;  ///< Dirty when it was chosen: its background scrub had not started.
};

/// The one place where memory changes hands. The part must be clean, or such that decide() lets it cross as it is.
[[nodiscard]] GrantedRange hand_over(ExtentTable& table, const Claim& claim, const ClaimPart& part,
                                     Statistics& statistics);

}  // namespace sluice::inline manager
