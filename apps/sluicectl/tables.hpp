// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json.hpp>
#include <string>

namespace sluice {

/// An answer of the web service for people: a table for a list, a line a key otherwise.
[[nodiscard]] std::string as_table(const boost::json::value& answer);
/// What holds for a VM, and who said so.
[[nodiscard]] std::string as_explanation(const boost::json::value& vm);

}  // namespace sluice
