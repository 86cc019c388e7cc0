// SPDX-License-Identifier: Apache-2.0
// `sluice run`: replays a trace on real memory and reports.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <atomic>
#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>

#include "azure_trace.hpp"
#include "command.hpp"
#include "engine_choice.hpp"
#include "exit_code.hpp"
#include "population_options.hpp"
#include "progress.hpp"
#include "report.hpp"

namespace sluice {
namespace {

std::atomic<bool> stop_requested{false};  // set by signals

void request_stop(int /*signal*/) { stop_requested.store(true, std::memory_order_relaxed); }

/// "MIN:MAX"
CLI::Option* add_range(CLI::App& app, const std::string& name, sim::CycleRange& range, const std::string& text) {
  return app
      .add_option_function<std::string>(
          name,
          [&range, name](const std::string& value) {
            const std::size_t colon = value.find(':');
            sim::CycleRange parsed;
            const bool good =
                colon != std::string::npos && CLI::detail::lexical_cast(value.substr(0, colon), parsed.min) &&
                CLI::detail::lexical_cast(value.substr(colon + 1), parsed.max) && parsed.min <= parsed.max;
            if (!good) throw CLI::ValidationError(name, "'" + value + "': give MIN:MAX in cycles, for example 10:30");
            range = parsed;
          },
          text)
      ->type_name("MIN:MAX");
}

class RunCommand final : public Command {
 public:
  explicit RunCommand(CLI::App& app);
  int run() override;
  [[nodiscard]] bool chosen() const override { return command_->parsed(); }

 private:
  void add_engine_options();
  void add_azure_options();
  [[nodiscard]] Result<Trace> read_trace() const;
  [[nodiscard]] Result<std::unique_ptr<MemfdMemory>> make_memory() const;
  int replay(const Trace& trace, const TraceChecker& needs, const BackingMemory& memory);
  int conclude(const Trace& trace, const RunDescription& run, const ReplayResult& result);
  [[nodiscard]] Result<void> write_report(const std::string& json) const;

  CLI::App* command_;
  std::string trace_path_;
  std::uint64_t pool_bytes_ = 64ULL << 20;
  std::uint32_t bricks_ = 4;
  std::string pages_ = "4K";
  bool json_ = false;
  std::string report_path_;
  ReplayOptions replay_;
  std::uint64_t scrub_rate_ = 4ULL << 30;
  std::uint64_t job_bytes_ = 1ULL << 20;
  EngineChoice engine_;
  std::uint64_t hang_after_ = 0;
  std::uint64_t stall_us_ = 1000;
  AzureOptions azure_;
  std::uint64_t max_vms_ = 0;
};

RunCommand::RunCommand(CLI::App& app)
    : command_(app.add_subcommand("run", "Replay a trace of VM life on real memory")) {
  command_->add_option("--trace", trace_path_, "A CSV file (docs/TRACES.md), or the folder of the Azure trace")
      ->required();
  command_->add_option("--engine", engine_.kind, "Who zeroes: the simulated engine in RTL, or the CPU")
      ->check(CLI::IsMember({"rtl", "cpu"}))
      ->capture_default_str();
  command_->add_option("--pool", pool_bytes_, "Size of the pool")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE")
      ->default_str("64MiB");
  command_->add_option("--bricks", bricks_, "Memory files that the pool is made of")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command_->add_option("--pages", pages_, "Page size of the pool's memory")
      ->check(CLI::IsMember({"4K", "2M", "1G"}))
      ->capture_default_str();
  command_->add_option("--memory-scale", replay_.memory_scale, "Divide the trace's memory sizes by this")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 30))
      ->capture_default_str();
  command_
      ->add_option("--scrub-rate", scrub_rate_,
                   "Scrubbing speed by the trace's clock, a second, before scaling: the same decisions whatever the "
                   "engine's speed")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber)
      ->type_name("SIZE")
      ->default_str("4GiB");
  command_->add_option("--job-size", job_bytes_, "Longest background scrub job; a failed job is quarantined whole")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber)
      ->type_name("SIZE")
      ->default_str("1MiB");
  command_->add_option("--seed", engine_.sim.seed, "Seed of all draws and of the simulated bus")->capture_default_str();
  command_->add_flag("--json", json_, "Print the report as JSON");
  command_->add_option("--report", report_path_, "Also write the report as JSON to this file");
  add_engine_options();
  add_azure_options();
}

