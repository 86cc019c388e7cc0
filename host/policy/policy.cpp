// SPDX-License-Identifier: Apache-2.0
// Policy documents: their fields, and how they are read and written.
#include "sluice/policy/policy.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

#include "policy_fields.hpp"
#include "sluice/base/json.hpp"
#include "sluice/base/printable.hpp"
#include "sluice/base/toml.hpp"

namespace sluice::inline policy {
namespace {

namespace json = boost::json;

Error invalid(std::string message) { return {HostErrc::InvalidArgument, std::move(message)}; }

json::value from_toml_node(const toml::node& node) {
  if (const auto* boolean = node.as_boolean()) return boolean->get();
  if (const auto* integer = node.as_integer()) return integer->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* text = node.as_string()) return json::string(text->get());
  if (const auto* date = node.as_date()) {
    return json::string(fmt::format("{:04}-{:02}-{:02}", date->get().year, date->get().month, date->get().day));
  }
  return json::array();  // no field is one, and null would say "none"
}

/// A policy is a list of `field = value`. What nests is refused before a parser descends into it.
Result<void> check_flat_toml(std::string_view text) {
  if (text.size() > kLongestDocument.value()) {
    return invalid(fmt::format("policy has {} bytes: give at most {}", text.size(), kLongestDocument.value()));
  }
  std::size_t line = 0;
  while (!text.empty()) {
    ++line;
    const std::string_view whole = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), whole.size() + 1));
    char quote = 0;
    bool in_value = false;
    for (const char letter : whole) {
      if (quote != 0) {
        if (letter == quote) quote = 0;
        continue;
      }
      if (letter == '#') break;
      if (letter == '"' || letter == '\'') quote = letter;
      const bool nests = std::string_view("[]{}").find(letter) != std::string_view::npos;
      if (nests || (letter == '.' && !in_value) || (letter == ':' && in_value)) {
        return invalid(
            fmt::format("policy is no list of fields, at line {}: '{}' makes tables, arrays and times, which "
                        "no field is: give one 'field = value' a line",
                        line, letter));
      }
      in_value = in_value || letter == '=';
    }
  }
  return {};
}

std::string join(std::span<const std::string_view> words) {
  std::string all;
  for (const std::string_view word : words) all += fmt::format("{}'{}'", all.empty() ? "" : ", ", word);
  return all;
}

}  // namespace

/// Reads one document.
class PolicyReader {
 public:
  Result<Policy> read(const json::object& document) {
    for (const auto& [key, value] : document) {
      const FieldFacts* const facts = find(key);
      if (facts == nullptr) {
        return invalid(fmt::format("policy field {} does not exist: choose one of {}", in_quotes(key), names()));
      }
      auto text = text_of(*facts, value);
      if (!text) return text.error();
      policy_.values_[facts->field] = std::move(*text);
    }
    if (auto sound = check(); !sound) return sound.error();
    return std::move(policy_);
  }

 private:
  static const FieldFacts* find(std::string_view name) {
    for (const FieldFacts& facts : kFields) {
      if (facts.name == name) return &facts;
    }
    return nullptr;
  }
  static std::string names() {
    std::vector<std::string_view> all;
    all.reserve(kFields.size());
    for (const FieldFacts& facts : kFields) all.push_back(facts.name);
    return join(all);
  }

  static Result<std::string> text_of(const FieldFacts& facts, const json::value& value) {
    const auto wrong = [&](const std::string& want) {
      constexpr std::size_t kShort = 60;
      const std::string given = json::serialize(value);
      return invalid(fmt::format("policy field '{}' is {}{}: give {}", facts.name, printable(given, kShort),
                                 given.size() > kShort ? "..." : "", want));
    };
    switch (facts.kind) {
      case FieldKind::Switch:
        if (!value.is_bool()) return wrong("true or false");
        return std::string(value.get_bool() ? "true" : "false");
      case FieldKind::Seconds: {
        if (!value.is_number()) return wrong("a number of seconds");
        const auto seconds = value.to_number<double>();
        if (!(seconds >= kShortestDelaySeconds && seconds <= kLongestDelaySeconds) && seconds != 0.0) {
          return wrong(fmt::format("a number of seconds from 0 to {}, of at least {} if it is not 0",
                                   kLongestDelaySeconds, kShortestDelaySeconds));
        }
        if (seconds == 0.0) return std::string("0");  // without the sign that it may have
        return fmt::format("{}", seconds);
      }
      case FieldKind::Choice:
        for (const std::string_view choice : facts.choices) {
          if (value.is_string() && value.get_string() == json::string_view(choice)) return std::string(choice);
        }
        return wrong("one of " + join(facts.choices));
      case FieldKind::Pattern: {
        if (!value.is_string() || !pattern_of(std::string_view(value.get_string()))) {
          return wrong("16 hexadecimal digits, as \"0x0123456789abcdef\"");
        }
        return std::string(value.get_string());
      }
      case FieldKind::Id:
        if (value.is_null()) return std::string("0");
        if (value.is_uint64()) return fmt::format("{}", value.get_uint64());
        if (value.is_int64() && value.get_int64() >= 0) return fmt::format("{}", value.get_int64());
        return wrong("a whole number from 0, which is none, to 18446744073709551615");
    }
    return wrong("a value");
  }

