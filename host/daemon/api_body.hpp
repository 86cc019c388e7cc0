// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "sluice/base/units.hpp"
#include "sluice/memory/error.hpp"
#include "sluice/policy/policy_book.hpp"

namespace sluice::inline daemon {

/// What makes a body none that the call takes. Its text says what is wrong, and what to give.
struct WrongBody : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One JSON object of a request, read strictly: each key must be asked for, so that a misspelt one is an error and not
/// silence. Its calls throw WrongBody.
class ApiBody {
 public:
  /// The whole body.
  explicit ApiBody(std::string_view text);
  /// An object in it, under `name`.
  ApiBody(const boost::json::value& value, std::string name);

  [[nodiscard]] bool has(std::string_view key);
  /// Whether `key` is there and null.
  [[nodiscard]] bool is_null(std::string_view key);
  const boost::json::value& at(std::string_view key);
  std::uint64_t number(std::string_view key);
  /// 0 where it is left out, or null.
  std::uint64_t id(std::string_view key);
  /// A number of bytes, or text such as "64MiB".
  ByteCount bytes(std::string_view key);
  std::string text(std::string_view key);
  bool flag(std::string_view key);
  bool flag(std::string_view key, bool otherwise) { return has(key) ? flag(key) : otherwise; }
  Policy policy(std::string_view key);
  /// Either "policy" or "template".
  PolicyAttachment attachment();
  /// After all keys were asked for.
  void end() const;

 private:
  [[noreturn]] void wrong(std::string_view key, std::string_view want);

  boost::json::value own_;
  const boost::json::object* object_ = nullptr;
  std::string name_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace sluice::inline daemon
