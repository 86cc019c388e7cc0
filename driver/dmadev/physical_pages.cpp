// SPDX-License-Identifier: Apache-2.0
#include "sluice/dmadev/physical_pages.hpp"

#include <fmt/format.h>

namespace sluice::inline dmadev {
namespace {

constexpr std::size_t kSmallPage = kPageSize.value();
constexpr std::size_t kHugePage = 2 << 20;

}  // namespace

Result<void> PhysicalPages::add(MemorySpan memory, std::size_t page, const Lookup& lookup) {
  const auto refuse = [&](const std::string& why) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("a window of {} bytes at {} cannot be used with physical addresses: {}", memory.size(),
                             static_cast<const void*>(memory.data()), why)};
  };
  if (page < kHugePage) {
    return refuse(
        fmt::format("pages of {} bytes may move; take huge pages, and say so with page=2MiB or page=1GiB", page));
  }
  if (reinterpret_cast<std::uintptr_t>(memory.data()) % page != 0 || memory.size() % page != 0) {
    return refuse(fmt::format("it is not made of whole pages of {} bytes", page));
  }
  Window window{page, {}};
  for (std::size_t offset = 0; offset < memory.size(); offset += page) {
    const auto first = lookup(&memory[offset]);
    const auto last = lookup(&memory[offset + page - kSmallPage]);
    if (!first || !last) return refuse("this process may not know where it lies; run it as root, or use an IOMMU");
    if (*first % page != 0 || *last != *first + page - kSmallPage) {
      return refuse(fmt::format("it does not lie in pages of {} bytes", page));
    }
    window.pages.push_back(*first);
  }
  windows_[memory.data()] = std::move(window);
  return {};
}

std::uint64_t PhysicalPages::address(const std::byte* at) const {
  const auto& [begin, window] = *std::prev(windows_.upper_bound(at));
  const auto offset = static_cast<std::size_t>(at - begin);
  return window.pages[offset / window.page] + offset % window.page;
}

}  // namespace sluice::inline dmadev
