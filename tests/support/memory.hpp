// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <optional>

#include "sluice/base/units.hpp"

namespace sluice::test {

enum class Pages : std::uint8_t { Any, Huge };

/// Page-aligned anonymous memory, filled with a byte; in huge pages if so wished and if the kernel has them.
class Memory {
 public:
  explicit Memory(std::size_t length, std::byte value = std::byte{0}, Pages pages = Pages::Any) : length_(length) {
    void* const memory = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    if (pages == Pages::Huge) ::madvise(memory, length, MADV_HUGEPAGE);
    base_ = static_cast<std::byte*>(memory);
    fill(value);
  }
  /// Memory that somebody else keeps.
  Memory(MemorySpan foreign, std::byte value) : base_(foreign.data()), length_(foreign.size()), foreign_(true) {
    fill(value);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    if (!foreign_) ::munmap(base_, length_);
  }

  [[nodiscard]] MemorySpan all() const { return {base_, length_}; }
  [[nodiscard]] MemorySpan part(std::size_t offset, std::size_t length) const { return all().subspan(offset, length); }
  void fill(std::byte value) const { std::fill_n(base_, length_, value); }

 private:
  std::byte* base_;
  std::size_t length_;
  bool foreign_ = false;
};

/// The byte that a fill with `pattern` leaves at `address`.
inline std::byte pattern_byte(std::uint64_t pattern, const std::byte* address) {
  return static_cast<std::byte>(pattern >> (8 * (reinterpret_cast<std::uintptr_t>(address) % 8)));
}

/// Index of the first byte that is not the pattern's, if there is one.
inline std::optional<std::size_t> first_not_pattern(MemorySpan memory, std::uint64_t pattern) {
  for (std::size_t index = 0; index < memory.size(); ++index) {
    if (memory[index] != pattern_byte(pattern, &memory[index])) return index;
  }
  return std::nullopt;
}

/// Index of the first byte that is not `value`, if there is one.
inline std::optional<std::size_t> first_not(MemorySpan memory, std::byte value) {
  for (std::size_t index = 0; index < memory.size(); ++index) {
    if (memory[index] != value) return index;
  }
  return std::nullopt;
}

}  // namespace sluice::test
