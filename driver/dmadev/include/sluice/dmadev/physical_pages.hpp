// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/engine/error.hpp"

namespace sluice::inline dmadev {

/// The physical addresses of memory in huge pages. They stay where they are; small ones the kernel may move.
class PhysicalPages {
 public:
  /// Physical address of a byte; nullopt: the process may not know.
  using Lookup = std::function<std::optional<std::uint64_t>(const std::byte*)>;

  /// `page` is a power of two. Looks at the first and the last 4 KiB of each page, to see that it is one.
  /// Errors: InvalidArgument.
  [[nodiscard]] Result<void> add(MemorySpan memory, std::size_t page, const Lookup& lookup);

  /// Of memory that was added.
  [[nodiscard]] std::uint64_t address(const std::byte* at) const;

 private:
  struct Window {
    std::size_t page;
    std::vector<std::uint64_t> pages;
  };
  std::map<const std::byte*, Window> windows_;
};

}  // namespace sluice::inline dmadev
