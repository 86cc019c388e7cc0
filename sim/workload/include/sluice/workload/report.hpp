// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sluice/compose/failover_engine.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "sluice/workload/replay.hpp"

namespace sluice::inline workload {

/// What a run was, for its report.
struct RunDescription {
  std::string engine;                            ///< EngineCapabilities::name
  bool simulated_time = false;                   ///< Times are cycles of a simulated clock, not of this machine.
  std::vector<Failover> failovers;               ///< Engines that were given up on the way.
  double clock_mhz = 0.0;                        ///< of the simulated clock
  std::optional<RingCounters> initial_counters;  ///< of the initial scrub
  std::optional<RingCounters> counters;          ///< of the whole run
  std::uint32_t data_bus_bytes = 0;
  ByteCount pool;
  ByteCount peak;
  std::uint64_t memory_scale = 1;
  std::uint64_t seed = 0;
  std::string policy;  ///< Where the policy of all VMs stands; empty: what is built in.
  std::size_t vms = 0;
  std::chrono::nanoseconds wall_time{0};
};

[[nodiscard]] boost::json::object report_json(const Trace& trace, const RunDescription& run,
                                              const ReplayResult& result);
[[nodiscard]] std::string report_text(const Trace& trace, const RunDescription& run, const ReplayResult& result);

/// "12.3 MiB" and the like.
[[nodiscard]] std::string human_bytes(ByteCount bytes);

}  // namespace sluice::inline workload
