// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/arena.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace sluice::bench {
namespace {

constexpr std::size_t kHuge = 2ULL << 20;

/// What the kernel gives this mapping in huge pages. bytes
std::size_t huge_bytes(const void* begin) {
  std::ifstream maps("/proc/self/smaps");
  const std::string head = fmt::format("{:x}-", reinterpret_cast<std::uintptr_t>(begin));
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.starts_with(head)) here = true;
    if (here && line.starts_with("AnonHugePages:")) return std::stoull(line.substr(14)) << 10;
  }
  return 0;
}

}  // namespace

std::string to_string(Pages pages) {
  switch (pages) {
    case Pages::Small:
      return "4 KiB";
    case Pages::Transparent:
      return "2 MiB, THP";
    case Pages::Hugetlb:
      return "2 MiB, hugetlb";
  }
  return "unknown";
}

Result<std::unique_ptr<Arena>> Arena::create(ByteCount length, Pages pages) {
  const std::size_t size = (length.value() + kHuge - 1) / kHuge * kHuge;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (pages == Pages::Hugetlb ? MAP_HUGETLB : 0);
  const auto refused = [&](const std::string& why) {
    return Error{HostErrc::NoResources, fmt::format("{} MiB in pages of {}: {}", size >> 20, to_string(pages), why)};
  };
  // A huge page's length more, to begin at a multiple of it.
  const std::size_t mapped = pages == Pages::Hugetlb ? size : size + kHuge;
  void* const base = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (base == MAP_FAILED) {
    return refused(pages == Pages::Hugetlb ? fmt::format("{}; reserve {} of them: sysctl vm.nr_hugepages",
                                                         std::strerror(errno), size / kHuge)
                                           : std::strerror(errno));
  }
  auto* begin = static_cast<std::byte*>(base);
  if (pages != Pages::Hugetlb) {
    const std::size_t skip = (kHuge - reinterpret_cast<std::uintptr_t>(base) % kHuge) % kHuge;
    if (skip > 0) ::munmap(begin, skip);
    begin += skip;
    if (kHuge > skip) ::munmap(begin + size, kHuge - skip);
    ::madvise(begin, size, pages == Pages::Transparent ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  }
  std::unique_ptr<Arena> arena(new Arena({begin, size}));
  std::memset(begin, 1, size);
  if (pages == Pages::Transparent && huge_bytes(begin) < size / 2) return refused("the kernel gives small ones");
  return arena;
}

Arena::~Arena() { ::munmap(memory_.data(), memory_.size()); }

std::vector<MemorySpan> Arena::next(ByteCount block, ByteCount total) {
  const std::size_t count = std::max<std::size_t>(total.value() / block.value(), 1);
  std::vector<MemorySpan> blocks(count);
  for (MemorySpan& each : blocks) {
    if (at_ + block.value() > memory_.size()) at_ = 0;
    each = memory_.subspan(at_, block.value());
    at_ += block.value();
  }
  return blocks;
}

}  // namespace sluice::bench
