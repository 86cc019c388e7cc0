// SPDX-License-Identifier: Apache-2.0
// `sluice bench` as a user runs it, and `--engine auto` from what it writes.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "sluice/exit_code.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace sluice {
namespace {

using test::Outcome;

class BenchCommand : public ::testing::Test {
 protected:
  static Outcome sluice(const std::string& arguments) {
    return test::run_program(std::string(SLUICE_PROGRAM) + " " + arguments);
  }
  [[nodiscard]] std::string path(const std::string& file) const { return (folder_ / file).string(); }
  [[nodiscard]] std::string read(const std::string& file) const {
    std::ifstream in(folder_ / file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  test::TemporaryFolder folder_;
};

TEST_F(BenchCommand, MeasuresEverythingAndAutoUsesIt) {
  Outcome outcome =
      sluice("bench --smoke --engine cpu --engine rtl --json " + path("a.json") + " --report " + path("a.html"));
  ASSERT_EQ(outcome.exit_code, kExitOk) << outcome.output;
  for (const char* words :
       {"What does scrubbing cost today?", "What does an engine save?", "What does recycling save?",
        "From what size is offload worth it? on this machine", "libc memset", "rtl (projected)",
        "recycled: trust group", "no recycling", "rtl: ring/512 (the number", "its cycles at 300 MHz"}) {
    EXPECT_NE(outcome.output.find(words), std::string::npos) << words;
  }
  EXPECT_EQ(outcome.output.find("nan"), std::string::npos);
  const auto document = boost::json::parse(read("a.json"));
  for (const auto& chart : document.at("charts").as_array()) {
    EXPECT_FALSE(chart.at("figures").as_array().empty()) << chart.at("id");
    if (chart.at("id") != "trace_scrubbed") continue;
    std::map<std::string, double> scrubbed;
    for (const auto& figure : chart.at("figures").as_array()) {
      scrubbed[std::string(figure.at("series").as_string())] = figure.at("median").to_number<double>();
    }
    EXPECT_LT(scrubbed.at("all"), scrubbed.at("no recycling"));
    EXPECT_LT(scrubbed.at("all"), scrubbed.at("reboot only"));
    EXPECT_LT(scrubbed.at("reboot only"), scrubbed.at("no recycling"));
    EXPECT_LT(scrubbed.at("no recycling"), scrubbed.at("no recycling, scrubbed on grant"));
  }
  EXPECT_NE(read("a.html").find("\"sluice_bench\":1"), std::string::npos);

  outcome = sluice("bench compare " + path("a.json") + " " + path("a.json"));
  EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.output;
  EXPECT_NE(outcome.output.find("0 figures are better, 0 worse"), std::string::npos) << outcome.output;

  ASSERT_EQ(sluice("trace generate --vms 40 -o " + path("t.csv")).exit_code, kExitOk);
  outcome = sluice("replay --trace " + path("t.csv") +
                   " --memory-scale 16384 --pool 32MiB --engine auto:from=" + path("a.json"));
  EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.output;
  EXPECT_NE(outcome.output.find("engine auto(cpu/"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("ring/512 above"), std::string::npos) << outcome.output;
}

TEST_F(BenchCommand, AutoTakesLengthsByHand) {
  ASSERT_EQ(sluice("trace generate --vms 40 -o " + path("t.csv")).exit_code, kExitOk);
  const std::string run = "replay --trace " + path("t.csv") + " --memory-scale 16384 --pool 32MiB --engine auto";
  const Outcome outcome = sluice(run + ":engine=rtl,above=64KiB");
  EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.output;
  EXPECT_NE(outcome.output.find("below 65536 B"), std::string::npos) << outcome.output;
  const auto error_of = [&](const std::string& options) {
    const Outcome refused = sluice(run + options);
    EXPECT_EQ(refused.exit_code, kExitUsage) << refused.output;
    return refused.output;
  };
  EXPECT_NE(error_of("").find("give from=FILE"), std::string::npos);
  EXPECT_NE(error_of(":from=/no/such.json").find("/no/such.json"), std::string::npos);
  EXPECT_NE(error_of(":engine=rtl,below=128KiB,above=64KiB").find("131072"), std::string::npos);
  EXPECT_NE(error_of(":device").find("no device"), std::string::npos);
  const std::string empty = R"({"sluice_bench": 1, "facts": {}, "answers": [], "charts": [], "advice": [)";
  std::ofstream(path("some.json")) << empty
                                   << R"({"engine": "rtl", "cpu_below_bytes": 8192, "engine_above_bytes": 20480,)"
                                   << R"("projected": true, "text": ""}]})";
  const Outcome from_file = sluice(run + ":from=" + path("some.json"));
  EXPECT_NE(from_file.output.find("below 8192 B, ring/512 above 20480 B"), std::string::npos) << from_file.output;
  std::ofstream(path("none.json")) << empty << "]}";
  EXPECT_NE(error_of(":from=" + path("none.json")).find("no advice"), std::string::npos);
}

TEST_F(BenchCommand, RefusesWhatItCannotMeasure) {
  Outcome outcome = sluice("bench --smoke offload");
  EXPECT_EQ(outcome.exit_code, kExitUsage) << outcome.output;
  EXPECT_NE(outcome.output.find("nothing was measured"), std::string::npos);
  outcome = sluice("bench --smoke --engine rtl:build=513");
  EXPECT_EQ(outcome.exit_code, kExitUsage) << outcome.output;
  EXPECT_NE(outcome.output.find("513"), std::string::npos);
  EXPECT_EQ(sluice("bench everything").exit_code, kExitUsage);
  EXPECT_EQ(sluice("bench --smoke --full").exit_code, kExitUsage);
  EXPECT_EQ(sluice("bench --smoke trace --trace /no/such.csv").exit_code, kExitBadInput);
  EXPECT_EQ(sluice("bench compare /no/such.json /no/such.json").exit_code, kExitBadInput);
  std::ofstream(path("x.json")) << "{}";
  outcome = sluice("bench compare " + path("x.json") + " " + path("x.json"));
  EXPECT_EQ(outcome.exit_code, kExitBadInput);
  EXPECT_NE(outcome.output.find("x.json"), std::string::npos) << outcome.output;
}

TEST_F(BenchCommand, EngineThatThisMachineHasNotIsLeftOutWithTheReason) {
  const Outcome outcome = sluice("bench --smoke cancel --engine cpu --engine dmadev:no_such_device");
  EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.output;
  EXPECT_NE(outcome.output.find("dmadev:no_such_device: "), std::string::npos) << outcome.output;
}

TEST_F(BenchCommand, FileThatCannotBeWrittenIsAnError) {
  const Outcome outcome = sluice("bench --smoke cancel --engine cpu --json /no/such/folder/a.json");
  EXPECT_EQ(outcome.exit_code, kExitBadInput) << outcome.output;
  EXPECT_NE(outcome.output.find("/no/such/folder/a.json"), std::string::npos);
}

}  // namespace
}  // namespace sluice
