// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/App.hpp>

#include "sluice/workload/population.hpp"

namespace sluice {

/// The rates at which a population is drawn, as options.
inline void add_population_options(CLI::App& app, PopulationOptions& options) {
  app.add_option("--customers", options.customers, "Customers that the batches are spread over")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--group-share", options.group_share, "Share of customers whose VMs form a trust group")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--nested-share", options.nested_share,
                 "Share of those customers whose group holds two smaller ones, with the VMs in them")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--pool-share", options.pool_share, "Share of batches of two or more VMs with a dedicated pool")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--reboots-per-day", options.reboots_per_day, "Of each VM")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--balloons-per-day", options.balloons_per_day, "Of each VM: down, and later up again")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--group-changes-per-day", options.group_changes_per_day, "Of each VM in a trust group: it leaves it")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

}  // namespace sluice
