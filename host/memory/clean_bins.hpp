// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>

#include "extent_slab.hpp"

namespace sluice::inline memory {

/// Clean extents by length, four bins for each power of two: what fits is found without a look at the others.
/// (Segregated fit, as in Masmano et al., "TLSF: a new dynamic memory allocator for real-time systems", 2004.)
class CleanBins {
 public:
  explicit CleanBins(ExtentSlab& slab) : slab_(slab) {}

  void add(Extent& extent) {
    const std::size_t bin = bin_of(extent.pages_);
    slab_.push_front(bins_[bin], extent);
    filled_[bin / 64] |= 1ULL << bin % 64;
  }
  void remove(Extent& extent) {
    const std::size_t bin = bin_of(extent.pages_);
    slab_.unlink(bins_[bin], extent);
    if (bins_[bin].empty()) filled_[bin / 64] &= ~(1ULL << bin % 64);
  }

  void collect(std::vector<Extent*>& all) {
    for (const ExtentList& bin : bins_) {
      for (Extent* extent = slab_.at(bin.first); extent != nullptr; extent = slab_.next(*extent)) all.push_back(extent);
    }
  }

  /// An extent of at least `pages` and little more, or nullptr.
  [[nodiscard]] Extent* fitting(std::uint64_t pages) {
    const std::size_t own = bin_of(pages);
    Extent* best = nullptr;
    int looks = 0;
    for (Extent* extent = slab_.at(bins_[own].first); extent != nullptr && looks < 16; extent = slab_.next(*extent)) {
      ++looks;
      if (extent->pages_ >= pages && (best == nullptr || extent->pages_ < best->pages_)) best = extent;
    }
    return best != nullptr ? best : first_from(own + 1);
  }
  /// One of the longest bin, or nullptr.
  [[nodiscard]] Extent* longest() {
    for (std::size_t word = filled_.size(); word > 0; --word) {
      if (filled_[word - 1] == 0) continue;
      const auto bit = static_cast<std::size_t>(std::bit_width(filled_[word - 1])) - 1;
      return slab_.at(bins_[(word - 1) * 64 + bit].first);
    }
    return nullptr;
  }

 private:
  static constexpr std::size_t kBins = std::size_t{36} * 4;

  static std::size_t bin_of(std::uint64_t pages) {
    const auto power = static_cast<std::size_t>(std::bit_width(pages | 1)) - 1;
    const std::uint64_t quarter = power >= 2 ? pages >> (power - 2) : pages << (2 - power);
    return power * 4 + (quarter & 3);
  }
  [[nodiscard]] Extent* first_from(std::size_t bin) {
    for (std::size_t word = bin / 64; word < filled_.size(); ++word) {
      const std::uint64_t from = word == bin / 64 ? ~0ULL << bin % 64 : ~0ULL;
      const std::uint64_t filled = filled_[word] & from;
      if (filled != 0) return slab_.at(bins_[word * 64 + static_cast<std::size_t>(std::countr_zero(filled))].first);
    }
    return nullptr;
  }

  ExtentSlab& slab_;
  std::array<ExtentList, kBins> bins_{};
  std::array<std::uint64_t, (kBins + 63) / 64> filled_{};
};

}  // namespace sluice::inline memory
