// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice::inline base {

/// A number of bytes. Converts from and to integers only when asked to.
class ByteCount {
 public:
  constexpr ByteCount() = default;
  constexpr explicit ByteCount(std::uint64_t value) : value_(value) {}

  [[nodiscard]] constexpr std::uint64_t value() const { return value_; }
  constexpr auto operator<=>(const ByteCount&) const = default;

  constexpr ByteCount& operator+=(ByteCount other) {
    value_ += other.value_;
    return *this;
  }
  constexpr ByteCount& operator-=(ByteCount other) {
    value_ -= other.value_;
    return *this;
  }
  friend constexpr ByteCount operator+(ByteCount a, ByteCount b) { return ByteCount(a.value_ + b.value_); }
  friend constexpr ByteCount operator-(ByteCount a, ByteCount b) { return ByteCount(a.value_ - b.value_); }

 private:
  std::uint64_t value_ = 0;
};

inline constexpr ByteCount kKiB{1ULL << 10};
inline constexpr ByteCount kMiB{1ULL << 20};
/// The small page of the host: all memory is counted in these.
inline constexpr ByteCount kPageSize{4096};
inline constexpr ByteCount kGiB{1ULL << 30};

/// An address as the device sees it (I/O virtual address).
class Iova {
 public:
  constexpr Iova() = default;
  constexpr explicit Iova(std::uint64_t value) : value_(value) {}

  [[nodiscard]] constexpr std::uint64_t value() const { return value_; }
  constexpr auto operator<=>(const Iova&) const = default;
  friend constexpr Iova operator+(Iova a, ByteCount b) { return Iova(a.value_ + b.value()); }

 private:
  std::uint64_t value_ = 0;
};

/// Host memory in this process' address space.
using MemorySpan = std::span<std::byte>;

[[nodiscard]] inline ByteCount length_of(MemorySpan memory) { return ByteCount(memory.size()); }

}  // namespace sluice::inline base
