// SPDX-License-Identifier: Apache-2.0
// Worlds, one seed after the other. A story that goes wrong is made shorter and printed.
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "support/temporary_folder.hpp"
#include "world.hpp"

namespace sluice::world {
namespace {

using Clock = std::chrono::steady_clock;

/// What a process that plays stories leaves behind when it ends, in whatever way.
struct Report {
  std::uint64_t seed;
  std::uint64_t stories;
  std::uint64_t events;
  std::uint64_t claims;
  double busy_s;
  std::uint64_t failed_step;
  char message[512];
};

Report& shared_report() {
  void* const memory = ::mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for a report");
  return *static_cast<Report*>(memory);
}

void play_into(Report& report, const std::string& folder, std::uint64_t seed, const Story& story) {
  std::filesystem::remove(folder + "/ledger");
  World world(folder, seed);
  const auto start = Clock::now();
  const auto failure = world.play(story);
  report.busy_s += std::chrono::duration<double>(Clock::now() - start).count();
  report.events += story.size();
  report.claims += world.claims_granted();
  ++report.stories;
  if (!failure) return;
  report.failed_step = failure->step;
  std::strncpy(report.message, failure->message.c_str(), sizeof report.message - 1);
}

/// Whether the work ended well, in a process of its own. A broken promise ends it with a signal.
template <class Work>
bool survives(Report& report, Work work, bool silent) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (silent) {
      static_cast<void>(!std::freopen("/dev/null", "w", stderr));
    }
    try {
      work();
    } catch (const std::exception& error) {
      std::strncpy(report.message, error.what(), sizeof report.message - 1);
    }
    ::_exit(report.message[0] == 0 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    std::strncpy(report.message, "the process was aborted", sizeof report.message - 1);
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// A message without its numbers.
std::string kind_of(std::string message) {
  std::erase_if(message, [](char letter) { return letter >= '0' && letter <= '9'; });
  return message;
}

void print_short_story(Report& report, const std::string& folder, std::size_t steps) {
  const std::uint64_t seed = report.seed;
  fmt::print("seed {} failed: {}\n", seed, report.message);
  std::fflush(stdout);
  const std::string kind = kind_of(report.message);
  // The same thing must go wrong, be it of another page or VM.
  const auto fails = [&](const Story& story, bool silent = true) {
    std::memset(&report, 0, sizeof report);
    survives(
        report, [&] { play_into(report, folder, seed, story); }, silent);
    return report.message[0] != 0 && kind_of(report.message) == kind;
  };
  const Story story = shrink(draw_story(seed, steps), [&](const Story& shorter) { return fails(shorter); });
  fails(story, false);
  fmt::print("the shortest story found, of {} steps ({}):\n", story.size(), report.message);
  for (const Step& step : story) fmt::print("  {}\n", to_string(step));
  fmt::print("see it again: world --seed {} --seconds 0 --steps {}\n", seed, steps);
}

int run(std::uint64_t seed, double seconds, std::size_t steps, bool shrinks) {
  // A ledger lies on tmpfs.
  const test::TemporaryFolder folder(std::filesystem::exists("/dev/shm") ? "/dev/shm"
                                                                         : std::filesystem::temp_directory_path());
  Report& report = shared_report();
  const auto start = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  auto printed = 0.0;
  const bool well = survives(
      report,
      [&] {
        report.seed = seed;
        do {
          play_into(report, folder.path(), report.seed, draw_story(report.seed, steps));
          if (report.message[0] != 0) return;
          ++report.seed;
          if (elapsed() - printed > 10) {
            printed = elapsed();
            fmt::print("{} stories in {:.0f} of {:.0f} s\n", report.stories, printed, seconds);
            std::fflush(stdout);
          }
        } while (elapsed() < seconds);
      },
      false);
  if (!well) {
    if (shrinks) print_short_story(report, folder.path(), steps);
    if (!shrinks) fmt::print("seed {} failed: {}\n", report.seed, report.message);
    return 1;
  }
  fmt::print("{} stories, {} events, {} claims granted: all as it should be; {:.2f} million events a second\n",
             report.stories, report.events, report.claims, static_cast<double>(report.events) / report.busy_s / 1e6);
  return 0;
}

}  // namespace
}  // namespace sluice::world

int main(int argc, char** argv) {
  CLI::App app("Worlds of random stories, each step checked.", "world");
  std::uint64_t seed = 1;
  double seconds = 10;
  std::size_t steps = 4000;
  app.add_option("--seed", seed, "The first one")->capture_default_str();
  app.add_option("--seconds", seconds, "How long; 0: one story")->capture_default_str();
  app.add_option("--steps", steps, "Of each story")->capture_default_str();
  bool shrinks = true;
  app.add_option("--shrink", shrinks, "0: a failing story is not made shorter")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return sluice::world::run(seed, seconds, steps, shrinks);
  } catch (const std::exception& error) {
    fmt::print(stderr, "world: {}\n", error.what());
    return 2;
  }
}
