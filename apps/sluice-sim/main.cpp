// SPDX-License-Identifier: Apache-2.0
// sluice-sim: plays a scenario on the simulated engine and prints what happened.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "common/options.hpp"
#include "sluice/base/output.hpp"
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

// What will be printed is one piece: a run that cannot be reported has not succeeded.
using Text = std::string;

Text builds_text() {
  Text text = fmt::format("{:<20} {:>6} {:>8} {:>7} {:>6} {:>12} {:>8} {:>7}\n", "build", "bits", "address", "queues",
                          "slots", "outstanding", "masters", "IDs");
  for (const RtlBuild& build : rtl_builds()) {
    text += fmt::format("{:<20} {:>6} {:>8} {:>7} {:>6} {:>12} {:>8} {:>7}\n", build.name, build.data_width,
                        build.addr_width, build.queues, build.slots, build.outstanding, build.masters,
                        build.id_per_queue ? "queue" : "one");
  }
  return text;
}

Text jobs_text(const std::vector<PlayedJob>& jobs) {
  Text text = fmt::format("{:>4} {:>5} {:>5} {:>11} {:<11} {:>14} {:>10} {:>10}  {}\n", "line", "queue", "slot",
                          "generation", "operation", "bytes", "submitted", "ended", "outcome");
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
    text += fmt::format("{:>4} {:>5} {:>5} {:>11} {:<11} {:>14} {:>10} {:>10}  {}\n", played.line, played.job.queue,
                        played.job.slot, played.job.generation, operation_name(played.job.operation), bytes,
                        played.submitted, ended, outcome);
  }
  return text;
}

void put(const Text& text) {
  if (auto written = write_standard_output(text); !written) throw ScenarioError(written.error().message);
}

/// The writer of waves maps its file: a disk that is full shows as this signal in the middle of a store.
void on_bus_error(int /*signal*/) {
  constexpr std::string_view kText = "sluice-sim: the waves cannot be written: make room where they go, or in TMPDIR\n";
  static_cast<void>(!::write(STDERR_FILENO, kText.data(), kText.size()));
  ::_exit(kExitBadScenario);
}

/// Throws if the file of waves is cut. It is a list of blocks, each of a kind and a length; whole ones end with those
/// that say what the signals are called.
void check_waves(const std::string& file) {
  const auto cut = [&file] { throw ScenarioError(fmt::format("--waves {}: the file is cut: make room there", file)); };
  std::ifstream in(file, std::ios::binary);
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(file, error);
  constexpr unsigned kBlockOfNames = 4;  // up to 7, by how it is packed
  bool named = false;
  std::uint64_t at = 0;
  while (!error && at < size) {
    std::array<unsigned char, 9> head{};
    in.seekg(static_cast<std::streamoff>(at));
    if (!in.read(reinterpret_cast<char*>(head.data()), head.size())) cut();
    std::uint64_t length = 0;
    for (std::size_t byte = 1; byte < head.size(); ++byte) length = length << 8 | head[byte];
    if (length == 0 || length >= size - at) cut();
    named = named || (head[0] >= kBlockOfNames && head[0] <= 7);
    at += 1 + length;
  }
  if (error || !named) cut();
}

int run(const Arguments& arguments) {
  if (arguments.list_builds) {
    put(builds_text());
    return kExitGood;
  }
  Scenario scenario = read_scenario(arguments.scenario, arguments.build);
  if (arguments.seed) scenario.options.seed = *arguments.seed;
  scenario.options.wave_file = arguments.waves;
  std::optional<OutputFile> timing;
  if (!arguments.timing.empty()) {
    auto opened = OutputFile::open(arguments.timing);
    if (!opened) throw ScenarioError("--timing: " + opened.error().message);
    timing.emplace(std::move(*opened));
  }
  if (!arguments.waves.empty()) std::signal(SIGBUS, on_bus_error);
  Text text = scenario.title.empty() ? "" : scenario.title + "\n";
  text += fmt::format("build {}, seed {}, {} bytes of memory\n\n", scenario.options.build, scenario.options.seed,
                      scenario.memory_bytes);
  const PlayResult result = play(scenario, arguments.scenario);
  if (!arguments.waves.empty()) check_waves(arguments.waves);

  text += jobs_text(result.jobs);
  text += fmt::format("\n{:<48} {:>12}\n", "counter", "value");
  for (const PlayedCounter& counter : result.counters) {
    if (counter.value == 0 && !arguments.all_counters) continue;
    text += fmt::format("{:<48} {:>12}\n", counter.name, counter.value);
  }
  text += fmt::format("\n{} cycles\n", result.cycles);
  if (!arguments.waves.empty()) text += fmt::format("waves: {}\n", arguments.waves);
  if (timing) {
    if (result.recorded.empty()) {
      throw ScenarioError(fmt::format(
          "--timing {}: the scenario records nothing: add {{ do = \"record\", cycles = 40 }}", arguments.timing));
    }
    const auto written = timing->write(timing_diagram(result.recorded, scenario.title));
    if (!written) throw ScenarioError("--timing: " + written.error().message);
    text += fmt::format("timing diagram of {} cycles: {}\n", result.recorded.size(), arguments.timing);
  }
  for (const std::string& problem : result.problems) {
    std::fputs(fmt::format("problem: {}\n", problem).c_str(), stderr);
  }
  put(text + (result.problems.empty() ? "good: every expectation met, memory as the completions say\n"
                                      : fmt::format("{} problems\n", result.problems.size())));
  return result.problems.empty() ? kExitGood : kExitProblem;
}

}  // namespace
}  // namespace sluice::inline scenario

int main(int argc, char** argv) {
  using namespace sluice;
  prepare_process();
  try {
    CLI::App app("Plays a scenario on the simulated scrub engine. docs/rtl/SIMULATION.md describes scenarios.",
                 "sluice-sim");
    Arguments arguments;
    auto* const scenario = app.add_option("scenario", arguments.scenario, "TOML file")->type_name("FILE");
    app.add_option("--build", arguments.build, "instead of the scenario's build; see --list-builds")->type_name("NAME");
    add_optional_number(app, "--seed", arguments.seed, limits::kSeed, "instead of the scenario's seed");
    app.add_option("--waves", arguments.waves, "writes the waves of the whole run")->type_name("FILE.fst");
    app.add_option("--timing", arguments.timing, "writes the recorded cycles as WaveJSON")->type_name("FILE.json");
    app.add_flag("--all-counters", arguments.all_counters, "prints counters that are 0 too");
    app.add_flag("--list-builds", arguments.list_builds, "lists the builds of the engine");
    try {
      app.parse(argc, argv);
      if (!arguments.list_builds && scenario->count() == 0) throw CLI::RequiredError("scenario");
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 && finish_standard_output() ? kExitGood : kExitBadScenario;
    }
    return run(arguments);
  } catch (const std::exception& error) {
    std::fputs(fmt::format("sluice-sim: {}\n", error.what()).c_str(), stderr);
    return kExitBadScenario;
  }
}
