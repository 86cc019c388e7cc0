// SPDX-License-Identifier: Apache-2.0
// What recycling saves on a trace: the same VMs under one policy after the other.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <memory>
#include <stdexcept>

#include "sluice/base/limits.hpp"
#include "sluice/bench/bench.hpp"
#include "sluice/bench/statistics.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/workload/replay.hpp"

namespace sluice::bench {
namespace {

struct NamedPolicy {
  const char* name;
  const char* document;
};
constexpr std::array<NamedPolicy, 6> kPolicies = {{
    {"no recycling, scrubbed on grant", R"({"enable": false, "scrub_timing": "before_grant"})"},
    {"no recycling", R"({"enable": false})"},
    {"reboot only", R"({"recycle_within_vm": false, "recycle_within_dedicated_pool": false,
                        "recycle_within_trust_group": false})"},
    {"dedicated pools only", R"({"recycle_on_reboot": false, "recycle_within_vm": false,
                                 "recycle_within_trust_group": false})"},
    {"trust groups only", R"({"recycle_on_reboot": false, "recycle_within_vm": false,
                              "recycle_within_dedicated_pool": false})"},
    {"all", "{}"},
}};
constexpr double kUsualRate = 4.0;    // GiB/s: 64 GiB in 16 s
constexpr double kCleanTarget = 0.1;  // of the pool, in the background
constexpr std::size_t kLevels = 240;  // points of a curve
constexpr double kRoom = 1.1;         // the pool, as a multiple of the most that the trace needs

struct Charts {
  Chart* scrubbed;
  Chart* cpu;
  Chart* waits;
  Chart* levels;
  Chart* shares;
  Chart* reboots;
  Chart* sources;
};

/// Sizes of VMs, each up to twice the one before.
struct SizeClass {
  double length = 0.0;  ///< Of grants. bytes
  double recycled = 0.0;
  std::vector<double> reboot_waits;  // ms
};

/// The benefit of recycling by the size of the VM.
void add_by_size(const Charts& charts, const Figure& figure, const ReplayResult& result) {
  std::map<int, SizeClass> classes;
  for (const GrantFacts& grant : result.grants) {
    const std::uint64_t halves = (std::max(grant.vm, ByteCount(1)).value() - 1) >> 29;  // GiB
    SizeClass& sizes = classes[static_cast<int>(std::bit_width(halves))];
    sizes.length += static_cast<double>(grant.length.value());
    sizes.recycled += static_cast<double>(grant.recycled.value());
    if (grant.reboot) sizes.reboot_waits.push_back(static_cast<double>(grant.wait.count()) / 1e6);
  }
  for (const auto& [power, sizes] : classes) {
    Figure at = figure;
    at.x = std::ldexp(0.5, power);  // GiB
    at.at = fmt::format("{} GiB", digits(at.x));
    Bench::add_sample(*charts.shares, at, 100.0 * sizes.recycled / sizes.length);
    if (!sizes.reboot_waits.empty()) Bench::add_sample(*charts.reboots, at, quantile(sizes.reboot_waits, 0.5));
  }
}

/// How much of what VMs get has stayed with them, in their pools and in their groups.
void add_sources(const Charts& charts, const Figure& figure, const Statistics& statistics) {
  ByteCount all = statistics.granted_clean;
  for (const ByteCount bytes : statistics.recycled) all += bytes;
  for (const ByteCount bytes : statistics.scrubbed_for_claim) all += bytes;
  for (const Reason reason : kRecycleReasons) {
    Figure at = figure;
    at.at = std::string(to_string(reason));
    at.x = static_cast<double>(reason);
    Bench::add_sample(*charts.sources, at, 100.0 * gib(statistics.recycled_for(reason)) / gib(all));
  }
}

double hours(std::chrono::nanoseconds time) { return std::chrono::duration<double, std::ratio<3600>>(time).count(); }

double median_of(const Results& results, const char* chart, const char* series, double otherwise) {
  const Chart* const found = results.find(chart);
  const Figure* const figure = found == nullptr ? nullptr : found->find(series, "2 MiB");
  return figure == nullptr ? otherwise : estimate(figure->samples).median;
}