  [[nodiscard]] bool says(PolicyField field, std::string_view value) const { return policy_.value(field) == value; }
  [[nodiscard]] bool has(PolicyField field) const { return policy_.value(field).has_value(); }

  [[nodiscard]] Result<void> check() const {
    const auto contradiction = [](PolicyField a, std::string_view with, PolicyField b) {
      return invalid(fmt::format("policy contradicts itself: '{}' {} '{}': leave one of them out", to_string(a), with,
                                 to_string(b)));
    };
    if (says(PolicyField::Enable, "false")) {
      for (const FieldFacts& facts : kFields) {
        if (facts.recycles && says(facts.field, "true")) {
          return contradiction(facts.field, "is true without", PolicyField::Enable);
        }
      }
    }
    if (says(PolicyField::ForceNewMemory, "true")) {
      for (const PolicyField field : {PolicyField::RecycleOnReboot, PolicyField::RetainMemory}) {
        if (says(field, "true")) return contradiction(field, "is true with", PolicyField::ForceNewMemory);
      }
    }
    if (says(PolicyField::Fill, "pattern") != has(PolicyField::FillPattern)) {
      return invalid("policy field 'fill' is \"pattern\" if 'fill_pattern' is given, and only then: give both or none");
    }
    if (says(PolicyField::ScrubTiming, "scheduled") != has(PolicyField::ScrubDelay)) {
      return invalid(
          "policy field 'scrub_timing' is \"scheduled\" if 'scrub_delay_s' is given, and only then: give both or none");
    }
    return {};
  }

  Policy policy_;
};

std::string_view to_string(PolicyField field) { return kFields.at(static_cast<std::size_t>(field)).name; }

std::optional<std::uint64_t> pattern_of(std::string_view text) {
  if (text.size() != 18 || !text.starts_with("0x")) return std::nullopt;
  std::uint64_t pattern = 0;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), pattern, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return pattern;
}

Result<Policy> Policy::from_json(std::string_view text) {
  const auto document = parse_json(text, kLongestDocument);
  if (!document) return invalid("policy is no JSON, " + document.error().message);
  if (!document->is_object()) return invalid("policy is no JSON object: give {\"field\": value, ...}");
  return PolicyReader().read(document->get_object());
}

Result<Policy> Policy::from_toml(std::string_view text) {
  if (auto flat = check_flat_toml(text); !flat) return flat.error();
  try {
    json::object document;
    for (const auto& [key, node] : parse_toml(text)) document[key.str()] = from_toml_node(node);
    return PolicyReader().read(document);
  } catch (const TomlError& error) {
    return invalid(fmt::format("policy is no TOML, at line {}: {}", error.line(), error.what()));
  }
}

std::string Policy::to_json() const {
  std::string text = "{";
  for (const auto& [field, value] : values_) {
    const FieldKind kind = kFields.at(static_cast<std::size_t>(field)).kind;
    const bool quoted = kind == FieldKind::Choice || kind == FieldKind::Pattern;
    text += fmt::format("{}\n  \"{}\": {}", text.size() == 1 ? "" : ",", to_string(field),
                        quoted ? fmt::format("\"{}\"", value) : value);
  }
  return text + "\n}\n";
}

std::optional<std::string> Policy::value(PolicyField field) const {
  const auto found = values_.find(field);
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

void Policy::rename_pool(DedicatedPoolId from, DedicatedPoolId to) {
  if (value(PolicyField::DedicatedPool) == fmt::format("{}", from.value())) {
    values_[PolicyField::DedicatedPool] = fmt::format("{}", to.value());
  }
}

std::string Policy::schema() {
  std::string text =
      "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"Sluice memory policy\",\n"
      "  \"type\": \"object\",\n  \"additionalProperties\": false,\n  \"properties\": {";
  for (const FieldFacts& facts : kFields) {
    std::string type;
    switch (facts.kind) {
      case FieldKind::Switch:
        type = "\"type\": \"boolean\"";
        break;
      case FieldKind::Seconds:
        type = fmt::format("\"type\": \"number\", \"minimum\": 0, \"maximum\": {}", kLongestDelaySeconds);
        break;
      case FieldKind::Choice:
        for (const std::string_view choice : facts.choices) {
          type += fmt::format("{}\"{}\"", type.empty() ? "\"enum\": [" : ", ", choice);
        }
        type += "]";
        break;
      case FieldKind::Pattern:
        type = "\"type\": \"string\", \"pattern\": \"^0x[0-9a-fA-F]{16}$\"";
        break;
      case FieldKind::Id:
        type = "\"type\": [\"integer\", \"null\"], \"minimum\": 0, \"maximum\": 18446744073709551615";
        break;
    }
    text += fmt::format("{}\n    \"{}\": {{ {}, \"description\": \"{}\" }}", facts.field == PolicyField{} ? "" : ",",
                        facts.name, type, facts.meaning);
  }
  return text + "\n  }\n}\n";
}

}  // namespace sluice::inline policy
