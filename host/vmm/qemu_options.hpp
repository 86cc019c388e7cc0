// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/memory/error.hpp"

// How QEMU reads its command line.
namespace sluice::inline vmm {

/// One option: "-m" and "--m" are both "m".
struct QemuOption {
  std::string_view name;     ///< Empty: a disk image without an option.
  std::string_view value;    ///< Empty: it takes none.
  std::size_t argument = 0;  ///< Which argument the value is.
};

/// Views into the arguments. Errors: the last option lacks its value.
[[nodiscard]] Result<std::vector<QemuOption>> split_options(std::span<const std::string> arguments);

/// The members of {"key":"value"} or of key=value,key=value, where the first may leave out a key and `,,` is a comma;
/// of a key that stands twice the last counts. The values of the second form are text. Errors: no JSON object.
[[nodiscard]] Result<boost::json::object> read_properties(const QemuOption& option, std::string_view first_key);
/// Whether it is an option that may be JSON, and is.
[[nodiscard]] bool is_json(const QemuOption& option);
/// A value as key=value has it.
[[nodiscard]] std::string with_double_commas(std::string_view text);

/// Empty where it is missing, or no text.
[[nodiscard]] std::string text_of(const boost::json::object& properties, std::string_view key);
/// A number of bytes, or text of digits and perhaps one of B, K, M, G, T, P, E; `unit` where there is none. nullopt:
/// anything else, also what is there but beyond 2^63.
[[nodiscard]] std::optional<ByteCount> size_of(const boost::json::value& value, ByteCount unit);
/// true, or one of the words that QEMU has for it. nullopt: anything else.
[[nodiscard]] std::optional<bool> flag_of(const boost::json::value& value);

}  // namespace sluice::inline vmm