void RunCommand::add_engine_options() {
  CLI::App& group = *command_->add_option_group("Simulated engine (--engine rtl)");
  std::vector<std::string> builds;
  for (const sim::RtlBuild& build : sim::rtl_builds()) builds.push_back(build.name);
  group.add_option("--build", engine_.sim.build, "Build of the RTL, named by its data width in bits")
      ->check(CLI::IsMember(builds))
      ->capture_default_str();
  group.add_option("--clock-mhz", engine_.sim.clock_mhz, "Clock to which cycles are projected")
      ->check(CLI::Range(1.0, 10'000.0))
      ->capture_default_str();
  add_range(group, "--read-latency", engine_.sim.timing.read_latency, "Cycles from a read to its data")
      ->default_str("20:40");
  add_range(group, "--write-latency", engine_.sim.timing.write_latency, "Cycles from a write to its response")
      ->default_str("10:30");
  group.add_option("--ready", engine_.sim.timing.ready_probability, "Probability of each ready signal in each cycle")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  group
      .add_option("--bus-error-rate", engine_.sim.faults.slave_error_probability,
                  "Share of data bursts that get SLVERR")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  group.add_option("--bus-hang-after", hang_after_, "The bus stops answering after so many data bursts; 0: never")
      ->capture_default_str();
  group.add_option("--stall-timeout-us", stall_us_, "Simulated time without a beat after which the engine has failed")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}))
      ->capture_default_str();
  group.add_option("--wave", engine_.sim.wave_file, "Write all signals to this FST file");
  CLI::App& cpu = *command_->add_option_group("CPU engine (--engine cpu)");
  cpu.add_option("--cpu-threads", engine_.cpu_threads, "Worker threads")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  // For tests, and not in the help: nothing is written, so that the oracle can show that it notices.
  command_->add_flag("--test-skip-scrub", engine_.skip_writes)->group("");
}

void RunCommand::add_azure_options() {
  CLI::App& group = *command_->add_option_group("What the Azure trace does not hold, drawn from the seed");
  group.add_option("--max-vms", max_vms_, "Only the trace's first so many VMs; 0: all")->capture_default_str();
  add_population_options(group, azure_.population);
}

Result<Trace> RunCommand::read_trace() const {
  if (is_azure_trace(trace_path_)) {
    AzureOptions options = azure_;
    options.population.seed = engine_.sim.seed;
    if (max_vms_ > 0) options.max_vms = max_vms_;
    return read_azure_trace(trace_path_, options);
  }
  std::ifstream in(trace_path_);
  if (!in) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("cannot read the trace {}: {}; make one with 'sluice trace generate'", trace_path_,
                             std::strerror(errno))};
  }
  return read_csv(in, trace_path_);
}

Result<std::unique_ptr<MemfdMemory>> RunCommand::make_memory() const {
  const PageKind kind = pages_ == "2M" ? PageKind::Huge2MiB : (pages_ == "1G" ? PageKind::Huge1GiB : PageKind::Small);
  if (pool_bytes_ % bricks_ != 0) {
    return Error{HostErrc::InvalidArgument, fmt::format("a pool of {} bytes does not divide into {} bricks: choose "
                                                        "another --pool or --bricks",
                                                        pool_bytes_, bricks_)};
  }
  return MemfdMemory::create(ByteCount(pool_bytes_ / bricks_), bricks_, kind);
}

