// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "sluice/base/enforce.hpp"

namespace sluice::fuzz {

/// What a fuzz target defines: gives one input to the code under test. It must neither crash nor hang on any, and
/// aborts when a promise is broken.
void one(std::span<const std::byte> input);

inline std::string_view as_text(std::span<const std::byte> input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

/// Promised of every message: it fits on a terminal, and nothing in it is an order to one.
inline void check_message(std::string_view message) {
  constexpr std::size_t kLongest = 800;
  enforce(!message.empty() && message.size() <= kLongest, "a message is short");
  for (const char letter : message) enforce(letter >= ' ' && letter <= '~', "a message can be printed");
}

/// The same, and it begins with NAME:LINE:, where the input has such a line.
inline void check_message_of_line(std::string_view message, std::string_view name, std::string_view input) {
  check_message(message);
  enforce(message.starts_with(name) && message.substr(name.size()).starts_with(":"), "a message names its file");
  std::size_t line = 0;
  std::string_view rest = message.substr(name.size() + 1);
  for (; !rest.empty() && rest.front() >= '0' && rest.front() <= '9'; rest.remove_prefix(1)) {
    line = line * 10 + static_cast<std::size_t>(rest.front() - '0');
  }
  enforce(rest.starts_with(":"), "a message names its line");
  std::size_t lines = 1;
  for (const char letter : input) lines += letter == '\n' ? 1 : 0;
  enforce(line >= 1 && line <= lines, "a message names a line that there is");
}

}  // namespace sluice::fuzz
