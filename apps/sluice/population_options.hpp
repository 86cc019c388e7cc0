// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/options.hpp"
#include "sluice/workload/population.hpp"

namespace sluice {

/// The rates at which a population is drawn, as options.
inline void add_population_options(CLI::App& app, PopulationOptions& options) {
  const auto share = [&app](const char* name, double& value, const char* text) {
    add_real(app, name, value, 0.0, 1.0, text);
  };
  const auto rate = [&app](const char* name, double& value, const char* text) {
    add_real(app, name, value, limits::kEventsPerDay.min, limits::kEventsPerDay.max, text);
  };
  add_number(app, "--customers", options.customers, limits::kCustomers, "Customers that the batches are spread over");
  share("--group-share", options.group_share, "Share of customers whose VMs form a trust group");
  share("--nested-share", options.nested_share,
        "Share of those customers whose group holds two smaller ones, with the VMs in them");
  share("--pool-share", options.pool_share, "Share of batches of two or more VMs with a dedicated pool");
  rate("--reboots-per-day", options.reboots_per_day, "Average reboots per VM per day");
  rate("--balloons-per-day", options.balloons_per_day,
       "Average balloon operations per VM per day, each followed by its opposite");
  rate("--group-changes-per-day", options.group_changes_per_day,
       "Average rate per day at which a VM leaves its trust group");
}

}  // namespace sluice