void add(const Bench& bench, const Charts& charts, const NamedPolicy& policy, const ReplayResult& result,
         std::uint64_t scale, ByteCount pool) {
  const auto& statistics = result.statistics;
  const double scrubbed = gib(statistics.scrubbed + statistics.scrubbed_before_cancel) * static_cast<double>(scale);
  const Figure figure{policy.name, "", 0.0, {}};  // not exact: all of it follows the measured speed
  Figure at_all = figure;
  at_all.at = "whole trace";
  Bench::add_sample(*charts.scrubbed, at_all, scrubbed);
  if (const double cost = median_of(bench.results, "cpu_cost", "cpu", 0.0); cost > 0.0) {
    Bench::add_sample(*charts.cpu, at_all, scrubbed * cost * 1e9 / tsc_hz());
  }
  if (charts.cpu->figures.empty() && charts.cpu->notes.size() == 1) {
    charts.cpu->notes.emplace_back("Not measured in this run: give micro too.");
  }
  std::vector<double> waits;
  for (const GrantFacts& grant : result.grants) waits.push_back(static_cast<double>(grant.wait.count()) / 1e6);
  constexpr std::array<std::pair<const char*, double>, 5> kQuantiles = {
      {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"longest", 1.0}}};
  for (std::size_t index = 0; index < kQuantiles.size(); ++index) {
    Figure quantile_at = figure;
    quantile_at.at = kQuantiles[index].first;
    quantile_at.x = static_cast<double>(index);
    Bench::add_sample(*charts.waits, quantile_at, quantile(waits, kQuantiles[index].second));
  }
  add_by_size(charts, figure, result);
  add_sources(charts, figure, statistics);
  // At the same times for all: the level after the last event before.
  const double end = hours(result.levels.back().time);
  std::size_t event = 0;
  for (std::size_t point = 0; point <= kLevels; ++point) {
    Figure level = figure;
    level.x = end * static_cast<double>(point) / static_cast<double>(kLevels);
    level.at = fmt::format("{:.3f}", level.x);
    while (event + 1 < result.levels.size() && hours(result.levels[event + 1].time) <= level.x) ++event;
    Bench::add_sample(*charts.levels, level, 100.0 * gib(result.levels[event].clean) / gib(pool));
  }
}

void replay(Bench& bench, const Charts& charts, std::size_t number, std::uint64_t scale, ByteCount pool) {
  const NamedPolicy& policy = kPolicies[number];
  ReplayOptions options;
  options.memory_scale = scale;
  const double measured = median_of(bench.results, "throughput", "cpu", 0.0);
  const double rate = measured > 0.0 ? measured : kUsualRate;
  Bench::note_once(*charts.waits,
                   fmt::format("Scrubs run at {} GiB/s, {}.", digits(rate),
                               measured > 0.0 ? "the CPU engine's speed in jobs of 2 MiB, as measured above"
                                              : "which was not measured in this run: give micro too"));
  options.scrub_rate = rate * static_cast<double>(kGiB.value());
  options.vms_write = false;
  options.clean_target = ByteCount(static_cast<std::uint64_t>(kCleanTarget * static_cast<double>(pool.value())));
  options.idle_after = std::chrono::hours(24 * 365);
  const auto parsed = Policy::from_json(policy.document);
  if (!parsed || !options.policies.attach(Caller::provider(), PolicyTarget{}, *parsed))
    throw std::runtime_error("a policy of the benchmark is wrong");
  auto memory = FileMemory::create(pool, 1);
  if (!memory) throw std::runtime_error(memory.error().message);
  const MemorySpan windows[] = {(*memory)->bricks()[0].memory};
  auto engine = CpuEngine::create({}, windows);
  if (!engine) throw std::runtime_error(engine.error().message);
  const std::atomic<bool> stop{false};
  const ReplayResult result = Replay(bench.trace, **memory, **engine, options).run(stop, [](std::size_t) {});
  if (result.end != ReplayEnd::Finished) throw std::runtime_error(result.message);
  add(bench, charts, policy, result, scale, pool);
}

}  // namespace

