// SPDX-License-Identifier: Apache-2.0
// sluice-sim as its user meets it: options, exit codes, files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

class SluiceSim : public ::testing::Test {
 protected:
  /// Plays a scenario of these lines.
  [[nodiscard]] Outcome play(const std::string& text, const std::string& options = "") const {
    std::ofstream(folder_ / "scenario.toml") << text;
    return run_program(std::string(SLUICE_SIM) + " " + (folder_ / "scenario.toml").string() + " " + options);
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }

  TemporaryFolder folder_;
};

const std::string kGood = "title = \"a fill\"\nsteps = [{ do = \"fill\", length = \"4KiB\" }, { do = \"wait\" }]\n";

TEST_F(SluiceSim, PrintsJobsAndCounters) {
  const Outcome outcome = play(kGood, "--build 256 --seed 3");
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* const part : {"a fill", "build 256, seed 3", "4096 of 4096", "queue 0: jobs ended", "good:"}) {
    EXPECT_THAT(outcome.output, HasSubstr(part));
  }
}

TEST_F(SluiceSim, ExitsWith1WhenSomethingIsWrong) {
  const Outcome outcome =
      play("steps = [{ do = \"fill\", length = \"4KiB\" }, { do = \"wait\", outcome = \"failed\" }]");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("outcome is done, expected failed"));
  EXPECT_THAT(outcome.output, HasSubstr("1 problems"));
}

TEST_F(SluiceSim, ExitsWith2WhenItIsAskedForNonsense) {
  for (const auto& [text, options, message] :
       {std::tuple{kGood, "--build 7", "'build' is '7', which is not known"}, std::tuple{kGood, "--sed 1", "--sed"},
        std::tuple{kGood, "--timing x.json", "records nothing"},
        std::tuple{std::string("steps = 1"), "", "'steps' is missing"}}) {
    const Outcome outcome = play(text, options);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(message));
  }
  EXPECT_EQ(run_program(SLUICE_SIM).exit_code, 2);
  EXPECT_THAT(run_program(std::string(SLUICE_SIM) + " /nowhere.toml").output, HasSubstr("No such file"));
}

TEST_F(SluiceSim, WritesWavesAndTimingDiagrams) {
  const std::string text =
      "steps = [{ do = \"record\", cycles = 60 }, { do = \"fill\", length = 64 }, { do = \"wait\" }]";
  const Outcome outcome = play(text, "--waves " + path("out.fst") + " --timing " + path("out.json"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_GT(std::filesystem::file_size(path("out.fst")), 1000U);
  std::stringstream diagram;
  diagram << std::ifstream(path("out.json")).rdbuf();
  EXPECT_THAT(diagram.str(), HasSubstr("AWADDR"));
  EXPECT_EQ(play(text, "--timing /nowhere/out.json").exit_code, 2);
}

TEST_F(SluiceSim, OutputThatCannotBeWrittenIsAnError) {
  EXPECT_EQ(play(kGood, "> /dev/full").exit_code, 2);
  EXPECT_EQ(play(kGood, "--timing /dev/full").exit_code, 2);
  EXPECT_EQ(run_program(std::string(SLUICE_SIM) + " --list-builds > /dev/full").exit_code, 2);
  EXPECT_EQ(run_program(std::string(SLUICE_SIM) + " --help >&-").exit_code, 2);
  ASSERT_EQ(play(kGood).exit_code, 0);
  const Outcome cut =
      run_program("sh -c 'ulimit -f 2; " SLUICE_SIM " " + path("scenario.toml") + " --waves " + path("cut.fst") + "'");
  EXPECT_EQ(cut.exit_code, 2) << cut.output;
  EXPECT_THAT(cut.output, HasSubstr("waves"));
}

TEST_F(SluiceSim, ListsTheBuilds) {
  const Outcome outcome = run_program(std::string(SLUICE_SIM) + " --list-builds");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output, HasSubstr("512-shared"));
}

}  // namespace
}  // namespace sluice::test
