// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/engine_options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace sluice::inline engine {
namespace {

template <class T>
std::optional<T> number_in(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::pair<std::string_view, std::string_view> cut(std::string_view text, char at) {
  const std::size_t place = text.find(at);
  if (place == std::string_view::npos) return {text, {}};
  return {text.substr(0, place), text.substr(place + 1)};
}

std::optional<std::uint64_t> bytes_in(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto count = number_in<std::uint64_t>(text.substr(0, digits));
  constexpr std::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  const std::string_view unit = digits == text.size() ? kUnits[0] : text.substr(digits);
  for (std::size_t power = 0; count && power < std::size(kUnits); ++power) {
    const std::uint64_t scale = 1ULL << (10 * power);
    if (unit == kUnits[power] && *count <= ~0ULL / scale) return *count * scale;
  }
  return std::nullopt;
}

}  // namespace

Result<EngineName> EngineName::parse(std::string_view text) {
  const auto refuse = [&](const std::string& why) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("engine '{}': {}; give KIND[:KEY=VALUE,...], for example cpu:threads=2", text, why)};
  };
  EngineName name;
  name.text = text;
  auto [kind, items] = cut(text, ':');
  if (kind.empty()) return refuse("it names no kind");
  name.kind = kind;
  if (kind.size() < text.size() && items.empty()) return refuse("nothing follows the colon");
  while (!items.empty()) {
    const auto [item, rest] = cut(items, ',');
    const auto [key, value] = cut(item, '=');
    if (rest.empty() && item.size() < items.size()) return refuse("nothing follows the last comma");
    items = rest;
    if (key.empty()) return refuse(fmt::format("'{}' has no key", item));
    if (key.size() == item.size()) {
      if (!name.device.empty()) return refuse(fmt::format("it names two devices, '{}' and '{}'", name.device, item));
      name.device = item;
    } else if (!name.options.emplace(key, value).second) {
      return refuse(fmt::format("'{}' is given twice", key));
    }
  }
  return name;
}

void EngineOptionSet::add_number(const std::string& key, std::uint64_t min, std::uint64_t max,
                                 std::function<void(std::uint64_t)> set, const std::string& default_value,
                                 const std::string& text) {
  Option option{{key, fmt::format("{}..{}", min, max), default_value, text}, {}};
  option.set = [min, max, set = std::move(set)](const std::string& value) {
    const auto read = number_in<std::uint64_t>(value);
    if (!read || *read < min || *read > max) return false;
    set(*read);
    return true;
  };
  options_.push_back(std::move(option));
}

void EngineOptionSet::real(const std::string& key, double& value, double min, double max, const std::string& text) {
  Option option{{key, fmt::format("{}..{}", min, max), fmt::format("{}", value), text}, {}};
  option.set = [min, max, &value](const std::string& given) {
    const auto read = number_in<double>(given);
    if (!read || !(*read >= min && *read <= max)) return false;
    value = *read;
    return true;
  };
  options_.push_back(std::move(option));
}

void EngineOptionSet::bytes(const std::string& key, ByteCount& value, const std::string& text) {
  Option option{{key, "BYTES, like 64KiB", fmt::format("{}", value.value()), text}, {}};
  option.set = [&value](const std::string& given) {
    const auto read = bytes_in(given);
    if (read) value = ByteCount(*read);
    return read.has_value();
  };
  options_.push_back(std::move(option));
}

void EngineOptionSet::range(const std::string& key, std::uint32_t& min, std::uint32_t& max, const std::string& text) {
  Option option{{key, "N or MIN:MAX", fmt::format("{}:{}", min, max), text}, {}};
  option.set = [&min, &max](const std::string& given) {
    const auto [low, high] = cut(given, ':');
    const auto from = number_in<std::uint32_t>(low);
    const auto to = low.size() == given.size() ? from : number_in<std::uint32_t>(high);
    if (!from || !to || *from > *to) return false;
    min = *from;
    max = *to;
    return true;
  };
  options_.push_back(std::move(option));
}

void EngineOptionSet::choice(const std::string& key, const std::vector<std::string>& words,
                             const std::string& default_word, std::function<void(std::size_t)> choose,
                             const std::string& text) {
  Option option{{key, fmt::format("{}", fmt::join(words, " | ")), default_word, text}, {}};
  option.set = [words, choose = std::move(choose)](const std::string& given) {
    const auto found = std::find(words.begin(), words.end(), given);
    if (found == words.end()) return false;
    choose(static_cast<std::size_t>(found - words.begin()));
    return true;
  };
  options_.push_back(std::move(option));
}

void EngineOptionSet::list(const std::string& key, std::vector<std::uint32_t>& value, const std::string& text) {
  Option option{{key, "numbers, like 0+2-3", "", text}, {}};
  option.set = [&value](const std::string& given) {
    std::vector<std::uint32_t> numbers;
    for (std::string_view rest = given; !rest.empty();) {
      const auto [item, after] = cut(rest, '+');
      const auto [low, high] = cut(item, '-');
      const auto from = number_in<std::uint32_t>(low);
      const auto to = low.size() == item.size() ? from : number_in<std::uint32_t>(high);
      constexpr std::uint32_t kMost = 65'535;
      if (!from || !to || *from > *to || *to > kMost) return false;
      for (std::uint32_t number = *from; number <= *to; ++number) numbers.push_back(number);
      rest = after;
    }
    value = numbers;
    return !numbers.empty();
  };
  options_.push_back(std::move(option));
}

void EngineOptionSet::word(const std::string& key, const std::string& form, std::function<void(const std::string&)> set,
                           const std::string& text) {
  Option option{{key, form, "", text}, {}};
  option.set = [set = std::move(set)](const std::string& given) {
    if (given.empty()) return false;
    set(given);
    return true;
  };
  options_.push_back(std::move(option));
}

Result<void> EngineOptionSet::read(const EngineName& name) const {
  for (const auto& [key, value] : name.options) {
    const auto option = std::find_if(options_.begin(), options_.end(),
                                     [&key = key](const Option& candidate) { return candidate.help.key == key; });
    if (option == options_.end()) {
      std::vector<std::string> keys;
      for (const Option& known : options_) keys.push_back(known.help.key);
      return Error{DriverErrc::InvalidArgument, fmt::format("engine '{}': '{}' is no option of {}; there are: {}",
                                                            name.text, key, name.kind, fmt::join(keys, ", "))};
    }
    if (!option->set(value)) {
      return Error{DriverErrc::InvalidArgument, fmt::format("engine '{}': '{}' is no value for {}: give {}", name.text,
                                                            value, key, option->help.form)};
    }
  }
  return {};
}

std::vector<EngineOptionHelp> EngineOptionSet::help() const {
  std::vector<EngineOptionHelp> all;
  all.reserve(options_.size());
  for (const Option& option : options_) all.push_back(option.help);
  return all;
}

}  // namespace sluice::inline engine
