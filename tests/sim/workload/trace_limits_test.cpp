// SPDX-License-Identifier: Apache-2.0
// What is too long, too much or unreadable in traces.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "sluice/workload/azure_trace.hpp"
#include "sluice/workload/trace_generator.hpp"
#include "support/temporary_folder.hpp"

namespace sluice {
namespace {

using ::testing::HasSubstr;

const std::string kHeader = "time_s,event,vm,customer,group,pool,bytes,inside\n";

Result<Trace> read(const std::string& text) {
  std::istringstream in(text);
  return read_csv(in, "t.csv");
}

TEST(TraceCsv, RepeatsNoOrdersToATerminal) {
  const std::string create = "0,create,1,1,,,4096,\n";
  EXPECT_EQ(read(kHeader + "# drawn: sizes; seed 1\n" + create)->drawn, "sizes; seed 1");
  const auto refused = read(kHeader + "# drawn: \x1b[2J\n" + create);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("t.csv:2:1: '# drawn: \\x1B[2J': expected letters of ASCII"));
}

TEST(TraceCsv, ReadsTheLongestLineThereMayBe) {
  const auto with_remark = [](std::size_t length) {
    return read(kHeader + "#" + std::string(length - 1, 'r') + "\r\n0,create,1,1,,,4096,");
  };
  EXPECT_TRUE(with_remark(4093));
  const auto refused = with_remark(4094);
  ASSERT_FALSE(refused) << "with the carriage return it has one byte too many";
  EXPECT_THAT(refused.error().message, HasSubstr("a line of at most 4094 bytes"));
}

TEST(TraceChecker, SumsDoNotWrap) {
  std::string lines = kHeader;
  for (int vm = 1; vm <= 4096; ++vm) lines += fmt::format("0,create,{},1,,,1125899906842624,\n", vm);
  EXPECT_TRUE(read(lines));
  for (const char* more : {"0,create,9999,1,,,1,\n", "0,create_pool,,1,,1,1,\n",
                           "1,balloon_down,1,,,,4096,\n1,create,9999,1,,,4096,\n1,balloon_up,1,,,,4096,\n",
                           "1,reboot,1,,,,4096,\n1,create,9998,1,,,1125899906842624,\n"}) {
    const auto refused = read(lines + more);
    ASSERT_FALSE(refused) << more;
    EXPECT_THAT(refused.error().message, HasSubstr("together")) << more;
  }
  EXPECT_TRUE(read(lines + "1,terminate,1,,,,,\n1,create,9999,1,,,4096,\n"));
}

TEST(TraceGenerator, RefusesMoreEventsThanMemoryHolds) {
  GeneratorOptions options;
  options.vms = 200'000;
  options.hours = 24 * 366 * 100;
  options.population.reboots_per_day = 100'000;
  const auto refused = generate_trace(options);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("at most 100000000 are drawn"));
}

class AzureTraceLimits : public ::testing::Test {
 protected:
  void SetUp() override {
    write("flav_map.txt", "1,0.75 a\n2,3.5 g\n");
    write("v1.interval_map.txt", "0 0\n300 1\n");
    write("v1.dev.txt", "1800000 a,|,g,g,|\n1800300 g,|\n");
    write("v1.dev.c2100000.txt", "1800000 U0,|,U1,C1,|\n1800300 U1,|\n");
  }
  void write(const std::string& file, const std::string& text) const { std::ofstream(folder_ / file) << text; }
  [[nodiscard]] std::string error_of(AzureOptions options = {}) const {
    const auto trace = read_azure_trace(folder_.path(), options);
    return trace ? "none" : trace.error().message;
  }
  test::TemporaryFolder folder_;
};

TEST_F(AzureTraceLimits, LinesAreBounded) {
  EXPECT_EQ(error_of(), "none");
  for (const std::string file : {"flav_map.txt", "v1.interval_map.txt", "v1.dev.txt", "v1.dev.c2100000.txt"}) {
    SetUp();
    write(file, std::string((1 << 20) + 1, 'a'));
    EXPECT_THAT(error_of(), HasSubstr(file + ":1:1: 'aaa"));
    EXPECT_THAT(error_of(), HasSubstr("a line of at most 1048576 bytes"));
    std::filesystem::remove(folder_ / file);
    EXPECT_THAT(error_of(), HasSubstr("cannot read"));
    std::filesystem::create_directory(folder_ / file);
    EXPECT_THAT(error_of(), HasSubstr("cannot read")) << "a folder is no file";
    std::filesystem::remove(folder_ / file);
  }
}

TEST_F(AzureTraceLimits, TimesDoNotRunBackwards) {
  write("v1.dev.txt", "1800300 g,|\n1800000 a,|\n");
  write("v1.dev.c2100000.txt", "1800300 U0,|\n1800000 U1,|\n");
  EXPECT_THAT(error_of(),
              HasSubstr("v1.dev.txt:2:1: '1800000': expected a start time in seconds, of at least 1800300"));
}

TEST_F(AzureTraceLimits, IntervalsMayComeInAnyOrder) {
  write("v1.interval_map.txt", "300 1\n0 1\n0 0\n");
  EXPECT_EQ(error_of(), "none");
}

TEST_F(AzureTraceLimits, FlavoursHaveMemoryAndOneMeaning) {
  write("flav_map.txt", "1,1e-9 a\n2,3.5 g\n");
  const auto trace = read_azure_trace(folder_.path(), {});
  ASSERT_TRUE(trace) << trace.error().message;
  TraceChecker checker;
  for (const TraceEvent& event : trace->events) EXPECT_FALSE(checker.add(event));
  write("flav_map.txt", "1,0.75 a\n2,3.5 g\n4,7 a\n");
  EXPECT_THAT(error_of(), HasSubstr("flav_map.txt:3:5: 'a': expected a letter that no flavour before it has"));
}

TEST_F(AzureTraceLimits, MoreEventsThanMemoryHoldsAreRefused) {
  write("v1.dev.txt", "0 a,|\n4000000000 g,|\n");
  write("v1.dev.c2100000.txt", "0 C0,|\n4000000000 C1,|\n");
  AzureOptions options;
  options.population.reboots_per_day = 100'000;
  EXPECT_THAT(error_of(options), HasSubstr("at most 100000000 are drawn"));
}

}  // namespace
}  // namespace sluice
