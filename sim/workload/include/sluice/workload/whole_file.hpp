// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "sluice/memory/error.hpp"

namespace sluice::inline workload {

/// The file appears whole or not at all. Errors: NoResources.
[[nodiscard]] Result<void> write_whole_file(const std::string& path, const std::string& text);

}  // namespace sluice::inline workload
