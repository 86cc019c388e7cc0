// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <concepts>
#include <string>

#include "sluice/base/limits.hpp"
#include "sluice/base/parse.hpp"

// Options of all programs: read by the one parser, kept to the one table of limits.
namespace sluice {

namespace detail {
template <class Read>
CLI::Option* add_checked(CLI::App& app, const std::string& name, const std::string& form, const std::string& text,
                         Read read) {
  return app
      .add_option_function<std::string>(
          name,
          [name, form, read](const std::string& given) {
            if (read(given)) return;
            throw CLI::ValidationError(name, fmt::format("{} is not valid: give {}", in_quotes(given), form));
          },
          text)
      ->type_name("");
}
}  // namespace detail

template <std::unsigned_integral T>
CLI::Option* add_number(CLI::App& app, const std::string& name, T& value, Limits limits, const std::string& text) {
  const std::string form = fmt::format("a whole number from {} to {}", limits.min, limits.max);
  return detail::add_checked(app, name, form, text,
                             [&value, limits](const std::string& given) {
                               const auto read = parse_integer<T>(given);
                               if (read && limits.hold(*read)) value = *read;
                               return read && limits.hold(*read);
                             })
      ->type_name("NUMBER")
      ->default_str(fmt::format("{}", value));
}

/// One that has no value until it is given.
template <std::unsigned_integral T>
CLI::Option* add_optional_number(CLI::App& app, const std::string& name, std::optional<T>& value, Limits limits,
                                 const std::string& text) {
  const std::string form = fmt::format("a whole number from {} to {}", limits.min, limits.max);
  return detail::add_checked(app, name, form, text,
                             [&value, limits](const std::string& given) {
                               const auto read = parse_integer<T>(given);
                               if (read && limits.hold(*read)) value = *read;
                               return read && limits.hold(*read);
                             })
      ->type_name("NUMBER");
}

inline CLI::Option* add_bytes(CLI::App& app, const std::string& name, std::uint64_t& value, Limits limits,
                              const std::string& text) {
  const std::string form = fmt::format("a size from {} to {}, like 64MiB", print_bytes(ByteCount(limits.min)),
                                       print_bytes(ByteCount(limits.max)));
  return detail::add_checked(app, name, form, text,
                             [&value, limits](const std::string& given) {
                               const auto read = parse_bytes(given);
                               if (read && limits.hold(read->value())) value = read->value();
                               return read && limits.hold(read->value());
                             })
      ->type_name("SIZE")
      ->default_str(print_bytes(ByteCount(value)));
}

inline CLI::Option* add_real(CLI::App& app, const std::string& name, double& value, double min, double max,
                             const std::string& text) {
  return detail::add_checked(app, name, fmt::format("a number from {} to {}", min, max), text,
                             [&value, min, max](const std::string& given) {
                               const auto read = parse_real(given);
                               if (read && *read >= min && *read <= max) value = *read;
                               return read && *read >= min && *read <= max;
                             })
      ->type_name("NUMBER")
      ->default_str(fmt::format("{}", value));
}

}  // namespace sluice
