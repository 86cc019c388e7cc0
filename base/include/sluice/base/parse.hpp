// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/base/printable.hpp"
#include "sluice/base/units.hpp"

// How text from outside becomes a number. Nothing here depends on the locale, skips blanks or wraps: the whole text is
// the number, or there is none.
namespace sluice::inline base {

/// Decimal digits, with a minus for signed types. nullopt: anything else, or a number that T does not hold.
template <std::integral T>
[[nodiscard]] std::optional<T> parse_integer(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "0.75", "1e-3". nullopt: anything else, also infinity and what is not a number.
[[nodiscard]] inline std::optional<double> parse_real(std::string_view text) {
  double value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

/// "4096", "64KiB": a number with B, KiB, MiB, GiB or TiB.
[[nodiscard]] inline std::optional<ByteCount> parse_bytes(std::string_view text) {
  constexpr std::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto count = parse_integer<std::uint64_t>(text.substr(0, digits));
  const std::string_view unit = digits == text.size() ? kUnits[0] : text.substr(digits);
  for (std::size_t power = 0; count && power < std::size(kUnits); ++power) {
    const std::uint64_t scale = 1ULL << (10 * power);
    if (unit == kUnits[power] && *count <= ~0ULL / scale) return ByteCount(*count * scale);
  }
  return std::nullopt;
}

/// The largest unit that leaves a whole number: "64KiB", "100B". parse_bytes reads it back.
[[nodiscard]] inline std::string print_bytes(ByteCount bytes) {
  constexpr std::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::uint64_t value = bytes.value();
  std::size_t power = 0;
  while (value != 0 && value % 1024 == 0 && power + 1 < std::size(kUnits)) {
    value /= 1024;
    ++power;
  }
  return fmt::format("{}{}", value, kUnits[power]);
}

/// Text from outside as a message can show it: in quotes, of bearable length, with everything that a terminal would
/// take for more than a letter as an escape in hexadecimal.
[[nodiscard]] inline std::string in_quotes(std::string_view text, std::size_t most = 60) {
  std::string shown = fmt::format("'{}'", printable(text, most));
  if (text.size() > most) shown += fmt::format("... ({} bytes)", text.size());
  return shown;
}

}  // namespace sluice::inline base
