// SPDX-License-Identifier: Apache-2.0
// sluice-sim: plays a scenario on the simulated engine and prints what happened.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fstream>

#include "sluice/scenario/player.hpp"
#include "sluice/scenario/timing_diagram.hpp"

namespace sluice::inline scenario {
namespace {

enum ExitCode : int {
  kExitGood = 0,
  kExitProblem = 1,      ///< An expectation, the memory or a rule of the bus says that something is wrong.
  kExitBadScenario = 2,  ///< Options or a scenario that make no sense, a file that cannot be written.
};

struct Arguments {
  std::string scenario;
  std::string build;
  std::optional<std::uint64_t> seed;
  std::string waves;
  std::string timing;
  bool all_counters = false;
  bool list_builds = false;
};

void print_builds() {
  fmt::print("{:<20} {:>6} {:>8} {:>7} {:>6} {:>12} {:>8} {:>7}\n", "build", "bits", "address", "queues", "slots",
             "outstanding", "masters", "IDs");
  for (const RtlBuild& build : rtl_builds()) {
    fmt::print("{:<20} {:>6} {:>8} {:>7} {:>6} {:>12} {:>8} {:>7}\n", build.name, build.data_width, build.addr_width,
               build.queues, build.slots, build.outstanding, build.masters, build.id_per_queue ? "queue" : "one");
  }
}

void print_jobs(const std::vector<PlayedJob>& jobs) {
  fmt::print("{:>4} {:>5} {:>5} {:>11} {:<11} {:>14} {:>10} {:>10}  {}\n", "line", "queue", "slot", "generation",
             "operation", "bytes", "submitted", "ended", "outcome");
  for (const PlayedJob& played : jobs) {
    std::uint64_t length = 0;
    for (const auto& extent : played.job.extents) length += extent.length;
    std::string outcome = "none came";
    std::string ended = "-";
    std::string bytes = fmt::format("- of {}", length);
    if (const auto& completion = played.completion) {
      outcome = outcome_name(completion->outcome);
      if (completion->cause != ring::kCauseNone) outcome += ": " + cause_name(completion->cause);
      ended = fmt::format("{}", played.ended);
      bytes = fmt::format("{} of {}", completion->bytes, length);
    }
    fmt::print("{:>4} {:>5} {:>5} {:>11} {:<11} {:>14} {:>10} {:>10}  {}\n", played.line, played.job.queue,
               played.job.slot, played.job.generation, operation_name(played.job.operation), bytes, played.submitted,
               ended, outcome);
  }
}

int run(const Arguments& arguments) {
  if (arguments.list_builds) {
    print_builds();
    return kExitGood;
  }
  Scenario scenario = read_scenario(arguments.scenario, arguments.build);
  if (arguments.seed) scenario.options.seed = *arguments.seed;
  scenario.options.wave_file = arguments.waves;
  if (!scenario.title.empty()) fmt::print("{}\n", scenario.title);
  fmt::print("build {}, seed {}, {} bytes of memory\n\n", scenario.options.build, scenario.options.seed,
             scenario.memory_bytes);
  const PlayResult result = play(scenario, arguments.scenario);

  print_jobs(result.jobs);
  fmt::print("\n{:<48} {:>12}\n", "counter", "value");
  for (const PlayedCounter& counter : result.counters) {
    if (counter.value != 0 || arguments.all_counters) fmt::print("{:<48} {:>12}\n", counter.name, counter.value);
  }
  fmt::print("\n{} cycles\n", result.cycles);
  if (!arguments.waves.empty()) fmt::print("waves: {}\n", arguments.waves);
  if (!arguments.timing.empty()) {
    if (result.recorded.empty()) {
      throw ScenarioError(fmt::format(
          "--timing {}: the scenario records nothing: add {{ do = \"record\", cycles = 40 }}", arguments.timing));
    }
    std::ofstream file(arguments.timing);
    file << timing_diagram(result.recorded, scenario.title);
    if (!file.flush()) throw ScenarioError(fmt::format("--timing {}: cannot be written", arguments.timing));
    fmt::print("timing diagram of {} cycles: {}\n", result.recorded.size(), arguments.timing);
  }
  for (const std::string& problem : result.problems) fmt::print(stderr, "problem: {}\n", problem);
  fmt::print("{}\n", result.problems.empty() ? "good: every expectation met, memory as the completions say"
                                             : fmt::format("{} problems", result.problems.size()));
  return result.problems.empty() ? kExitGood : kExitProblem;
}

}  // namespace
}  // namespace sluice::inline scenario

int main(int argc, char** argv) {
  using namespace sluice;
  try {
    CLI::App app("Plays a scenario on the simulated scrub engine. docs/rtl/SIMULATION.md describes scenarios.",
                 "sluice-sim");
    Arguments arguments;
    auto* const scenario = app.add_option("scenario", arguments.scenario, "TOML file")->type_name("FILE");
    app.add_option("--build", arguments.build, "instead of the scenario's build; see --list-builds")->type_name("NAME");
    app.add_option("--seed", arguments.seed, "instead of the scenario's seed");
    app.add_option("--waves", arguments.waves, "writes the waves of the whole run")->type_name("FILE.fst");
    app.add_option("--timing", arguments.timing, "writes the recorded cycles as WaveJSON")->type_name("FILE.json");
    app.add_flag("--all-counters", arguments.all_counters, "prints counters that are 0 too");
    app.add_flag("--list-builds", arguments.list_builds, "lists the builds of the engine");
    try {
      app.parse(argc, argv);
      if (!arguments.list_builds && scenario->count() == 0) throw CLI::RequiredError("scenario");
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? kExitGood : kExitBadScenario;
    }
    return run(arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "sluice-sim: {}\n", error.what());
    return kExitBadScenario;
  }
}
