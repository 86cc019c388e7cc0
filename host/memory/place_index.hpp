// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <absl/container/btree_set.h>

#include "extent_slab.hpp"

namespace sluice::inline memory {

/// Extents in the order of their places. A key is a page number and, below it, an extent's index.
class PlaceIndex {
 public:
  void add(std::uint64_t page, ExtentIndex extent) { places_.insert(page << kIndexBits | extent); }
  void remove(std::uint64_t page, ExtentIndex extent) { places_.erase(page << kIndexBits | extent); }

  /// The extent that begins at this page or is the last before it; kNoExtent: none.
  [[nodiscard]] ExtentIndex at_or_before(std::uint64_t page) const {
    auto place = places_.upper_bound(page << kIndexBits | kIndexMask);
    return place == places_.begin() ? kNoExtent : index(*--place);
  }
  [[nodiscard]] ExtentIndex after(std::uint64_t page) const {
    const auto place = places_.upper_bound(page << kIndexBits | kIndexMask);
    return place == places_.end() ? kNoExtent : index(*place);
  }
  /// The neighbours of the extent at this page.
  struct Neighbours {
    ExtentIndex before;
    ExtentIndex after;
  };
  [[nodiscard]] Neighbours around(std::uint64_t page) const {
    const auto place = places_.lower_bound(page << kIndexBits);
    const auto next = std::next(place);
    return {place == places_.begin() ? kNoExtent : index(*std::prev(place)),
            next == places_.end() ? kNoExtent : index(*next)};
  }

 private:
  static constexpr int kIndexBits = 28;
  static constexpr std::uint64_t kIndexMask = (1ULL << kIndexBits) - 1;
  static ExtentIndex index(std::uint64_t key) { return static_cast<ExtentIndex>(key & kIndexMask); }

  absl::btree_set<std::uint64_t> places_;
};

}  // namespace sluice::inline memory
