// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice::inline base {

/// How many bytes at the beginning of a text are whole letters in UTF-8: no longer form than necessary, no surrogates,
/// nothing beyond U+10FFFF.
[[nodiscard]] constexpr std::size_t utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto byte = [&](std::size_t ahead) { return static_cast<unsigned char>(text[at + ahead]); };
    const unsigned first = byte(0);
    std::size_t length = 1;
    if (first >= 0x80) length = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (length == 0 || length > text.size() - at) return at;
    for (std::size_t ahead = 1; ahead < length; ++ahead) {
      if ((byte(ahead) & 0xC0U) != 0x80) return at;
    }
    if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F)) return at;
    if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) return at;
    at += length;
  }
  return at;
}

[[nodiscard]] constexpr bool is_utf8(std::string_view text) { return utf8_prefix(text) == text.size(); }

}  // namespace sluice::inline base
