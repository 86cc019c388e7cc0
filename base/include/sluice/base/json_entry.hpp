// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "sluice/base/result.hpp"

namespace sluice::inline base {

/// What is wrong with an entry, until read_json_section() says where.
struct WrongEntry : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One object of a saved document, read strictly: each key that is read must be there, and no other. Throws WrongEntry.
class JsonEntry {
 public:
  explicit JsonEntry(const boost::json::value& value) : object_(value.if_object()) {
    if (object_ == nullptr) throw WrongEntry("an entry is no object: give {\"key\": value, ...}");
  }
  [[nodiscard]] bool has(std::string_view key) const { return object_->contains(key); }
  const boost::json::value& at(std::string_view key) {
    const boost::json::value* const value = object_->if_contains(key);
    if (value == nullptr) throw WrongEntry(fmt::format("'{}' is missing: give it", key));
    ++read_;
    return *value;
  }
  /// Whether `key` is there and null; then it has been read.
  bool is_null(std::string_view key) {
    const boost::json::value* const value = object_->if_contains(key);
    if (value == nullptr || !value->is_null()) return false;
    ++read_;
    return true;
  }
  std::uint64_t number(std::string_view key) {
    const boost::json::value& value = at(key);
    if (value.is_uint64()) return value.get_uint64();
    if (!value.is_int64() || value.get_int64() < 0) wrong(key, "a whole number from 0");
    return static_cast<std::uint64_t>(value.get_int64());
  }
  std::string text(std::string_view key) {
    const boost::json::value& value = at(key);
    if (!value.is_string()) wrong(key, "a text");
    return std::string(value.get_string());
  }
  bool flag(std::string_view key) {
    const boost::json::value& value = at(key);
    if (!value.is_bool()) wrong(key, "true or false");
    return value.get_bool();
  }
  template <class Enum>
  Enum choice(std::string_view key, std::span<const std::string_view> names) {
    const std::string given = text(key);
    for (std::size_t index = 0; index < names.size(); ++index) {
      if (names[index] == given) return static_cast<Enum>(index);
    }
    wrong(key, fmt::format("one of {}", fmt::join(names, ", ")));
  }
  void end() const {
    if (read_ != object_->size()) throw WrongEntry("the entry has a key that does not exist: leave it out");
  }
  [[noreturn]] static void wrong(std::string_view key, std::string_view want) {
    throw WrongEntry(fmt::format("'{}' is not what it can be: give {}", key, want));
  }
  static void once(bool fresh) {
    if (!fresh) throw WrongEntry("the entry stands twice: leave one out");
  }

 private:
  const boost::json::object* object_;
  std::size_t read_ = 0;
};

/// `,` and a key with its entries, one a line.
[[nodiscard]] inline std::string json_section(std::string_view name, const boost::json::array& entries) {
  std::string text = fmt::format(",\n  \"{}\": [", name);
  for (const boost::json::value& entry : entries) {
    text += (&entry == &entries.front() ? "\n    " : ",\n    ") + boost::json::serialize(entry);
  }
  return text + (entries.empty() ? "]" : "\n  ]");
}

/// Calls `read` with each entry of such a section. Errors: what is wrong, after its place: "users[1]: ...".
template <class Read>
[[nodiscard]] Result<void> read_json_section(const boost::json::object& document, std::string_view name,
                                             const Read& read) {
  const auto invalid = [](std::string message) {
    return Error{boost::system::errc::make_error_code(boost::system::errc::invalid_argument), std::move(message)};
  };
  const boost::json::value* const value = document.if_contains(name);
  if (value == nullptr || !value->is_array()) return invalid(fmt::format("{}: it is no array: give one", name));
  std::size_t index = 0;
  for (const boost::json::value& each : value->get_array()) {
    try {
      read(each);
    } catch (const WrongEntry& error) {
      return invalid(fmt::format("{}[{}]: {}", name, index, error.what()));
    }
    ++index;
  }
  return {};
}

}  // namespace sluice::inline base
