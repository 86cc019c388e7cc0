// SPDX-License-Identifier: Apache-2.0
// `sluice replay`: replays a trace on real memory and reports.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <limits>

#include "command.hpp"
#include "exit_code.hpp"
#include "population_options.hpp"
#include "progress.hpp"
#include "signals.hpp"
#include "sluice/base/input.hpp"
#include "sluice/base/output.hpp"
#include "sluice/bench/engine_choice.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "sluice/workload/azure_trace.hpp"
#include "sluice/workload/report.hpp"

namespace sluice {
namespace {

class ReplayCommand final : public Command {
 public:
  explicit ReplayCommand(CLI::App& app);
  int run() override;
  [[nodiscard]] bool chosen() const override { return command_->parsed(); }

 private:
  void add_azure_options();
  [[nodiscard]] Result<Trace> read_trace() const;
  [[nodiscard]] Result<void> read_policy();
  [[nodiscard]] PageKind page_kind() const;
  [[nodiscard]] Result<void> check_needs(const Trace& trace, TraceChecker& needs) const;
  [[nodiscard]] Result<std::unique_ptr<BackingMemory>> make_memory(const EngineRegistry& registry,
                                                                   const std::vector<EngineName>& names) const;
  int replay(const Trace& trace, const TraceChecker& needs, const EngineRegistry& registry, const BackingMemory& memory,
             const std::vector<EngineName>& names);
  int conclude(const Trace& trace, const RunDescription& run, const ReplayResult& result);

