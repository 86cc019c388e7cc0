// SPDX-License-Identifier: Apache-2.0
// The host as a whole: for people, and for Prometheus.
#include <array>

#include "api_handlers.hpp"
#include "sluice/memory/extent_table.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

namespace {

constexpr std::array kLeaseStates = {LeaseState::Waiting, LeaseState::Running, LeaseState::Ending,
                                     LeaseState::Quarantined, LeaseState::Reserved};

std::map<LeaseState, std::size_t> count_leases(const Leases& leases) {
  std::map<LeaseState, std::size_t> counts;
  for (const LeaseState state : kLeaseStates) counts[state] = 0;
  for (const LeaseFacts& lease : leases.all()) ++counts[lease.state];
  return counts;
}

json::object statistics_json(const Statistics& statistics) {
  json::object recycled;
  for (const Reason reason : kRecycleReasons) {
    recycled[label(to_string(reason))] = statistics.recycled_for(reason).value();
  }
  return {{"recycled_bytes", std::move(recycled)},
          {"granted_clean_bytes", statistics.granted_clean.value()},
          {"scrubbed_bytes", statistics.scrubbed.value()},
          {"scrubbed_before_cancel_bytes", statistics.scrubbed_before_cancel.value()},
          {"saved_by_cancel_bytes", statistics.saved_by_cancel.value()},
          {"scrub_jobs", statistics.scrub_jobs},
          {"scrubs_cancelled", statistics.scrubs_cancelled},
          {"scrubs_failed", statistics.scrubs_failed}};
}

/// The text format of Prometheus, version 0.0.4.
class Metrics {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    text_ += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
    name_ = name;
  }
  void value(std::uint64_t value) { text_ += fmt::format("{} {}\n", name_, value); }
  void value(std::string_view label, std::string_view of, std::uint64_t value) {
    text_ += fmt::format("{}{{{}=\"{}\"}} {}\n", name_, label, of, value);
  }
  void single(std::string_view name, std::string_view type, std::string_view help, std::uint64_t is) {
    family(name, type, help);
    value(is);
  }
  [[nodiscard]] std::string text() const { return text_; }

 private:
  std::string text_;
  std::string name_;
};

}  // namespace

std::string label(std::string_view words) {
  std::string text;
  for (const char letter : words) {
    const bool is_large = letter >= 'A' && letter <= 'Z';
    text += letter == ' ' ? '_' : static_cast<char>(is_large ? letter - 'A' + 'a' : letter);
  }
  return text;
}

ApiAnswer Api::Handlers::get_host(const ApiCall& call) {
  if (auto checked = check_provider(call.caller, "see the host as a whole"); !checked) return checked.error();
  std::map<ByteCount, std::uint64_t> classes;
  for (const Brick& brick : memory_->bricks()) ++classes[length_of(brick.memory)];
  json::array bricks;
  for (const auto& [length, count] : classes) {
    bricks.push_back(json::object{{"length", length.value()}, {"count", count}});
  }
  const MemoryManager& manager = policies_->manager();
  json::object memory;
  for (std::size_t state = 0; state < kExtentStates; ++state) {
    memory[label(to_string(static_cast<ExtentState>(state)))] =
        manager.extents().bytes(static_cast<ExtentState>(state)).value();
  }
  json::object leases;
  for (const auto& [state, count] : count_leases(host_->leases())) leases[to_string(state)] = count;
  const auto fault = manager.fault();
  return reply(json::object{
      {"bricks", std::move(bricks)},
      {"bytes", manager.extents().total().value()},
      {"bytes_by_state", std::move(memory)},
      {"leases", std::move(leases)},
      {"engine", engine_->capabilities().name},
      {"jobs_in_flight", manager.jobs_in_flight()},
      {"fault", fault ? json::value(printable(fault->message, fault->message.size())) : json::value(nullptr)},
      {"statistics", statistics_json(manager.statistics())}});
}

ApiAnswer Api::Handlers::get_metrics(const ApiCall& call) {
  if (auto checked = check_provider(call.caller, "see the host as a whole"); !checked) return checked.error();
  const MemoryManager& manager = policies_->manager();
  const Statistics& statistics = manager.statistics();
  Metrics metrics;
  metrics.family("sluice_memory_bytes", "gauge", "Memory of the host's pool, by its state.");
  for (std::size_t state = 0; state < kExtentStates; ++state) {
    const auto of = static_cast<ExtentState>(state);
    metrics.value("state", label(to_string(of)), manager.extents().bytes(of).value());
  }
  metrics.family("sluice_leases", "gauge", "Leases of VMs, by their state.");
  for (const auto& [state, count] : count_leases(host_->leases())) metrics.value("state", to_string(state), count);
  metrics.single("sluice_vms", "gauge", "VMs that have a lease, or wait for one.", host_->vms().size());
  metrics.single("sluice_dedicated_pools", "gauge", "Dedicated pools that are filled.",
                 policies_->book().pools().size());
  metrics.single("sluice_trust_groups", "gauge", "Trust groups.", policies_->book().groups().size());
  metrics.family("sluice_recycled_bytes_total", "counter", "Memory handed over as it was, by the reason.");
  for (const Reason reason : kRecycleReasons) {
    metrics.value("reason", label(to_string(reason)), statistics.recycled_for(reason).value());
  }
  metrics.single("sluice_granted_clean_bytes_total", "counter", "Memory handed over clean, without a wait.",
                 statistics.granted_clean.value());
  metrics.single("sluice_scrubbed_bytes_total", "counter", "Memory written by scrubs that ran to their end.",
                 statistics.scrubbed.value());
  metrics.single("sluice_scrubbed_before_cancel_bytes_total", "counter",
                 "Memory written by scrubs that were cancelled or failed.", statistics.scrubbed_before_cancel.value());
  metrics.single("sluice_scrub_jobs_total", "counter", "Scrubs.", statistics.scrub_jobs);
  metrics.single("sluice_scrubs_cancelled_total", "counter", "Scrubs that were cancelled.",
                 statistics.scrubs_cancelled);
  metrics.single("sluice_scrubs_failed_total", "counter", "Scrubs that failed.", statistics.scrubs_failed);
  metrics.single("sluice_engine_fault", "gauge", "1: nothing can be scrubbed any more.", manager.fault() ? 1 : 0);
  ApiResponse answer;
  answer.type = "text/plain; version=0.0.4; charset=utf-8";
  answer.body = metrics.text();
  return answer;
}

}  // namespace sluice::inline daemon
