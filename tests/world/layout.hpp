// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "sluice/policy/placement.hpp"

namespace sluice::world {

inline constexpr std::size_t kPages = 192;

/// Which bricks a host has, one after the other: always kPages pages, some of them perhaps huge. Pages are counted from
/// 0 through all bricks, whatever their length.
class Layout {
 public:
  struct Part {
    std::uint32_t node;
    PageKind kind;
    std::size_t pages;
  };

  /// One of a few, by a random number.
  explicit Layout(std::uint64_t random);

  [[nodiscard]] const std::vector<Part>& parts() const { return parts_; }
  [[nodiscard]] const Part& part_of(std::size_t page) const { return parts_[part_of_[page]]; }
  [[nodiscard]] bool has_huge() const { return has_huge_; }
  /// What counts as huge pages are bricks of that length in small pages, each of which changes hands as a whole.
  [[nodiscard]] bool has_whole_bricks() const { return whole_; }
  /// As a VM or a pool asks for such pages.
  void ask_for(PageKind kind, Placement& placement) const;
  /// Whether a VM or pool may ask for this: pages of this kind, on this node if there is one.
  [[nodiscard]] bool has(PageKind kind, std::optional<std::uint32_t> node) const;

  /// Of the first byte of a page in the pool; of kPages, the length of the pool.
  [[nodiscard]] std::size_t offset(std::size_t page) const { return offsets_[page]; }
  [[nodiscard]] std::size_t bytes(std::size_t first, std::size_t pages) const {
    return offsets_[first + pages] - offsets_[first];
  }
  [[nodiscard]] std::size_t page_at(std::size_t offset) const;

 private:
  std::vector<Part> parts_;
  std::array<std::size_t, kPages + 1> offsets_{};
  std::array<std::uint8_t, kPages> part_of_{};
  bool has_huge_ = false;
  bool whole_ = false;
};

}  // namespace sluice::world
