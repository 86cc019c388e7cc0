// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::inline base {

/// What names a VM on all hosts, as whoever manages VMs gives it. All zeros: none.
struct Uuid {
  std::array<std::byte, 16> bytes{};  ///< In the order in which they are written.

  [[nodiscard]] constexpr bool is_set() const { return *this != Uuid(); }
  constexpr auto operator<=>(const Uuid&) const = default;
};

/// "123e4567-e89b-12d3-a456-426614174000"
[[nodiscard]] inline std::string to_string(const Uuid& uuid) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (std::size_t at = 0; at < uuid.bytes.size(); ++at) {
    if (at == 4 || at == 6 || at == 8 || at == 10) text += '-';
    const auto value = std::to_integer<unsigned>(uuid.bytes[at]);
    text += kDigits[value >> 4];
    text += kDigits[value & 0xF];
  }
  return text;
}

/// That form alone, in small or capital letters. nullopt: anything else.
[[nodiscard]] inline std::optional<Uuid> parse_uuid(std::string_view text) {
  Uuid uuid;
  std::size_t digits = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (at == 8 || at == 13 || at == 18 || at == 23) {
      if (text[at] != '-') return std::nullopt;
      continue;
    }
    const char letter = text[at];
    unsigned value = 0;
    if (letter >= '0' && letter <= '9') {
      value = static_cast<unsigned>(letter - '0');
    } else if (letter >= 'a' && letter <= 'f') {
      value = static_cast<unsigned>(letter - 'a') + 10;
    } else if (letter >= 'A' && letter <= 'F') {
      value = static_cast<unsigned>(letter - 'A') + 10;
    } else {
      return std::nullopt;
    }
    if (digits / 2 == uuid.bytes.size()) return std::nullopt;
    std::byte& byte = uuid.bytes[digits++ / 2];
    byte = byte << 4 | std::byte(value);
  }
  if (digits != 2 * uuid.bytes.size()) return std::nullopt;
  return uuid;
}

}  // namespace sluice::inline base

/// @cond
template <>
struct std::hash<sluice::Uuid> {
  std::size_t operator()(const sluice::Uuid& uuid) const noexcept {
    std::array<std::uint64_t, 2> halves{};
    std::memcpy(halves.data(), uuid.bytes.data(), sizeof halves);
    return std::hash<std::uint64_t>{}(halves[0] * 0x9E3779B97F4A7C15ULL ^ halves[1]);
  }
};
/// @endcond
