// SPDX-License-Identifier: Apache-2.0
#include "qemu_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sluice/base/json.hpp"

namespace sluice::inline vmm {
namespace {

namespace json = boost::json;

constexpr ByteCount kLongestJson{128ULL << 10};  // no argument of execve(2) is longer

/// Those of QEMU 7.2 that take no value. What is not here takes one.
bool takes_no_value(std::string_view name) {
  constexpr std::array<std::string_view, 30> kNames = {"h",
                                                       "help",
                                                       "version",
                                                       "audio-help",
                                                       "snapshot",
                                                       "usb",
                                                       "nographic",
                                                       "portrait",
                                                       "full-screen",
                                                       "win2k-hack",
                                                       "no-acpi",
                                                       "no-hpet",
                                                       "no-reboot",
                                                       "no-shutdown",
                                                       "no-fd-bootchk",
                                                       "S",
                                                       "singlestep",
                                                       "enable-kvm",
                                                       "mem-prealloc",
                                                       "preconfig",
                                                       "daemonize",
                                                       "nodefaults",
                                                       "no-user-config",
                                                       "only-migratable",
                                                       "xen-attach",
                                                       "xen-domid-restrict",
                                                       "async-teardown",
                                                       "enable-sync-profile",
                                                       "semihosting",
                                                       "s"};
  return std::ranges::find(kNames, name) != kNames.end();
}

/// The next piece up to a comma that is not doubled.
std::string next_piece(std::string_view& rest) {
  std::string piece;
  while (!rest.empty()) {
    const char letter = rest.front();
    rest.remove_prefix(1);
    if (letter == ',') {
      if (rest.empty() || rest.front() != ',') break;
      rest.remove_prefix(1);
    }
    piece += letter;
  }
  return piece;
}

}  // namespace

bool is_json(const QemuOption& option) {
  return (option.name == "object" || option.name == "device") && option.value.starts_with('{');
}

std::string with_double_commas(std::string_view text) {
  std::string doubled;
  for (const char letter : text) doubled.append(letter == ',' ? 2 : 1, letter);
  return doubled;
}

Result<std::vector<QemuOption>> split_options(std::span<const std::string> arguments) {
  std::vector<QemuOption> options;
  for (std::size_t at = 0; at < arguments.size(); ++at) {
    std::string_view word = arguments[at];
    if (!word.starts_with('-') || word == "-") {
      options.push_back({{}, word, at});
      continue;
    }
    word.remove_prefix(word.starts_with("--") ? 2 : 1);
    if (takes_no_value(word)) {
      options.push_back({word, {}, at});
      continue;
    }
    if (++at == arguments.size()) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("the option {} at the end has no value: give one", in_quotes(arguments[at - 1]))};
    }
    options.push_back({word, arguments[at], at});
  }
  return options;
}

Result<json::object> read_properties(const QemuOption& option, std::string_view first_key) {
  if (is_json(option)) {
    const auto parsed = parse_json(option.value, kLongestJson);
    if (parsed) return parsed->get_object();
    return Error{HostErrc::InvalidArgument,
                 fmt::format("-{} {} is no JSON: {}", option.name, in_quotes(option.value), parsed.error().message)};
  }
  json::object properties;
  std::string_view rest = option.value;
  while (!rest.empty()) {
    const bool first = rest.size() == option.value.size();
    std::string piece = next_piece(rest);
    const std::size_t equals = piece.find('=');
    if (equals != std::string::npos) {
      properties[piece.substr(0, equals)] = piece.substr(equals + 1);
    } else if (first && !first_key.empty()) {
      properties[first_key] = piece;
    } else {
      properties[piece] = "on";
    }
  }
  return properties;
}

std::string text_of(const json::object& properties, std::string_view key) {
  const json::value* const value = properties.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::optional<ByteCount> size_of(const json::value& value, ByteCount unit) {
  if (value.is_int64() && value.get_int64() >= 0) return ByteCount(static_cast<std::uint64_t>(value.get_int64()));
  if (!value.is_string()) return std::nullopt;
  constexpr std::string_view kSuffixes = "BKMGTPE";
  std::string_view text = value.get_string();
  std::uint64_t scale = unit.value();
  if (!text.empty() && (text.back() < '0' || text.back() > '9')) {
    const char letter = text.back();
    const std::size_t power = kSuffixes.find(letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 32) : letter);
    if (power == std::string_view::npos) return std::nullopt;
    scale = 1ULL << (10 * power);
    text.remove_suffix(1);
  }
  const auto count = parse_integer<std::uint64_t>(text);
  constexpr std::uint64_t kMost = 1ULL << 63;
  if (!count || *count > kMost / scale) return std::nullopt;
  return ByteCount(*count * scale);
}

std::optional<bool> flag_of(const json::value& value) {
  if (value.is_bool()) return value.get_bool();
  if (!value.is_string()) return std::nullopt;
  const std::string_view word = value.get_string();
  for (const std::string_view yes : {"on", "yes", "true", "y"}) {
    if (word == yes) return true;
  }
  for (const std::string_view no : {"off", "no", "false", "n"}) {
    if (word == no) return false;
  }
  return std::nullopt;
}

}  // namespace sluice::inline vmm
