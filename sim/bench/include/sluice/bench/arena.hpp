// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::bench {

enum class Pages : std::uint8_t {
  Small,
  Transparent,
  Hugetlb
};  ///< 4 KiB; 2 MiB where the kernel has them; 2 MiB reserved

[[nodiscard]] std::string to_string(Pages pages);

/// Memory to clear: mapped, populated, and not zero. Blocks are handed out in turn, so that each finds cold memory
/// where the arena is larger than the caches.
class Arena {
 public:
  /// Errors: NoResources, also where the kernel has no such pages.
  [[nodiscard]] static Result<std::unique_ptr<Arena>> create(ByteCount length, Pages pages);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  [[nodiscard]] MemorySpan all() const { return memory_; }
  /// `total` bytes in blocks of `block`, at least one. Neither is longer than the arena.
  [[nodiscard]] std::vector<MemorySpan> next(ByteCount block, ByteCount total);

 private:
  explicit Arena(MemorySpan memory) : memory_(memory) {}
  MemorySpan memory_;
  std::size_t at_ = 0;
};

}  // namespace sluice::bench
