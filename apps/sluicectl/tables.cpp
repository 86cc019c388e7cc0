// SPDX-License-Identifier: Apache-2.0
#include "sluicectl/tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "sluice/base/printable.hpp"

namespace sluice {
namespace {

namespace json = boost::json;
using Row = std::vector<std::string>;

std::string cell(const json::value& value) {
  if (value.is_null()) return "-";
  const std::string text = value.is_string() ? std::string(value.get_string()) : json::serialize(value);
  return text.empty() ? "-" : printable(text, text.size());
}

std::string aligned(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t at = 0; at < row.size(); ++at) widths[at] = std::max(widths[at], row[at].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t at = 0; at < row.size(); ++at) line += fmt::format("{:{}}  ", row[at], widths[at]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

/// A column for each key that an entry has, in the order in which they come.
std::string list(const json::array& entries) {
  Row keys;
  for (const json::value& entry : entries) {
    if (!entry.is_object()) return json::serialize(entries) + "\n";
    for (const auto& [key, value] : entry.get_object()) {
      if (std::ranges::find(keys, key) == keys.end()) keys.emplace_back(key);
    }
  }
  if (entries.empty()) return "there are none\n";
  std::vector<Row> rows = {keys};
  for (const json::value& entry : entries) {
    Row row;
    for (const std::string& key : keys) {
      const json::value* const value = entry.get_object().if_contains(key);
      row.push_back(value == nullptr ? "-" : cell(*value));
    }
    rows.push_back(std::move(row));
  }
  return aligned(rows);
}

}  // namespace

std::string as_table(const json::value& answer) {
  if (!answer.is_object()) return json::serialize(answer) + "\n";
  const json::object& object = answer.get_object();
  if (object.size() == 1 && object.begin()->value().is_array()) return list(object.begin()->value().get_array());
  std::vector<Row> rows;
  for (const auto& [key, value] : object) {
    const json::object* const inner = value.if_object();
    if (inner == nullptr || key == "policy") {
      if (key != "policy") rows.push_back({std::string(key), cell(value)});
      continue;
    }
    for (const auto& [name, each] : *inner)
      rows.push_back({fmt::format("{}.{}", std::string(key), std::string(name)), cell(each)});
  }
  std::string text = aligned(rows);
  if (const json::value* const policy = object.if_contains("policy")) text += "policy: " + cell(*policy) + "\n";
  return text;
}

std::string as_explanation(const json::value& vm) {
  const json::object* const object = vm.if_object();
  const json::value* const policy = object == nullptr ? nullptr : object->if_contains("policy");
  if (policy == nullptr || !policy->is_object()) return as_table(vm);
  std::vector<Row> rows = {{"field", "value", "from"}};
  for (const auto& [field, said] : policy->get_object()) {
    rows.push_back({std::string(field), cell(said.at("value")), cell(said.at("from"))});
  }
  return aligned(rows);
}

}  // namespace sluice
