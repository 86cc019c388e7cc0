// SPDX-License-Identifier: Apache-2.0
#include "layout.hpp"

#include <algorithm>

namespace sluice::world {
namespace {

constexpr PageKind kSmall = PageKind::Small;
constexpr PageKind kHuge = PageKind::Huge2MiB;

std::vector<Layout::Part> parts_of(std::uint64_t random) {
  switch (random % 5) {
    case 0:  // huge pages beside small ones on both nodes
      return {{0, kSmall, 56}, {0, kHuge, 40}, {1, kSmall, 56}, {1, kHuge, 40}};
    case 1:  // one node, which is not the first
      return {{3, kSmall, 192}};
    case 2:  // a small node
      return {{0, kSmall, 160}, {1, kSmall, 12}, {1, kSmall, 20}};
    default:
      return {{0, kSmall, 64}, {0, kSmall, 64}, {1, kSmall, 64}};
  }
}

}  // namespace

Layout::Layout(std::uint64_t random) : parts_(parts_of(random)), whole_(random % 10 == 5) {
  std::size_t page = 0;
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    has_huge_ = has_huge_ || parts_[part].kind != kSmall;
    for (std::size_t more = parts_[part].pages; more > 0; --more, ++page) {
      part_of_.at(page) = static_cast<std::uint8_t>(part);
      offsets_[page + 1] = offsets_[page] + page_length(parts_[part].kind).value();
    }
  }
}

void Layout::ask_for(PageKind kind, Placement& placement) const {
  if (kind == kSmall) return;
  if (whole_) {
    placement.unit = page_length(kind);
  } else {
    placement.pages = kind;
  }
}

bool Layout::has(PageKind kind, std::optional<std::uint32_t> node) const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [&](const Part& part) { return part.kind == kind && (!node || part.node == *node); });
}

std::size_t Layout::page_at(std::size_t offset) const {
  if (!has_huge_) return offset / page_length(kSmall).value();
  const auto after = std::upper_bound(offsets_.begin(), offsets_.end(), offset);
  return static_cast<std::size_t>(after - offsets_.begin()) - 1;
}

}  // namespace sluice::world