int RunCommand::run() {
  const auto refuse = [](const Error& error, int code) {
    spdlog::error("{}", error.message);
    return code;
  };
  if (!(engine_.sim.faults.slave_error_probability < 1.0)) {
    return refuse({HostErrc::InvalidArgument, "--bus-error-rate 1 lets no byte through: give less than 1"}, kExitUsage);
  }
  if (job_bytes_ % kPageSize.value() != 0) {
    return refuse({HostErrc::InvalidArgument,
                   fmt::format("--job-size of {} bytes: give a multiple of {} bytes", job_bytes_, kPageSize.value())},
                  kExitUsage);
  }
  auto trace = read_trace();
  if (!trace) return refuse(trace.error(), kExitBadInput);
  TraceChecker needs(replay_.memory_scale);
  for (const TraceEvent& event : trace->events) {
    if (const auto problem = needs.add(event)) {
      return refuse(
          {HostErrc::InvalidArgument, fmt::format("{}: an event at {} ms has a bad {}: expected {}", trace->source,
                                                  event.time_ms, problem->column, problem->expected)},
          kExitBadInput);
    }
  }
  if (needs.peak() > ByteCount(pool_bytes_)) {
    return refuse(
        {HostErrc::OutOfMemory,
         fmt::format("the trace needs up to {} ({} bytes) at once and the pool has {} ({} bytes): give a larger "
                     "--pool, or a --memory-scale above {}",
                     human_bytes(needs.peak()), needs.peak().value(), human_bytes(ByteCount(pool_bytes_)), pool_bytes_,
                     replay_.memory_scale)},
        kExitBadInput);
  }
  auto memory = make_memory();
  if (!memory) return refuse(memory.error(), kExitBadInput);
  return replay(*trace, needs, **memory);
}

int RunCommand::replay(const Trace& trace, const TraceChecker& needs, const BackingMemory& memory) {
  replay_.scrub_rate = static_cast<double>(scrub_rate_);
  replay_.job_length = ByteCount(job_bytes_);
  if (hang_after_ > 0) engine_.sim.faults.hang_after_bursts = hang_after_;
  engine_.stall_timeout = std::chrono::microseconds(stall_us_);
  auto chosen = make_engine(engine_, memory);
  if (!chosen) {
    spdlog::error("the engine did not start: {}", chosen.error().message);
    return kExitEngine;
  }
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  const auto start = std::chrono::steady_clock::now();
  RunDescription run;
  run.engine = chosen->engine->capabilities().name;
  run.simulated_time = chosen->ring != nullptr;
  run.clock_mhz = engine_.sim.clock_mhz;
  run.pool = ByteCount(pool_bytes_);
  run.peak = needs.peak();
  run.memory_scale = replay_.memory_scale;
  run.seed = engine_.sim.seed;
  run.vms = needs.vm_count();
  ReplayResult result;
  {
    Replay replay(trace, memory, *chosen->engine, replay_);
    Progress progress(trace.events.size());
    const auto on_progress = [&](std::size_t done) {
      if (chosen->ring != nullptr && !run.initial_counters) run.initial_counters = chosen->ring->counters();
      progress.update(done);
    };
    result = replay.run(stop_requested, on_progress);
    progress.finish();
  }
  if (chosen->ring != nullptr) {
    run.counters = chosen->ring->counters();
    run.data_bus_bytes = chosen->ring->data_bus_bytes();
  }
  run.wall_time = std::chrono::steady_clock::now() - start;
  return conclude(trace, run, result);
}

int RunCommand::conclude(const Trace& trace, const RunDescription& run, const ReplayResult& result) {
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
  if (!report_path_.empty()) {
    if (auto written = write_report(json); !written) {
      spdlog::error("{}", written.error().message);
      return kExitBadInput;
    }
  }
  fmt::print("{}", json_ ? json + "\n" : report_text(trace, run, result));
  const ByteCount quarantined = result.statistics.quarantined + result.quarantined_at_start;
  if (quarantined == ByteCount(0)) return kExitOk;
  spdlog::warn("engine errors have left {} quarantined", human_bytes(quarantined));
  return kExitQuarantined;
}

/// The file appears whole or not at all.
Result<void> RunCommand::write_report(const std::string& json) const {
  const std::string temporary = report_path_ + ".part";
  std::ofstream out(temporary);
  out << json << '\n';
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(temporary, report_path_, error);
  if (out && !error) return {};
  std::filesystem::remove(temporary, error);
  return Error{HostErrc::NoResources,
               fmt::format("cannot write the report to {}: choose another --report", report_path_)};
}

}  // namespace

std::unique_ptr<Command> make_run_command(CLI::App& app) { return std::make_unique<RunCommand>(app); }

}  // namespace sluice