Result<TraceFit> fit_trace(const Trace& trace, const Arena& arena) {
  const auto refuse = [&trace](const std::string& why) {
    return Error{HostErrc::InvalidArgument, fmt::format("{}: {}", trace.source, why)};
  };
  const double room = std::min(static_cast<double>(arena.all().size()) / 2.0, 512.0 * 1024.0 * 1024.0);
  for (std::uint64_t scale = 1; limits::kMemoryScale.hold(scale); scale *= 2) {
    TraceChecker checker(scale);
    for (const TraceEvent& event : trace.events) {
      if (const auto problem = checker.add(event)) {
        return refuse(fmt::format("an event at {} ms has a bad {}: expected {}", event.time_ms, problem->column,
                                  problem->expected));
      }
    }
    if (checker.vm_count() == 0) return refuse("it has no VM, so there is nothing to compare: give a trace with some");
    if (static_cast<double>(checker.peak().value()) * kRoom < room) return TraceFit{scale, checker.peak()};
  }
  return refuse(
      fmt::format("it has more VMs at once than fit into {:.0f} MiB with a page each: give a shorter one, or a "
                  "lower --max-vms",
                  room / 1024.0 / 1024.0));
}

void plan_trace(Bench& bench, Plan& plan) {
  const auto chart = [&](const char* id, const char* title, const char* x_label, const char* y_label,
                         const char* unit) {
    Chart made{id, "trace", title, x_label, y_label, unit};
    made.more_is_better = false;
    made.baseline = "no recycling";
    return made;
  };
  Charts charts{};
  charts.scrubbed = &bench.add(chart("trace_scrubbed", "What is scrubbed under each policy", "", "scrubbed", "GiB"));
  charts.cpu = &bench.add(chart("trace_cpu", "What that costs the CPU", "", "CPU time", "s"));
  charts.waits = &bench.add(chart("trace_waits", "How long VMs wait for their memory", "grants", "time", "ms"));
  charts.levels = &bench.add(chart("trace_clean", "How much of the pool is clean", "hours", "clean", "% of the pool"));
  charts.shares = &bench.add(chart("trace_by_size", "How much of a VM's memory needs no scrub, by its size",
                                   "memory of the VM", "recycled", "% of what it gets"));
  charts.reboots = &bench.add(chart("trace_reboots_by_size", "How long a VM waits for its memory after a reboot",
                                    "memory of the VM", "median time", "ms"));
  charts.sources = &bench.add(
      chart("trace_sources", "What stays with its VM, its pool and its group", "", "of all memory that VMs get", "%"));
  for (Chart* shares : {charts.shares, charts.sources}) shares->more_is_better = true;
  for (Chart* by_size : {charts.shares, charts.reboots, charts.sources}) by_size->baseline.clear();
  charts.levels->x_scale = Scale::Linear;
  charts.levels->more_is_better = true;
  charts.levels->baseline.clear();
  charts.waits->baseline.clear();
  const auto [scale, peak] = fit_trace(bench.trace, bench.arena).value();
  const auto pages = static_cast<std::uint64_t>(static_cast<double>(peak.value()) * kRoom) / kPageSize.value();
  const ByteCount pool((pages + 1) * kPageSize.value());
  charts.scrubbed->notes = {
      "Trace: " + bench.trace.source + ". Taken from it: " + bench.trace.taken + ". Drawn: " + bench.trace.drawn + ".",
      fmt::format("The pool has {:.0f} GiB, a tenth more than the trace needs at once. Sizes are divided by {} for the "
                  "replay, and "
                  "given here as they are in the trace.",
                  gib(pool) * static_cast<double>(scale), scale)};
  charts.scrubbed->notes.push_back(fmt::format(
      "Memory is scrubbed in the background until {:.0f} % of the pool are clean, and the rest when somebody needs it: "
      "what nobody needs meanwhile waits for its own VM, pool or group.",
      100.0 * kCleanTarget));
  charts.cpu->notes = {"What is scrubbed, times the CPU engine's cost for a GiB in jobs of 2 MiB, as measured above."};
  charts.waits->notes = {"By the trace's clock; what the books cost is not in it."};
  for (std::size_t policy = 0; policy < kPolicies.size(); ++policy) {
    plan.emplace_back([&bench, charts, policy, scale = scale, pool] { replay(bench, charts, policy, scale, pool); });
  }
}

}  // namespace sluice::bench
