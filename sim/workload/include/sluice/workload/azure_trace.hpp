// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

#include "sluice/workload/population.hpp"

namespace sluice::inline workload {

struct AzureOptions {
  std::optional<std::uint64_t> max_vms;  ///< Only the first so many.
  PopulationOptions population{.seed = 1, .customers = 2000};
};

/// Whether a folder holds an Azure trace in its processed form: v1.dev.txt and its companions.
[[nodiscard]] bool is_azure_trace(const std::filesystem::path& folder);

/// Reads it (docs/TRACES.md says how): arrivals, batches, flavours and lifetime bins are the trace's; the instants
/// inside a bin and all that the population adds are drawn. Errors name file, line, column and value.
[[nodiscard]] Result<Trace> read_azure_trace(const std::filesystem::path& folder, const AzureOptions& options);

}  // namespace sluice::inline workload