  CLI::App* command_;
  std::string trace_path_;
  std::uint64_t pool_bytes_ = 64ULL << 20;
  std::uint32_t bricks_ = 4;
  std::string pages_ = "4K";
  bool json_ = false;
  std::string report_path_;
  std::optional<OutputFile> report_;
  std::string policy_path_;
  ReplayOptions replay_;
  std::uint64_t scrub_rate_ = 4ULL << 30;
  std::uint64_t job_bytes_ = 1ULL << 20;
  std::vector<std::string> engines_ = {"rtl"};
  std::uint64_t seed_ = 1;
  AzureOptions azure_;
  std::uint64_t max_vms_ = 0;
};

ReplayCommand::ReplayCommand(CLI::App& app)
    : command_(app.add_subcommand("replay", "Replay a trace of VM life on real memory")) {
  command_->add_option("--trace", trace_path_, "A CSV file (docs/TRACES.md), or the folder of the Azure trace")
      ->required();
  command_
      ->add_option("--engine", engines_,
                   "Scrub engine and its options, KIND[:KEY=VALUE,...]; `sluice engines` lists them. Repeat it to add "
                   "fallbacks")
      ->type_name("NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->default_str("rtl");
  add_bytes(*command_, "--pool", pool_bytes_, limits::kPoolBytes, "Size of the pool");
  add_number(*command_, "--bricks", bricks_, limits::kBricks, "Memory files that the pool is made of");
  command_->add_option("--pages", pages_, "Page size of the pool's memory")
      ->check(CLI::IsMember({"4K", "2M", "1G"}))
      ->capture_default_str();
  add_number(*command_, "--memory-scale", replay_.memory_scale, limits::kMemoryScale,
             "Divide the trace's memory sizes by this");
  add_bytes(*command_, "--scrub-rate", scrub_rate_, limits::kScrubRate,
            "Scrubbing speed by the trace's clock, a second, before scaling: the same decisions whatever the engine's "
            "speed");
  add_bytes(*command_, "--job-size", job_bytes_, limits::kJobBytes,
            "Longest background scrub job; a failed job is quarantined whole");
  command_
      ->add_option("--policy", policy_path_,
                   "A policy for all VMs: JSON, or TOML if so named (docs/policy.schema.json)")
      ->type_name("FILE");
  add_number(*command_, "--seed", seed_, limits::kSeed, "Seed of all draws and of the simulated bus");
  command_->add_flag("--json", json_, "Print the report as JSON");
  command_->add_option("--report", report_path_, "Also write the report as JSON to this file");
  add_azure_options();
}

void ReplayCommand::add_azure_options() {
  CLI::App& group = *command_->add_option_group("What the Azure trace does not hold, drawn from the seed");
  add_number(group, "--max-vms", max_vms_, limits::kMaxVms, "Take at most this many VMs of the trace; 0: all");
  add_population_options(group, azure_.population);
}

Result<Trace> ReplayCommand::read_trace() const {
  if (is_azure_trace(trace_path_)) {
    AzureOptions options = azure_;
    options.population.seed = seed_;
    if (max_vms_ > 0) options.max_vms = max_vms_;
    return read_azure_trace(trace_path_, options);
  }
  return read_csv_file(trace_path_);
}

Result<void> ReplayCommand::read_policy() {
  if (policy_path_.empty()) return {};
  constexpr ByteCount kLongest{64 << 10};
  const auto text = read_whole_file(policy_path_, kLongest);
  if (!text) return text.error();
  const bool toml = std::filesystem::path(policy_path_).extension() == ".toml";
  auto policy = toml ? Policy::from_toml(*text) : Policy::from_json(*text);
  if (!policy) return Error{policy.error().code, fmt::format("{}: {}", policy_path_, policy.error().message)};
  if (const auto fill = policy->value(PolicyField::Fill); fill && *fill != "zeros") {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("{}: fill '{}': the oracle takes only zeros for clean; leave the fill out", policy_path_, *fill)};
  }
  auto attached = replay_.policies.attach(Caller::provider(), PolicyTarget{}, *policy);
  if (!attached) return attached.error();
  return {};
}

Result<std::unique_ptr<BackingMemory>> ReplayCommand::make_memory(const EngineRegistry& registry,
                                                                  const std::vector<EngineName>& names) const {
  const std::uint64_t unit = bricks_ * page_length(page_kind()).value();
  if (pool_bytes_ % unit != 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("a pool of {} bytes does not divide into {} bricks of whole pages of {}: choose another "
                             "--pool, --bricks or --pages",
                             pool_bytes_, bricks_, pages_)};
  }
  // An engine that reaches only memory of its device's provides it; the others in the list must reach it too.
  for (const EngineName& name : names) {
    auto own = registry.allocate(name, ByteCount(pool_bytes_));
    if (!own || own->empty())
      continue;  // an engine that cannot be had says so when its turn comes, and the next follows
    std::vector<MemorySpan> pieces;
    for (std::uint32_t brick = 0; brick < bricks_; ++brick) {
      pieces.push_back(own->subspan(brick * (pool_bytes_ / bricks_), pool_bytes_ / bricks_));
    }
    auto foreign = ForeignMemory::create(pieces);
    if (!foreign) return foreign.error();
    return std::unique_ptr<BackingMemory>(std::move(*foreign));
  }
  auto memory = FileMemory::create(ByteCount(pool_bytes_ / bricks_), bricks_, page_kind());
  if (!memory) return memory.error();
  return std::unique_ptr<BackingMemory>(std::move(*memory));
}

PageKind ReplayCommand::page_kind() const {
  return pages_ == "2M" ? PageKind::Huge2MiB : (pages_ == "1G" ? PageKind::Huge1GiB : PageKind::Small);
}

/// What the trace needs, and whether pool and clock hold it.
Result<void> ReplayCommand::check_needs(const Trace& trace, TraceChecker& needs) const {
  for (const TraceEvent& event : trace.events) {
    if (const auto problem = needs.add(event)) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("{}: an event at {} ms has a bad {}: expected {}", trace.source, event.time_ms,
                               problem->column, problem->expected)};
    }
  }
  if (needs.least() > ByteCount(pool_bytes_)) {
    return Error{HostErrc::OutOfMemory,
                 fmt::format("the trace needs {} ({} bytes) at once and the pool has {} ({} bytes): give a larger "
                             "--pool, or a --memory-scale above {}",
                             human_bytes(needs.least()), needs.least().value(), human_bytes(ByteCount(pool_bytes_)),
                             pool_bytes_, replay_.memory_scale)};
  }
  // Each byte is scrubbed once at the start and at most twice for an event: once when it comes, once when it is left.
  const double bytes = static_cast<double>(pool_bytes_) + 2.0 * static_cast<double>(needs.moved().value());
  const double scale = static_cast<double>(replay_.memory_scale);
  const double seconds = bytes * scale / static_cast<double>(scrub_rate_);
  if (seconds > static_cast<double>(limits::kTraceSeconds.max)) {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("at a --scrub-rate of {} a second the scrubs of this trace may take {:.3g} s of its clock, "
                    "which counts {}: give a higher rate",
                    print_bytes(ByteCount(scrub_rate_)), seconds, limits::kTraceSeconds.max)};
  }
  return {};
}

