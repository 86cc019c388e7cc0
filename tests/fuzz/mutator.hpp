// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

namespace sluice::fuzz {

using Bytes = std::vector<std::byte>;

/// Makes inputs that are nearly those of a corpus. The same seed makes the same inputs.
class Mutator {
 public:
  static constexpr std::size_t kLongest = 1 << 16;  // bytes

  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  [[nodiscard]] Bytes next(const std::vector<Bytes>& corpus) {
    Bytes input = corpus.empty() ? Bytes() : corpus[below(corpus.size())];
    for (std::size_t change = 1 + below(6); change > 0; --change) {
      mutate(input, corpus);
      if (input.size() > kLongest) input.resize(kLongest);
    }
    return input;
  }

 private:
  [[nodiscard]] std::size_t below(std::size_t end) { return static_cast<std::size_t>(random_() % end); }
  [[nodiscard]] std::byte any_byte() { return static_cast<std::byte>(below(256)); }

  void mutate(Bytes& input, const std::vector<Bytes>& corpus) {
    const std::size_t at = below(input.size() + 1);
    const std::size_t rest = input.size() - at;
    switch (below(9)) {
      case 0:
        if (rest > 0) input[at] ^= static_cast<std::byte>(1U << below(8));
        break;
      case 1:
        if (rest > 0) input[at] = any_byte();
        break;
      case 2:
        input.insert(place(input, at), 1 + below(8), any_byte());
        break;
      case 3:
        if (rest > 0) input.erase(place(input, at), place(input, at + 1 + below(std::min<std::size_t>(rest, 64))));
        break;
      case 4:
        input.resize(at);
        break;
      case 5:
        insert_part(input, at, input);
        break;
      case 6:
        if (!corpus.empty()) insert_part(input, at, corpus[below(corpus.size())]);
        break;
      case 7:
        write_number(input, at);
        break;
      default:
        write_text(input, at);
    }
  }

  static Bytes::iterator place(Bytes& input, std::size_t at) { return input.begin() + static_cast<std::ptrdiff_t>(at); }

  void insert_part(Bytes& input, std::size_t at, const Bytes& from) {
    if (from.empty()) return;
    const std::size_t begin = below(from.size());
    const auto first = from.begin() + static_cast<std::ptrdiff_t>(begin);
    const Bytes part(first,
                     first + static_cast<std::ptrdiff_t>(1 + below(std::min<std::size_t>(from.size() - begin, 256))));
    input.insert(place(input, at), part.begin(), part.end());
  }

  /// A number near a limit, little endian, of 1 to 8 bytes.
  void write_number(Bytes& input, std::size_t at) {
    const std::uint64_t number = (below(2) == 0 ? ~0ULL : 1ULL << below(64)) + below(3) - 1;
    const std::size_t length = 1ULL << below(4);
    for (std::size_t byte = 0; byte < length && at + byte < input.size(); ++byte) {
      input[at + byte] = static_cast<std::byte>(number >> (8 * byte));
    }
  }

  /// What is hard for parsers of text.
  void write_text(Bytes& input, std::size_t at) {
    static constexpr std::array<std::string_view, 20> kTexts = {"0",
                                                                "-1",
                                                                "18446744073709551615",
                                                                "18446744073709551616",
                                                                "9223372036854775808",
                                                                "4294967296",
                                                                "1e308",
                                                                "nan",
                                                                "-",
                                                                ".",
                                                                ",",
                                                                ":",
                                                                "=",
                                                                "\"",
                                                                "{",
                                                                "[",
                                                                "\r\n",
                                                                "\xEF\xBB\xBF",
                                                                "\xFF",
                                                                "\\u0000"};
    const std::string_view text = kTexts[below(kTexts.size())];
    const auto* const first = reinterpret_cast<const std::byte*>(text.data());
    input.insert(place(input, at), first, first + text.size());
  }

  std::mt19937_64 random_;
};

}  // namespace sluice::fuzz
