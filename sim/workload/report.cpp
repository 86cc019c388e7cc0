// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

namespace sluice::inline workload {
namespace {

constexpr std::array<const char*, kGrantKinds> kKindNames = {"with a skip", "without, clean", "without, scrubbed"};
constexpr std::array<const char*, kGrantKinds> kKindKeys = {"with_skip", "without_skip_clean", "without_skip_scrubbed"};

struct Distribution {
  std::size_t count = 0;
  double p50_us = 0.0, p99_us = 0.0, max_us = 0.0;
};

Distribution distribution(std::vector<std::chrono::nanoseconds> values) {
  Distribution result;
  result.count = values.size();
  if (values.empty()) return result;
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const auto index = static_cast<std::size_t>(std::lround(share * static_cast<double>(values.size() - 1)));
    return static_cast<double>(values[index].count()) / 1e3;
  };
  result.p50_us = at(0.50);
  result.p99_us = at(0.99);
  result.max_us = at(1.0);
  return result;
}

double gib_per_second(ByteCount bytes, std::chrono::nanoseconds time) {
  if (time.count() <= 0) return 0.0;
  return static_cast<double>(bytes.value()) / static_cast<double>(kGiB.value()) /
         (static_cast<double>(time.count()) / 1e9);
}

double beats_per_cycle(const RingCounters& counters) {
  return counters.cycles == 0 ? 0.0 : static_cast<double>(counters.data_beats) / static_cast<double>(counters.cycles);
}

std::string key(Reason reason) {
  std::string name(to_string(reason));
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

ByteCount total_recycled(const Statistics& statistics) {
  ByteCount total;
  for (const Reason reason : kRecycleReasons) total += statistics.recycled_for(reason);
  return total;
}

ByteCount total_granted(const Statistics& statistics) {
  ByteCount total = statistics.granted_clean + total_recycled(statistics);
  for (const ByteCount bytes : statistics.scrubbed_for_claim) total += bytes;
  return total;
}

double percent(ByteCount part, ByteCount whole) {
  return whole == ByteCount(0) ? 0.0 : 100.0 * static_cast<double>(part.value()) / static_cast<double>(whole.value());
}

}  // namespace

std::string human_bytes(ByteCount bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes.value());
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes.value()) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

boost::json::object report_json(const Trace& trace, const RunDescription& run, const ReplayResult& result) {
  namespace json = boost::json;
  const Statistics& statistics = result.statistics;
  json::object skipped;
  for (const Reason reason : kRecycleReasons) skipped[key(reason)] = statistics.recycled_for(reason).value();
  json::object scrubbed_first;
  for (std::size_t reason = kRecycleReasons.size(); reason < kReasons; ++reason) {
    scrubbed_first[key(static_cast<Reason>(reason))] = statistics.scrubbed_for_claim[reason].value();
  }
  json::object latency;
  for (std::size_t kind = 0; kind < kGrantKinds; ++kind) {
    const Distribution d = distribution(result.latencies[kind]);
    latency[kKindKeys[kind]] = {{"grants", d.count}, {"p50_us", d.p50_us}, {"p99_us", d.p99_us}, {"max_us", d.max_us}};
  }
  json::object engine = {{"name", run.engine},
                         {"simulated_time", run.simulated_time},
                         {"initial_scrub_s", static_cast<double>(result.initial_scrub.count()) / 1e9},
                         {"throughput_gib_s", gib_per_second(run.pool, result.initial_scrub)}};
  json::array failovers;
  for (const Failover& failover : run.failovers) {
    failovers.push_back({{"from", failover.from}, {"to", failover.to}, {"reason", failover.reason}});
  }
  engine["failovers"] = failovers;
  if (run.counters && run.initial_counters) {
    engine["clock_mhz"] = run.clock_mhz;
    engine["data_bus_bytes"] = run.data_bus_bytes;
    engine["cycles"] = run.counters->cycles;
    engine["data_beats"] = run.counters->data_beats;
    engine["jobs"] = run.counters->jobs;
    engine["jobs_cancelled"] = run.counters->jobs_cancelled;
    engine["initial_scrub_beats_per_cycle"] = beats_per_cycle(*run.initial_counters);
  }
  json::object out;
  out["trace"] = {{"source", trace.source},
                  {"taken", trace.taken},
                  {"drawn", trace.drawn},
                  {"vms", run.vms},
                  {"events", result.events_done},
                  {"seed", run.seed},
                  {"memory_scale", run.memory_scale},
                  {"policy", run.policy}};
  out["pool_bytes"] = run.pool.value();
  out["peak_demand_bytes"] = run.peak.value();
  out["granted_bytes"] = {{"total", total_granted(statistics).value()},
                          {"clean", statistics.granted_clean.value()},
                          {"skipped", skipped},
                          {"scrubbed_first", scrubbed_first}};
  out["scrubs"] = {{"jobs", statistics.scrub_jobs},
                   {"bytes", statistics.scrubbed.value()},
                   {"bytes_before_cancel", statistics.scrubbed_before_cancel.value()},
                   {"cancelled", statistics.scrubs_cancelled},
                   {"bytes_saved_by_cancel", statistics.saved_by_cancel.value()},
                   {"bytes_taken_from_queue", statistics.taken_from_queue.value()},
                   {"failed", statistics.scrubs_failed},
                   {"bytes_quarantined", (statistics.quarantined + result.quarantined_at_start).value()}};
  out["latency"] = latency;
  out["engine"] = engine;
  out["oracle"] = {{"leaks", result.leaks},
                   {"bytes_read", result.oracle_read.value()},
                   {"bytes_written", result.oracle_written.value()}};
  out["wall_time_s"] = static_cast<double>(run.wall_time.count()) / 1e9;
  return out;
}

