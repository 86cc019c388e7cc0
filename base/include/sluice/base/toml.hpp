// SPDX-License-Identifier: Apache-2.0
// For files that read TOML; their libraries link tomlplusplus::tomlplusplus.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/printable.hpp"

namespace sluice::inline base {

/// An assertion of toml++ about a document.
class TomlAssertion : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};
[[noreturn]] inline void throw_toml_assertion(const char* text) { throw TomlAssertion(text); }

}  // namespace sluice::inline base

// toml++ asserts what a document can break, such as `a = [}` in release 3.3.0. So its parser is compiled here, where an
// assertion is an exception, in every build, and not taken from its shared library.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_ASSERT(expr) ((expr) ? static_cast<void>(0) : ::sluice::throw_toml_assertion(#expr))
#ifdef NDEBUG
#define SLUICE_TOML_NDEBUG
#undef NDEBUG
#endif
#include <toml++/toml.h>
#ifdef SLUICE_TOML_NDEBUG
#define NDEBUG
#undef SLUICE_TOML_NDEBUG
#endif

namespace sluice::inline base {

/// The line (from 1) of the first control character, or of the first letter beyond ASCII that is in no comment;
/// nullopt: there is none. What toml++ does with many of them is not defined, in keys and in text.
[[nodiscard]] inline std::optional<std::size_t> line_with_strange_letter(std::string_view toml) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (toml.starts_with(kByteOrderMark)) toml.remove_prefix(kByteOrderMark.size());
  bool open = false;  // a text in quotes goes on from a line before, or seems to
  for (std::size_t line = 1; !toml.empty(); ++line) {
    const std::string_view whole = toml.substr(0, toml.find('\n'));
    toml.remove_prefix(whole.size() < toml.size() ? whole.size() + 1 : toml.size());
    char quote = 0;
    bool comment = false;
    for (std::size_t at = 0; at < whole.size(); ++at) {
      const char letter = whole[at];
      const auto code = static_cast<unsigned char>(letter);
      if ((code < 0x20 && letter != '\t' && letter != '\r') || code == 0x7F) return line;
      if (code > 0x7F && !comment) return line;
      if (comment) continue;
      const std::string_view two = whole.substr(at, 2);
      if (quote == '"' && (two == "\\\"" || two == "\\\\")) {
        ++at;
      } else if (quote != 0) {
        quote = letter == quote ? char{0} : quote;
      } else if (letter == '#' && !open) {
        comment = true;
      } else if (letter == '"' || letter == '\'') {
        quote = letter;
      }
    }
    open = open || quote != 0;
  }
  return std::nullopt;
}

/// What is wrong with a document, and where.
class TomlError : public std::runtime_error {
 public:
  TomlError(std::size_t line, const std::string& what) : std::runtime_error(what), line_(line) {}
  [[nodiscard]] std::size_t line() const { return line_; }

 private:
  std::size_t line_;
};

namespace detail {

/// The line at which toml++ stops with an assertion. It reads from the left: whatever follows makes no difference.
inline std::size_t line_of_assertion(std::string_view toml) {
  const auto asserts = [](std::string_view part) {
    try {
      static_cast<void>(::toml::parse(part));
    } catch (const ::toml::parse_error&) {
      return false;
    } catch (const TomlAssertion&) {
      return true;
    }
    return false;
  };
  std::vector<std::size_t> ends;  // of lines
  for (std::size_t end = 0; end < toml.size();) {
    end = std::min(toml.find('\n', end), toml.size() - 1) + 1;
    ends.push_back(end);
  }
  const auto first =
      std::partition_point(ends.begin(), ends.end(), [&](std::size_t end) { return !asserts(toml.substr(0, end)); });
  return static_cast<std::size_t>(first - ends.begin()) + (first == ends.end() ? 0 : 1);
}

/// Before the parser sees the text: it goes one call deeper with each table, and so does what it returns when it is
/// deleted.
inline void check_depth(std::string_view toml) {
  constexpr std::size_t kMostDots = 32;  // of one key: tables in tables
  std::size_t line = 1;
  std::size_t dots = 0;
  for (const char letter : toml) {
    line += letter == '\n' ? 1 : 0;
    dots = letter == '.' ? dots + 1 : std::string_view("\n=,[]{}").find(letter) == std::string_view::npos ? dots : 0;
    if (dots > kMostDots) throw TomlError(line, "a key or text has more than 32 dots: shorten it");
  }
}

}  // namespace detail

/// A document of bounded size: whoever calls has looked at that. Throws TomlError.
[[nodiscard]] inline ::toml::table parse_toml(std::string_view toml) {
  detail::check_depth(toml);
  if (const auto strange = line_with_strange_letter(toml)) {
    throw TomlError(*strange, "a control character, or a letter beyond ASCII that is in no comment: leave it out");
  }
  try {
    return ::toml::parse(toml);
  } catch (const ::toml::parse_error& error) {
    throw TomlError(error.source().begin.line, printable(error.description(), 200));
  } catch (const TomlAssertion&) {
    throw TomlError(detail::line_of_assertion(toml), "a bracket, comma or letter that cannot stand there");
  }
}

}  // namespace sluice::inline base
