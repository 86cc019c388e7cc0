// SPDX-License-Identifier: Apache-2.0
#include "api_body.hpp"

#include <fmt/format.h>

#include "sluice/base/json.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/daemon/api.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

ApiBody::ApiBody(std::string_view text) : name_("the body") {
  if (text.empty()) throw WrongBody("the body is empty: give a JSON object");
  auto parsed = parse_json(text, ByteCount(kLongestApiBody));
  if (!parsed) throw WrongBody(fmt::format("the body is no JSON: {}", parsed.error().message));
  own_ = std::move(*parsed);
  object_ = own_.if_object();
  if (object_ == nullptr) throw WrongBody("the body is no JSON object: give {\"key\": value, ...}");
}

ApiBody::ApiBody(const json::value& value, std::string name) : object_(value.if_object()), name_(std::move(name)) {
  if (object_ == nullptr) throw WrongBody(fmt::format("'{}' is no JSON object: give one", name_));
}

void ApiBody::wrong(std::string_view key, std::string_view want) {
  throw WrongBody(fmt::format("'{}' is {}: give {}", key, in_quotes(json::serialize(at(key))), want));
}

bool ApiBody::has(std::string_view key) {
  asked_.emplace(key);
  return object_->contains(key);
}

bool ApiBody::is_null(std::string_view key) { return has(key) && object_->at(key).is_null(); }

const json::value& ApiBody::at(std::string_view key) {
  asked_.emplace(key);
  const json::value* const value = object_->if_contains(key);
  if (value == nullptr) throw WrongBody(fmt::format("'{}' is missing in {}: give it", key, name_));
  return *value;
}

std::uint64_t ApiBody::number(std::string_view key) {
  const json::value& value = at(key);
  if (value.is_uint64()) return value.get_uint64();
  if (!value.is_int64() || value.get_int64() < 0) wrong(key, "a whole number from 0");
  return static_cast<std::uint64_t>(value.get_int64());
}

std::uint64_t ApiBody::id(std::string_view key) { return !has(key) || is_null(key) ? 0 : number(key); }

ByteCount ApiBody::bytes(std::string_view key) {
  const json::value& value = at(key);
  if (!value.is_string()) return ByteCount(number(key));
  const auto parsed = parse_bytes(value.get_string());
  if (!parsed) wrong(key, "a number of bytes, or text such as \"64MiB\"");
  return *parsed;
}

std::string ApiBody::text(std::string_view key) {
  const json::value& value = at(key);
  if (!value.is_string()) wrong(key, "text");
  return std::string(value.get_string());
}

bool ApiBody::flag(std::string_view key) {
  const json::value& value = at(key);
  if (!value.is_bool()) wrong(key, "true or false");
  return value.get_bool();
}

Policy ApiBody::policy(std::string_view key) {
  auto policy = Policy::from_json(json::serialize(at(key)));
  if (!policy) throw WrongBody(policy.error().message);
  return std::move(*policy);
}

PolicyAttachment ApiBody::attachment() {
  PolicyAttachment attachment;
  if (has("policy") == has("template")) throw WrongBody("give either 'policy' or 'template'");
  if (has("policy")) {
    attachment.policy = policy("policy");
  } else if (attachment.template_name = text("template"); attachment.template_name.empty()) {
    wrong("template", "the name of a template");
  }
  return attachment;
}

void ApiBody::end() const {
  for (const auto& [key, value] : *object_) {
    if (asked_.contains(std::string_view(key))) continue;
    std::string known;
    for (const std::string& name : asked_) known += (known.empty() ? "" : ", ") + name;
    throw WrongBody(fmt::format("there is no {} in {}: {}", in_quotes(key), name_,
                                known.empty() ? "it is to be empty" : "there are " + known));
  }
}

}  // namespace sluice::inline daemon