std::string report_text(const Trace& trace, const RunDescription& run, const ReplayResult& result) {
  const Statistics& statistics = result.statistics;
  const ByteCount granted = total_granted(statistics);
  std::string out;
  const auto line = [&out](const std::string& name, const std::string& value) {
    out += fmt::format("  {:<37} {}\n", name, value);
  };
  const auto share = [&](const std::string& name, ByteCount bytes) {
    line(name, fmt::format("{:>10}  {:5.1f} %", human_bytes(bytes), percent(bytes, granted)));
  };
  out += "trace\n";
  line("source", trace.source);
  line("taken from it", trace.taken);
  line("drawn", trace.drawn.empty() ? "nothing" : trace.drawn);
  line("replayed",
       fmt::format("{} VMs, {} events, sizes / {}, seed {}", run.vms, result.events_done, run.memory_scale, run.seed));
  line("policy of all VMs", run.policy.empty() ? "built in" : run.policy);
  line("pool", fmt::format("{}, peak demand {}", human_bytes(run.pool), human_bytes(run.peak)));
  out += "memory granted\n";
  share("all", granted);
  for (const Reason reason : kRecycleReasons) {
    share(fmt::format("skipped: {}", to_string(reason)), statistics.recycled_for(reason));
  }
  share("from the clean pool", statistics.granted_clean);
  for (std::size_t reason = kRecycleReasons.size(); reason < kReasons; ++reason) {
    share(fmt::format("scrubbed first: {}", to_string(static_cast<Reason>(reason))),
          statistics.scrubbed_for_claim[reason]);
  }
  out += "scrubs\n";
  line("bytes scrubbed", fmt::format("{} by {} jobs", human_bytes(statistics.scrubbed), statistics.scrub_jobs));
  line("cancelled",
       fmt::format("{} jobs, {} saved, {} had been written", statistics.scrubs_cancelled,
                   human_bytes(statistics.saved_by_cancel), human_bytes(statistics.scrubbed_before_cancel)));
  line("recycled before their scrub", human_bytes(statistics.taken_from_queue));
  line("failed", fmt::format("{} jobs, {} quarantined", statistics.scrubs_failed,
                             human_bytes(statistics.quarantined + result.quarantined_at_start)));
  out += run.simulated_time ? fmt::format("grant latency (engine's cycles, projected to {:.0f} MHz)\n", run.clock_mhz)
                            : std::string("grant latency\n");
  for (std::size_t kind = 0; kind < kGrantKinds; ++kind) {
    const Distribution d = distribution(result.latencies[kind]);
    line(kKindNames[kind], fmt::format("{:>8} grants   p50 {:.1f} us   p99 {:.1f} us   max {:.1f} us", d.count,
                                       d.p50_us, d.p99_us, d.max_us));
  }
  out += fmt::format("engine {}\n", run.engine);
  for (const Failover& failover : run.failovers) {
    line("given up: " + failover.from, fmt::format("{} took over; {}", failover.to, failover.reason));
  }
  line("throughput, whole pool", fmt::format("{:.2f} GiB/s{}", gib_per_second(run.pool, result.initial_scrub),
                                             run.simulated_time ? " (projected)" : ""));
  if (run.counters && run.initial_counters) {
    line("cycles", fmt::format("{}, {} data beats of {} bytes", run.counters->cycles, run.counters->data_beats,
                               run.data_bus_bytes));
    line("beats per cycle, whole pool", fmt::format("{:.3f}", beats_per_cycle(*run.initial_counters)));
  }
  out += "oracle\n";
  line("read and written",
       fmt::format("{} and {}", human_bytes(result.oracle_read), human_bytes(result.oracle_written)));
  line("leaks found", fmt::format("{}", result.leaks));
  return out;
}

}  // namespace sluice::inline workload
