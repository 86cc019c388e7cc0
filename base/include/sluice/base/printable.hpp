// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace sluice::inline base {

/// Text from outside as a terminal can show it: everything that it would take for more than a letter is an escape in
/// hexadecimal, and what lies beyond `most` bytes is left out.
[[nodiscard]] inline std::string printable(std::string_view text, std::size_t most = 60) {
  std::string shown;
  for (const char letter : text.substr(0, most)) {
    const auto code = static_cast<unsigned char>(letter);
    shown += code < 0x20 || code >= 0x7F ? fmt::format("\\x{:02X}", code) : std::string(1, letter);
  }
  return shown;
}

}  // namespace sluice::inline base
