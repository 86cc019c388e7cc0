// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <istream>
#include <string>
#include <string_view>

namespace sluice::inline workload {

/// Lines of bounded length, one after the other.
class LineReader {
 public:
  enum class Got { Line, End, TooLong, Failed };

  LineReader(std::istream& in, std::size_t most) : in_(in), text_(most + 1, '\0') {}

  /// The next line without its end, which may be "\r\n" too; valid until the next call. Of one that is too long: its
  /// beginning.
  [[nodiscard]] Got next() {
    line_ = {};
    if (in_.bad()) return Got::Failed;
    in_.getline(text_.data(), static_cast<std::streamsize>(text_.size()));
    const auto got = static_cast<std::size_t>(in_.gcount());
    if (in_.bad()) return Got::Failed;
    if (got == 0) return Got::End;
    ++number_;
    const bool too_long = in_.fail();
    // What getline took: with the end of the line, if there was one.
    line_ = std::string_view(text_).substr(0, in_.eof() || too_long ? got : got - 1);
    if (too_long) return Got::TooLong;
    if (line_.ends_with('\r')) line_.remove_suffix(1);
    return Got::Line;
  }
  [[nodiscard]] std::string_view line() const { return line_; }
  [[nodiscard]] std::size_t number() const { return number_; }  ///< of the line, from 1

 private:
  std::istream& in_;
  std::string text_;
  std::string_view line_;
  std::size_t number_ = 0;
};

}  // namespace sluice::inline workload
