// SPDX-License-Identifier: Apache-2.0
// The program `sluice` as its user meets it: options, messages, exit codes, files.
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/json.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "sluice/exit_code.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace sluice {
namespace {

using test::Outcome;

class CommandLine : public ::testing::Test {
 protected:
  static Outcome sluice(const std::string& arguments) {
    return test::run_program(std::string(SLUICE_PROGRAM) + " " + arguments);
  }

  void generate(const std::string& options = "--vms 60") const {
    const Outcome made = sluice("trace generate -o " + trace_ + " " + options);
    ASSERT_EQ(made.exit_code, kExitOk) << made.output;
  }
  [[nodiscard]] std::string run(const std::string& options) const {
    return "replay --trace " + trace_ + " --memory-scale 16384 --pool 32MiB " + options;
  }
  [[nodiscard]] std::string read(const std::string& file) const {
    std::ifstream in(folder_ / file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  test::TemporaryFolder folder_;
  std::string trace_ = (folder_ / "trace.csv").string();
};

TEST_F(CommandLine, RunsBothEnginesToAReport) {
  generate();
  for (const std::string engine : {"cpu", "rtl"}) {
    const Outcome outcome = sluice(run("--engine " + engine));
    EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.output;
    EXPECT_NE(outcome.output.find("leaks found                           0"), std::string::npos) << outcome.output;
  }
}

TEST_F(CommandLine, PrintsAndWritesJson) {
  generate();
  const Outcome outcome = sluice(run("--engine rtl --json --report " + (folder_ / "report.json").string()));
  ASSERT_EQ(outcome.exit_code, kExitOk) << outcome.output;
  const auto printed = boost::json::parse(outcome.output);
  const auto written = boost::json::parse(read("report.json"));
  EXPECT_EQ(printed, written);
  EXPECT_GT(printed.at("engine").at("cycles").to_number<std::uint64_t>(), 0U);
  EXPECT_GT(printed.at("engine").at("initial_scrub_beats_per_cycle").as_double(), 0.5);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.json.part"));
}

TEST_F(CommandLine, RefusesBadOptionsWithExitCode2) {
  generate();
  for (const std::string options : {"--no-such-option",
                                    "--engine gpu",
                                    "--pool lots",
                                    "--engine rtl:build=100",
                                    "--bricks 0",
                                    "--engine rtl:read-latency=x",
                                    "--engine rtl:read-latency=9:5",
                                    "--engine rtl:ready=0",
                                    "--engine rtl:bus-error-rate=1",
                                    "--engine cpu:",
                                    "--engine cpu:thread=2",
                                    "--engine cpu:threads=0",
                                    "--memory-scale 0",
                                    "--engine rtl:clock-mhz=0",
                                    "--job-size 5000",
                                    "--pool -1",
                                    "--max-vms -1",
                                    "--seed -1",
                                    "--reboots-per-day nan",
                                    "--scrub-rate 0",
                                    "--pool 18446744073709551616",
                                    "--seed 1x",
                                    "--engine rtl:read-latency=0:4294967295",
                                    "--engine cpu:chunk=18446744073709551615"}) {
    const Outcome outcome = sluice(run(options));
    EXPECT_EQ(outcome.exit_code, kExitUsage) << options << ": " << outcome.output;
    const std::string option = options.substr(0, options.find(' '));
    const std::string name = option == "--engine" ? options.substr(option.size() + 1) : option;
    EXPECT_NE(outcome.output.find(name), std::string::npos) << outcome.output;
  }
  EXPECT_EQ(sluice("").exit_code, kExitUsage);
  EXPECT_EQ(sluice("replay").exit_code, kExitUsage);
  EXPECT_EQ(sluice("trace").exit_code, kExitUsage);
}

TEST_F(CommandLine, EnginesListsWhatThereIsAndHowToNameIt) {
  const Outcome text = sluice("engines");
  EXPECT_EQ(text.exit_code, kExitOk) << text.output;
  for (const char* expected : {"cpu ", "rtl ", "rtl:build=64", "threads=", "read-latency="}) {
    EXPECT_NE(text.output.find(expected), std::string::npos) << expected << " in\n" << text.output;
  }
  const Outcome outcome = sluice("engines --json");
  const boost::json::value kinds = boost::json::parse(outcome.output);
  std::size_t runnable = 0;
  generate("--vms 5");
  for (const auto& kind : kinds.as_array()) {
    bool available = false;
    for (const auto& engine : kind.at("engines").as_array()) {
      const std::string name(engine.at("name").as_string());
      if (!engine.at("available").as_bool()) {
        EXPECT_FALSE(engine.at("why_not").as_string().empty()) << name;
        continue;
      }
      ++runnable;
      available = true;
      const Outcome ran = sluice("replay --trace " + trace_ + " --memory-scale 262144 --pool 1MiB --engine " + name);
      EXPECT_EQ(ran.exit_code, kExitOk) << name << ": " << ran.output;
    }
    EXPECT_EQ(kind.at("options").as_array().empty(), !available) << kind.at("kind");
  }
  EXPECT_GE(runnable, 8U) << "the CPU, and seven builds of the RTL";
  EXPECT_EQ(outcome.output.find("no-quiescence"), std::string::npos) << "that one breaks a promise on purpose";
}

TEST_F(CommandLine, RefusesMissingAndMalformedTraces) {
  Outcome outcome = sluice(run("--engine cpu"));
  EXPECT_EQ(outcome.exit_code, kExitBadInput);
  EXPECT_NE(outcome.output.find("No such file"), std::string::npos) << outcome.output;
  generate();
  std::ofstream(trace_, std::ios::app) << "zzz,create,999,1,,,4096,\n";
  outcome = sluice(run("--engine cpu"));
  EXPECT_EQ(outcome.exit_code, kExitBadInput);
  EXPECT_NE(outcome.output.find(":1: 'zzz'"), std::string::npos) << outcome.output;
}

TEST_F(CommandLine, RefusesAPoolThatIsTooSmallOrTooLarge) {
  generate();
  Outcome outcome = sluice("replay --trace " + trace_ + " --engine cpu --pool 1MiB");
  EXPECT_EQ(outcome.exit_code, kExitBadInput);
  EXPECT_NE(outcome.output.find("1048576 bytes"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("--pool"), std::string::npos);
  outcome = sluice("replay --trace " + trace_ + " --engine cpu --pool 1000TiB");
  EXPECT_EQ(outcome.exit_code, kExitBadInput) << outcome.output;
  EXPECT_NE(outcome.output.find("ask for less"), std::string::npos) << outcome.output;
}

TEST_F(CommandLine, EngineThatFailsEndsWithExitCode4AndNoReport) {
  generate();
  const std::string report = (folder_ / "report.json").string();
  const Outcome outcome = sluice(run("--engine rtl:bus-hang-after=9000,stall-timeout-us=50 --report " + report));
  EXPECT_EQ(outcome.exit_code, kExitEngine) << outcome.output;
  EXPECT_NE(outcome.output.find("quarantined"), std::string::npos) << outcome.output;
  EXPECT_EQ(outcome.output.find("leaks found"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(report));
  EXPECT_FALSE(std::filesystem::exists(report + ".part"));
}

TEST_F(CommandLine, TheNextEngineTakesOverFromOneThatFails) {
  generate();
  const std::string report = (folder_ / "report.json").string();
  const Outcome outcome =
      sluice(run("--engine rtl:bus-hang-after=9000,stall-timeout-us=50 --engine cpu --report " + report));
  EXPECT_EQ(outcome.exit_code, kExitQuarantined) << outcome.output;
  EXPECT_NE(outcome.output.find("cpu takes over"), std::string::npos) << outcome.output;
  const boost::json::value written = boost::json::parse(read("report.json"));
  const auto& failovers = written.at("engine").at("failovers").as_array();
  ASSERT_EQ(failovers.size(), 1U);
  EXPECT_EQ(failovers[0].at("to").as_string(), "cpu");
  EXPECT_NE(failovers[0].at("reason").as_string().find("moved nothing"), std::string::npos);
}

TEST_F(CommandLine, EngineThatDoesNotStartEndsWithExitCode4) {
  generate();
  const Outcome outcome = sluice(run("--engine rtl:wave=/no/such/folder/x.fst"));
  EXPECT_EQ(outcome.exit_code, kExitEngine) << outcome.output;
  EXPECT_NE(outcome.output.find("the engine did not start"), std::string::npos) << outcome.output;
}

/// On a terminal there is a bar; the other tests read a pipe.
TEST_F(CommandLine, ShowsABarOnATerminal) {
  generate("--vms 400");
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::alarm(test::kLongestProgram);
    ::execl(SLUICE_PROGRAM, "sluice", "replay", "--trace", trace_.c_str(), "--memory-scale", "8192", "--pool", "256MiB",
            "--engine", "rtl", nullptr);
    ::_exit(99);
  }
  std::string shown;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = ::read(terminal, buffer.data(), buffer.size())) > 0;) {
    shown.append(buffer.data(), static_cast<std::size_t>(got));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(terminal);
  EXPECT_EQ(WEXITSTATUS(status), kExitOk) << shown;
  EXPECT_NE(shown.find("\r["), std::string::npos) << shown;
  EXPECT_NE(shown.find("s left"), std::string::npos) << shown;
  generate("--vms 60");
  EXPECT_EQ(sluice(run("--engine cpu")).output.find('\r'), std::string::npos) << "no bar in a pipe";
}

TEST_F(CommandLine, BusErrorsEndWithAReportAndExitCode5) {
  generate();
  const Outcome outcome = sluice(run("--engine rtl:bus-error-rate=0.0003 --seed 5"));
  EXPECT_EQ(outcome.exit_code, kExitQuarantined) << outcome.output;
  EXPECT_NE(outcome.output.find("leaks found                           0"), std::string::npos) << outcome.output;
}

TEST_F(CommandLine, PolicyHoldsForAllVms) {
  generate();
  const auto skipped_and_scrubbed_before_grant = [&](const std::string& file, const std::string& text) {
    std::ofstream(folder_ / file) << text;
    const Outcome outcome = sluice(run("--engine cpu --json --policy " + (folder_ / file).string()));
    EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.output;
    const auto granted = boost::json::parse(outcome.output).at("granted_bytes");
    std::uint64_t skipped = 0;
    for (const auto& reason : granted.at("skipped").as_object()) skipped += reason.value().to_number<std::uint64_t>();
    return std::pair(skipped, granted.at("scrubbed_first").at("scrub_before_grant").to_number<std::uint64_t>());
  };
  EXPECT_GT(skipped_and_scrubbed_before_grant("all.json", "{}").first, 0U);
  const auto nothing =
      skipped_and_scrubbed_before_grant("none.toml", "enable = false\nscrub_timing = \"before_grant\"\n");
  EXPECT_EQ(nothing.first, 0U);
  EXPECT_GT(nothing.second, 0U);
  EXPECT_GT(skipped_and_scrubbed_before_grant("late.toml", "scrub_timing = \"scheduled\"\nscrub_delay_s = 600\n").first,
            0U);
}

TEST_F(CommandLine, PolicyThatCannotBeReadIsAnError) {
  generate();
  const auto error_of = [&](const std::string& text) {
    std::ofstream(folder_ / "bad.json") << text;
    const Outcome outcome = sluice(run("--engine cpu --policy " + (folder_ / "bad.json").string()));
    EXPECT_EQ(outcome.exit_code, kExitBadInput) << outcome.output;
    EXPECT_NE(outcome.output.find("bad.json: "), std::string::npos) << outcome.output;
    return outcome.output;
  };
  EXPECT_NE(error_of("{\"enabel\": true}").find("enabel"), std::string::npos);
  EXPECT_NE(error_of("{\"fill\": \"ones\"}").find("'ones'"), std::string::npos);
  EXPECT_NE(sluice(run("--engine cpu --policy /no/such.json")).output.find("/no/such.json"), std::string::npos);
}

TEST_F(CommandLine, ReportThatCannotBeWrittenIsAnError) {
  generate();
  const Outcome outcome = sluice(run("--engine cpu --report /no/such/folder/report.json"));
  EXPECT_EQ(outcome.exit_code, kExitBadInput) << outcome.output;
  EXPECT_NE(outcome.output.find("/no/such/folder/report.json"), std::string::npos);
}

TEST_F(CommandLine, OutputThatCannotBeWrittenIsAnErrorOfEveryCommand) {
  generate();
  for (const std::string where : {">/dev/full", ">&-"}) {
    for (const std::string& command :
         {run("--engine cpu"), run("--engine cpu --json"), std::string("engines"), std::string("engines --json"),
          std::string("trace generate"), std::string("--help"), std::string("bench --smoke cancel --engine cpu")}) {
      const Outcome outcome =
          test::run_program(std::string("sh -c '" SLUICE_PROGRAM " ") + command + " " + where + "'");
      EXPECT_EQ(outcome.exit_code, kExitBadInput) << command << where << ": " << outcome.output;
      EXPECT_NE(outcome.output.find("cannot write standard output"), std::string::npos) << outcome.output;
    }
  }
  EXPECT_EQ(sluice("trace generate -o /dev/full").exit_code, kExitBadInput);
  EXPECT_EQ(sluice(run("--engine cpu --report /dev/full")).exit_code, kExitBadInput);
  const Outcome limited = test::run_program("sh -c 'ulimit -f 1; " SLUICE_PROGRAM " trace generate -o " +
                                            (folder_ / "limited.csv").string() + "'");
  EXPECT_EQ(limited.exit_code, kExitBadInput) << limited.output;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "limited.csv"));
}

TEST_F(CommandLine, ReaderThatGoesAwayIsAnError) {
  const Outcome outcome = test::run_program("bash -c 'set -o pipefail; " SLUICE_PROGRAM
                                            " trace generate --vms 5000 | head -c 1 >/dev/null'");
  EXPECT_EQ(outcome.exit_code, kExitBadInput) << outcome.output;
}

TEST_F(CommandLine, EverythingElseWorksWithStandardErrorClosed) {
  std::ofstream(trace_) << "time_s,event,vm,customer,group,pool,bytes,inside\n0,create,1,1,,,1048576,\n"
                           "10,create,2,2,,,1048576,\n1000,terminate,1,,,,,\n2000,terminate,2,,,,,\n"
                           "3000,create,3,3,,,3145728,\n";
  const std::string command = "replay --trace " + trace_ +
                              " --memory-scale 1 --pool 4MiB --engine rtl:bus-hang-after=3000,stall-timeout-us=50 "
                              "--engine cpu";
  const int open = sluice(command).exit_code;
  EXPECT_EQ(test::run_program(std::string("sh -c '" SLUICE_PROGRAM " ") + command + " >/dev/null 2>&-'").exit_code,
            open);
  EXPECT_NE(open, kExitLeak);
}

TEST_F(CommandLine, ReplaysWhatFitsAndSaysBeforehandWhatTheClockCannotHold) {
  const std::string header = "time_s,event,vm,customer,group,pool,bytes,inside\n";
  std::ofstream(trace_) << header << "0,create_pool,,1,,1,4194304,\n1,create,1,1,,1,4194304,\n2,terminate,1,,,,,\n";
  EXPECT_EQ(sluice("replay --engine cpu --memory-scale 1 --pool 4MiB --trace " + trace_).exit_code, kExitOk)
      << "a VM that lives in its pool counts once";
  std::ofstream(trace_) << header << "0,create,1,1,,,68719476736,\n1,terminate,1,,,,,\n";
  const Outcome slow = sluice("replay --engine cpu --scrub-rate 1 --trace " + trace_);
  EXPECT_EQ(slow.exit_code, kExitBadInput) << slow.output;
  EXPECT_NE(slow.output.find("--scrub-rate of 1B"), std::string::npos) << slow.output;
}

TEST_F(CommandLine, NextEngineFollowsOneWhoseMemoryCannotBeHad) {
  generate();
  for (const std::string engines :
       {"--engine xrt:device=0,xclbin=/no/such --engine cpu", "--engine cpu --engine xrt:device=0,xclbin=/no/such"}) {
    const Outcome outcome = sluice(run(engines));
    EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.output;
  }
}

TEST_F(CommandLine, WritesAWave) {
  generate("--vms 2 --reboots-per-day 0 --balloons-per-day 0");
  const std::string wave = (folder_ / "wave.fst").string();
  const Outcome outcome =
      sluice("replay --trace " + trace_ + " --memory-scale 262144 --pool 256KiB --engine rtl:wave=" + wave);
  EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.output;
  EXPECT_GT(std::filesystem::file_size(wave), 1000U);
}

/// Before the program has a handler a signal would simply end it.
bool catches_interrupts(pid_t child) {
  std::ifstream status("/proc/" + std::to_string(child) + "/status");
  for (std::string word; status >> word;) {
    if (word != "SigCgt:") continue;
    std::uint64_t caught = 0;
    status >> std::hex >> caught;
    return ((caught >> (SIGINT - 1)) & 1) != 0;
  }
  return false;
}

TEST_F(CommandLine, InterruptEndsWithExitCode130AndNoReport) {
  generate("--vms 10000");
  const std::string report = (folder_ / "report.json").string();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::alarm(test::kLongestProgram);
    const std::string errors = (folder_ / "errors").string();
    if (std::freopen(errors.c_str(), "w", stderr) == nullptr) ::_exit(99);
    ::execl(SLUICE_PROGRAM, "sluice", "replay", "--trace", trace_.c_str(), "--memory-scale", "65536", "--pool",
            "512MiB", "--engine", "rtl", "--report", report.c_str(), nullptr);
    ::_exit(99);
  }
  for (int tries = 0; tries < 6000 && !catches_interrupts(child); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // into the run
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), kExitInterrupted) << read("errors");
  EXPECT_NE(read("errors").find("interrupted after"), std::string::npos) << read("errors");
  EXPECT_FALSE(std::filesystem::exists(report));
}

TEST_F(CommandLine, DoctorSaysWhatItFindsAndEndsAccordingly) {
  const std::string command = "doctor --memory /dev/shm/sluice-test-none --socket /nowhere";
  const Outcome found = sluice(command);
  EXPECT_NE(found.output.find("sole access"), std::string::npos) << found.output;
  EXPECT_NE(found.output.find("-> start it"), std::string::npos) << found.output;
  const Outcome unfit = sluice("doctor --json --memory /proc/self");
  EXPECT_EQ(unfit.exit_code, kExitUnfit) << unfit.output;
  EXPECT_NE(unfit.output.find(R"("subject":"sole access","grade":"failure")"), std::string::npos) << unfit.output;
  EXPECT_EQ(sluice(command + " > /dev/full").exit_code, kExitBadInput);
}

}  // namespace
}  // namespace sluice
