// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sluice/workload/trace.hpp"

namespace sluice::inline workload {

/// A VM as a source knows it: when it came, with whom, how large, how long.
struct Arrival {
  std::int64_t time_ms = 0;
  std::uint64_t batch = 0;  ///< VMs of one batch were started by one customer.
  ByteCount bytes;
  std::optional<std::int64_t> lifetime_ms;  ///< nullopt: it outlives the trace.
};

/// What is drawn where the source is silent. All from `seed`.
struct PopulationOptions {
  std::uint64_t seed = 1;
  std::uint64_t customers = 200;        ///< Batches are spread over so many, few of them with most of the batches.
  double group_share = 0.5;             ///< Customers whose VMs share a trust group.
  double nested_share = 0.3;            ///< Such customers with two groups inside that one, drawn for each batch.
  double pool_share = 0.05;             ///< Batches of two or more VMs that run in a dedicated pool of their own.
  double reboots_per_day = 1.0;         ///< Of each VM.
  double balloons_per_day = 1.0;        ///< Of each VM: down by a quarter to a half, later up again.
  double group_changes_per_day = 0.02;  ///< Of each VM in a group: it leaves it.
};

/// Gives arrivals (in the order of their times) customers, groups, pools, reboots and balloons: a whole trace. Errors:
/// InvalidArgument when that would be more events than memory holds.
[[nodiscard]] Result<std::vector<TraceEvent>> populate(const std::vector<Arrival>& arrivals, std::int64_t end_ms,
                                                       const PopulationOptions& options);

/// The rates, for the report.
[[nodiscard]] std::string describe(const PopulationOptions& options);

}  // namespace sluice::inline workload
