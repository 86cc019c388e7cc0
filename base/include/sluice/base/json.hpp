// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <boost/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/parse.hpp"
#include "sluice/base/result.hpp"

namespace sluice::inline base {

/// The key that an object of this valid JSON has twice, if one has; escapes do not hide it.
[[nodiscard]] inline std::optional<std::string> repeated_json_key(std::string_view text) {
  std::vector<std::set<std::string, std::less<>>> objects;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '{') objects.emplace_back();
    if (text[at] == '}') objects.pop_back();
    if (text[at] != '"') continue;
    const std::size_t begin = at++;
    while (text[at] != '"') at += text[at] == '\\' ? 2 : 1;
    const std::size_t next = text.find_first_not_of(" \t\r\n", at + 1);
    if (next == std::string_view::npos || text[next] != ':') continue;
    std::string key(boost::json::parse(text.substr(begin, at + 1 - begin)).as_string());
    if (const auto [place, fresh] = objects.back().insert(key); !fresh) return key;
  }
  return std::nullopt;
}

/// A JSON document (RFC 8259) of bounded size and depth in which no object has a key twice. Errors: what is wrong, and
/// at which byte.
[[nodiscard]] inline Result<boost::json::value> parse_json(std::string_view text, ByteCount most) {
  const auto invalid = [](std::string message) {
    return Error{boost::system::errc::make_error_code(boost::system::errc::invalid_argument), std::move(message)};
  };
  constexpr std::size_t kDepth = 32;
  if (text.size() > most.value()) {
    return invalid(fmt::format("it has {} bytes, and at most {} are read", text.size(), most.value()));
  }
  boost::json::error_code code;
  boost::json::parse_options options;
  options.max_depth = kDepth;
  boost::json::stream_parser parser({}, options);
  const std::size_t read = parser.write_some(text.data(), text.size(), code);
  if (!code && read == text.size()) parser.finish(code);
  if (code || read < text.size()) {
    return invalid(fmt::format("at byte {} of {}: {}", read, text.size(),
                               code ? code.message() : "more follows after the document"));
  }
  if (const auto key = repeated_json_key(text)) {
    return invalid(fmt::format("the key {} stands twice in one object: leave one out", in_quotes(*key)));
  }
  return parser.release();
}

}  // namespace sluice::inline base
