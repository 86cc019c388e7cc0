// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/workload/population.hpp"

namespace sluice::inline workload {

struct GeneratorOptions {
  std::uint64_t vms = 300;
  double hours = 2.0;
  PopulationOptions population{.seed = 1,
                               .customers = 20,
                               .group_share = 0.6,
                               .nested_share = 0.5,
                               .pool_share = 0.2,
                               .reboots_per_day = 12.0,
                               .balloons_per_day = 12.0,
                               .group_changes_per_day = 1.0};
};

/// A trace shaped by published facts about a public cloud (docs/TRACES.md cites them), the same for the same options on
/// every machine. Errors: InvalidArgument.
[[nodiscard]] Result<Trace> generate_trace(const GeneratorOptions& options);

}  // namespace sluice::inline workload
