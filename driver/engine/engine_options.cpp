// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/engine_options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "sluice/base/parse.hpp"
#include "sluice/base/printable.hpp"

namespace sluice::inline engine {
namespace {

std::pair<std::string_view, std::string_view> cut(std::string_view text, char at) {
  const std::size_t place = text.find(at);
  if (place == std::string_view::npos) return {text, {}};
  return {text.substr(0, place), text.substr(place + 1)};
}

}  // namespace

Result<EngineName> EngineName::parse(std::string_view text) {
  const auto refuse = [&](const std::string& why) {
    return Error{
        DriverErrc::InvalidArgument,
        fmt::format("engine {}: {}; give KIND[:KEY=VALUE,...], for example cpu:threads=2", in_quotes(text), why)};
  };
  EngineName name;
  name.text = text;
  constexpr std::size_t kLongest = 4096;
  if (text.size() > kLongest) return refuse(fmt::format("it is longer than {} bytes", kLongest));
  auto [kind, items] = cut(text, ':');
  if (kind.empty()) return refuse("it names no kind");
  name.kind = kind;
  if (kind.size() < text.size() && items.empty()) return refuse("nothing follows the colon");
  while (!items.empty()) {
    const auto [item, rest] = cut(items, ',');
    const auto [key, value] = cut(item, '=');
    if (rest.empty() && item.size() < items.size()) return refuse("nothing follows the last comma");
    items = rest;
    if (key.empty()) return refuse(fmt::format("{} has no key", in_quotes(item)));
    if (key.size() == item.size()) {
      if (!name.device.empty())
        return refuse(fmt::format("it names two devices, {} and {}", in_quotes(name.device), in_quotes(item)));
      name.device = item;
    } else if (!name.options.emplace(key, value).second) {
      return refuse(fmt::format("{} is given twice", in_quotes(key)));
    }
  }
  return name;
}

void EngineOptionSet::add_number(const std::string& key, std::uint64_t min, std::uint64_t max,
                                 std::function<void(std::uint64_t)> set, const std::string& default_value,
                                 const std::string& text) {
  Option option{{key, fmt::format("{}..{}", min, max), default_value, text}, {}};
  option.set = [min, max, set = std::move(set)](const std::string& value) {
    const auto read = parse_integer<std::uint64_t>(value);
    if (!read || *read < min || *read > max) return false;
    set(*read);
    return true;
  };
  options_.push_back(std::move(option));
}

void EngineOptionSet::real(const std::string& key, double& value, double min, double max, const std::string& text) {
  Option option{{key, fmt::format("{}..{}", min, max), fmt::format("{}", value), text}, {}};
  option.set = [min, max, &value](const std::string& given) {
    const auto read = parse_real(given);
    if (!read || !(*read >= min && *read <= max)) return false;
    value = *read;
    return true;
  };
  options_.push_back(std::move(option));
}

void EngineOptionSet::bytes(const std::string& key, ByteCount& value, const std::string& text, Limits limits) {
  Option option{{key,
                 fmt::format("BYTES from {} to {}, like 64KiB", print_bytes(ByteCount(limits.min)),
                             print_bytes(ByteCount(limits.max))),
                 fmt::format("{}", value.value()), text},
                {}};
  option.set = [&value, limits](const std::string& given) {
    const auto read = parse_bytes(given);
    if (!read || !limits.hold(read->value())) return false;
    value = *read;
    return true;
  };
  options_.push_back(std::move(option));
}

void EngineOptionSet::range(const std::string& key, std::uint32_t& min, std::uint32_t& max, const std::string& text,
                            Limits limits) {
  Option option{
      {key, fmt::format("N or MIN:MAX, each {}..{}", limits.min, limits.max), fmt::format("{}:{}", min, max), text},
      {}};
  option.set = [&min, &max, limits](const std::string& given) {
    const auto [low, high] = cut(given, ':');
    const auto from = parse_integer<std::uint32_t>(low);
    const auto to = low.size() == given.size() ? from : parse_integer<std::uint32_t>(high);
    if (!from || !to || *from > *to || !limits.hold(*from) || !limits.hold(*to)) return false;
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
      const auto from = parse_integer<std::uint32_t>(low);
      const auto to = low.size() == item.size() ? from : parse_integer<std::uint32_t>(high);
      if (!from || !to || *from > *to || !limits::kCpu.hold(*to)) return false;
      if (numbers.size() + (*to - *from) > limits::kCpu.max) return false;  // the same ones over and over
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
      return Error{DriverErrc::InvalidArgument,
                   fmt::format("engine {}: {} is no option of {}; there are: {}", in_quotes(name.text), in_quotes(key),
                               printable(name.kind), fmt::join(keys, ", "))};
    }
    if (!option->set(value)) {
      return Error{DriverErrc::InvalidArgument,
                   fmt::format("engine {}: {} is not valid for {}: give {}", in_quotes(name.text), in_quotes(value),
                               key, option->help.form)};
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