int ReplayCommand::run() {
  const auto refuse = [](const Error& error, int code) {
    spdlog::error("{}", error.message);
    return code;
  };
  std::vector<EngineName> names;
  for (const std::string& text : engines_) {
    auto name = EngineName::parse(text);
    if (!name) return refuse(name.error(), kExitUsage);
    if (name->kind == "rtl") name->options.emplace("seed", std::to_string(seed_));
    names.push_back(std::move(*name));
  }
  if (job_bytes_ % kPageSize.value() != 0) {
    return refuse({HostErrc::InvalidArgument,
                   fmt::format("--job-size of {} bytes: give a multiple of {} bytes", job_bytes_, kPageSize.value())},
                  kExitUsage);
  }
  if (auto read = read_policy(); !read) return refuse(read.error(), kExitBadInput);
  auto trace = read_trace();
  if (!trace) return refuse(trace.error(), kExitBadInput);
  TraceChecker needs(replay_.memory_scale, page_length(page_kind()));
  if (auto fits = check_needs(*trace, needs); !fits) return refuse(fits.error(), kExitBadInput);
  if (!report_path_.empty()) {  // long work opens what it will write before it begins
    auto opened = OutputFile::open(report_path_);
    if (!opened) return refuse(opened.error(), kExitBadInput);
    report_.emplace(std::move(*opened));
  }
  const EngineRegistry registry = make_engine_registry();
  auto memory = make_memory(registry, names);
  if (!memory) {  // the pool's, or that of an engine that brings its own
    const Error& error = memory.error();
    if (error.code == DriverErrc::InvalidArgument) return refuse(error, kExitUsage);
    return refuse(error, error.code.category() == driver_category() ? kExitEngine : kExitBadInput);
  }
  return replay(*trace, needs, registry, **memory, names);
}

int ReplayCommand::replay(const Trace& trace, const TraceChecker& needs, const EngineRegistry& registry,
                          const BackingMemory& memory, const std::vector<EngineName>& names) {
  replay_.scrub_rate = static_cast<double>(scrub_rate_);
  replay_.job_length = ByteCount(job_bytes_);
  FailoverOptions failover;
  failover.on_failover = [](const Failover& event) {
    spdlog::warn("engine {} is given up: {}; {}", event.from, event.reason,
                 event.to.empty() ? "none is left" : event.to + " takes over");
  };
  const auto engine = make_engine(registry, names, memory, failover);
  if (!engine) {
    spdlog::error("the engine did not start: {}", engine.error().message);
    return engine.error().code == DriverErrc::InvalidArgument ? kExitUsage : kExitEngine;
  }
  const auto ring_of = [&engine] { return dynamic_cast<RingEngine*>(&(*engine)->current()); };  // it has counters
  const std::atomic<bool>& stop = stop_on_signals();
  const auto start = std::chrono::steady_clock::now();
  RunDescription run;
  run.engine = (*engine)->capabilities().name;
  run.clock_mhz = (*engine)->capabilities().clock_mhz;
  run.simulated_time = run.clock_mhz > 0.0;
  run.pool = ByteCount(pool_bytes_);
  run.peak = needs.peak();
  run.memory_scale = replay_.memory_scale;
  run.seed = seed_;
  run.policy = policy_path_;
  run.vms = needs.vm_count();
  ReplayResult result;
  {
    Replay replay(trace, memory, **engine, replay_);
    Progress progress(trace.events.size(), "events");
    const auto on_progress = [&](std::size_t done) {
      if (auto* const ring = ring_of(); ring != nullptr && !run.initial_counters)
        run.initial_counters = ring->counters();
      progress.update(done);
    };
    result = replay.run(stop, on_progress);
    progress.finish();
  }
  run.failovers = (*engine)->failovers();
  if (auto* const ring = ring_of(); ring != nullptr) {
    run.counters = ring->counters();
    run.data_bus_bytes = ring->data_bus_bytes();
  }
  run.wall_time = std::chrono::steady_clock::now() - start;
  return conclude(trace, run, result);
}

int ReplayCommand::conclude(const Trace& trace, const RunDescription& run, const ReplayResult& result) {
  const auto stopped = [&](const char* what, int code) {
    spdlog::error("{}: {}; {} were in flight, are quarantined and are granted to nobody; no report was written", what,
                  result.message, human_bytes(result.in_flight_at_stop));
    return code;
  };
  switch (result.end) {
    case ReplayEnd::Leak:
      return stopped("LEAK", kExitLeak);
    case ReplayEnd::EngineFailed:
      return stopped("engine failed", kExitEngine);
    case ReplayEnd::OutOfMemory:
      return stopped("out of memory", kExitEngine);
    case ReplayEnd::Interrupted:
      return stopped("stopped", kExitInterrupted);
    case ReplayEnd::Finished:
      break;
  }
  const std::string json = boost::json::serialize(report_json(trace, run, result));
  for (const bool to_file : {true, false}) {
    if (to_file && !report_) continue;
    const std::string text = to_file || json_ ? json + "\n" : report_text(trace, run, result);
    if (auto written = to_file ? report_->write(text) : write_standard_output(text); !written) {
      spdlog::error("{}", written.error().message);
      return kExitBadInput;
    }
  }
  const ByteCount quarantined = result.statistics.quarantined + result.quarantined_at_start;
  if (quarantined == ByteCount(0)) return kExitOk;
  spdlog::warn("engine errors have left {} quarantined", human_bytes(quarantined));
  return kExitQuarantined;
}

}  // namespace

std::unique_ptr<Command> make_replay_command(CLI::App& app) { return std::make_unique<ReplayCommand>(app); }

}  // namespace sluice
