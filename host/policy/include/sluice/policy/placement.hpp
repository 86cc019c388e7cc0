// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "sluice/memory/backing_memory.hpp"

namespace sluice::inline policy {

/// Where a VM's memory should lie.
struct Placement {
  std::optional<PageKind> pages;  ///< Exactly these. Unset: its dedicated pool's, or else the host's smallest.
  /// In pieces of exactly this length, where bricks change hands as a whole. Unset: as its dedicated pool, or else the
  /// shortest of such pages.
  std::optional<ByteCount> unit;
  std::optional<std::uint32_t>
      node;  ///< NUMA node; unset: any, the one where its pool has memory, or else most is clean.
  /// No other node. Otherwise other nodes help out before a scrub has to be waited for.
  bool only_node = false;
  /// Ranges of at least so many bytes, as far as there are such that need no scrub.
  ByteCount contiguous;
  bool operator==(const Placement&) const = default;
};

}  // namespace sluice::inline policy
