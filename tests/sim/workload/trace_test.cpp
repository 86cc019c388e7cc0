// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/trace.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "sluice/workload/azure_trace.hpp"
#include "sluice/workload/trace_generator.hpp"
#include "support/temporary_folder.hpp"

namespace sluice {
namespace {

const std::string kHeader = "time_s,event,vm,customer,group,pool,bytes,inside\n";

Result<Trace> read(const std::string& text) {
  std::istringstream in(text);
  return read_csv(in, "t.csv");
}

std::string error_of(const std::string& lines) {
  const auto trace = read(kHeader + lines);
  return trace ? "none" : trace.error().message;
}

TEST(TraceCsv, ReadsEveryKindOfEvent) {
  const auto trace = read(kHeader +
                          "0,create_group,,1,2,,,\n"
                          "0,create_group,,1,3,,,2\n"
                          "0,create_pool,,1,,4,65536,\r\n"
                          "# a remark\n"
                          "\n"
                          "0.5,create,1,1,3,4,8192,\n"
                          "1.25,balloon_down,1,,,,4096,\n"
                          "2.001,balloon_up,1,,,,4096,\n"
                          "3,reboot,1,,,,8192,\n"
                          "4,change_group,1,,,,,\n"
                          "5,terminate,1,,,,,\n"
                          "5,destroy_pool,,,,4,,\n");
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_EQ(trace->events.size(), 10U);
  EXPECT_EQ(trace->events[1].group, TrustGroupId(3));
  EXPECT_EQ(trace->events[1].inside, TrustGroupId(2));
  EXPECT_EQ(trace->events[3].time_ms, 500);
  EXPECT_EQ(trace->events[3].group, TrustGroupId(3));
  EXPECT_EQ(trace->events[3].pool, DedicatedPoolId(4));
  EXPECT_EQ(trace->events[5].time_ms, 2001);
  EXPECT_EQ(trace->events[5].kind, TraceEventKind::BalloonUp);
}

TEST(TraceCsv, SaysWhereWhatAndWhatWasExpected) {
  const std::string create = "0,create,1,1,,,8192,\n";
  const struct {
    std::string lines;
    std::string where_and_value;
    std::string expected;
  } cases[] = {
      {"abc,create,1,1,,,8192,\n", "t.csv:2:1: 'abc'", "seconds"},
      {"1.2345,create,1,1,,,8192,\n", "t.csv:2:1: '1.2345'", "three decimals"},
      {"-1,create,1,1,,,8192,\n", "t.csv:2:1: '-1'", "seconds"},
      {"0,explode,1,1,,,8192,\n", "t.csv:2:3: 'explode'", "terminate"},
      {"0,create,x,1,,,8192,\n", "t.csv:2:10: 'x'", "a whole number"},
      {"0,create,,1,,,8192,\n", "t.csv:2:10: ''", "a VM id from 1"},
      {"0,create,1,,,,8192,\n", "t.csv:2:12: ''", "a customer id from 1"},
      {"0,create,1,1,,,0,\n", "t.csv:2:16: '0'", "a size above 0"},
      {"0,create,1,1,,,99999999999999999999,\n", "t.csv:2:16: '99999999999999999999'", "a whole number"},
      {"0,create,1,1,,,9999999999999999,\n", "t.csv:2:16: '9999999999999999'", "at most 2^50"},
      {"4000000001,create,1,1,,,8192,\n", "t.csv:2:1: '4000000001'", "seconds up to 4000000000"},
      {"0,create,1,1,9223372036854775808,,4096,\n", "t.csv:2:14: '9223372036854775808'", "below 2^63"},
      {"0,create,18446744073709551615,1,,,4096,\n", "t.csv:2:10:", "below 2^63"},
      {"0,create,1,1,,,1125899906842624,\n1,balloon_up,1,,,,1,\n", "t.csv:3:19: '1'", "at most 1125899906842624"},
      {"0,\x1b[2Jcreate,1,1,,,8192,\n", "t.csv:2:3: '\\x1B[2Jcreate'", "terminate"},
      {"0,create," + std::string(5'000'000, 'a') + ",1,,,4096,\n", "t.csv:2:1: '0,create,aaa", "at most 4094 bytes"},
      {"0,create," + std::string(3000, 'a') + ",1,,,4096,\n", "'... (3000 bytes)", "a whole number"},
      {"0,create,1,1,,\n", "t.csv:2:1: '0,create,1,1,,'", "8 fields"},
      {"0,create,1,1,,,1,1,1\n", "t.csv:2:1:", "8 fields"},
      {create + "0,create,1,1,,,8192,\n", "t.csv:3:10: '1'", "never used again"},
      {create + "0,terminate,2,,,,,\n", "t.csv:3:13: '2'", "a VM that runs"},
      {create + "1,terminate,1,,,,,\n1,reboot,1,,,,4096,\n", "t.csv:4:10: '1'", "a VM that runs"},
      {create + "1,balloon_down,1,,,,8192,\n", "t.csv:3:21: '8192'", "below the VM's 8192 bytes"},
      {"5,create,1,1,,,8192,\n4,terminate,1,,,,,\n", "t.csv:3:1: '4'", "at least 5.000"},
      {"0,create,1,1,7,,8192,\n0,create,2,2,7,,8192,\n", "t.csv:3:14: '7'", "customer 1's"},
      {"0,create_group,,1,,,,\n", "t.csv:2:19: ''", "a trust group id from 1"},
      {"0,create_group,,,3,,,\n", "t.csv:2:17: ''", "a customer id from 1"},
      {"0,create_group,,1,3,,,\n0,create_group,,1,3,,,\n", "t.csv:3:19: '3'", "never used again"},
      {"0,create_group,,1,3,,,3\n", "t.csv:2:23: '3'", "a trust group that exists"},
      {"0,create_group,,1,3,,,\n0,create_group,,2,4,,,3\n", "t.csv:3:23: '3'", "customer 1's"},
      {"0,create_group,,1,3,,,\n0,create_group,,1,4,,,3\n0,create_group,,1,5,,,4\n", "t.csv:4:23: '4'",
       "does not lie inside another"},
      {"0,create,1,1,,9,8192,\n", "t.csv:2:15: '9'", "a pool that exists"},
      {"0,create_pool,,1,,9,4096,\n0,create,1,2,,9,8192,\n", "t.csv:3:15: '9'", "customer 1's"},
      {"0,create_pool,,1,,9,4096,\n0,create,1,1,,9,8192,\n0,destroy_pool,,,,9,,\n", "t.csv:4:19: '9'", "without VMs"},
  };
  for (const auto& each : cases) {
    const std::string message = error_of(each.lines);
    EXPECT_NE(message.find(each.where_and_value), std::string::npos) << message;
    EXPECT_NE(message.find(each.expected), std::string::npos) << message;
    EXPECT_NE(message.find("nothing was run"), std::string::npos) << message;
    EXPECT_LT(message.size(), 400U);
  }
}

TEST(TraceCsv, RefusesAMissingHeaderAndAnEmptyTrace) {
  EXPECT_NE(read("0,create,1,1,,,8192,\n").error().message.find("t.csv:1:1"), std::string::npos);
  EXPECT_FALSE(read(""));
  EXPECT_FALSE(read(kHeader));
}

TEST(TraceCsv, WritesWhatItReads) {
  const auto generated = generate_trace({.vms = 200});
  ASSERT_TRUE(generated);
  std::ostringstream out;
  write_csv(*generated, out);
  const auto again = read(out.str());
  ASSERT_TRUE(again) << again.error().message;
  std::ostringstream twice;
  write_csv(*again, twice);
  EXPECT_EQ(out.str(), twice.str());
  const auto inside = [](const TraceEvent& event) { return event.inside.is_set(); };
  EXPECT_GT(std::count_if(generated->events.begin(), generated->events.end(), inside), 0);
  EXPECT_TRUE(std::equal(generated->events.begin(), generated->events.end(), again->events.begin(),
                         [](const auto& one, const auto& other) { return one.inside == other.inside; }));
}

TEST(TraceChecker, AddsUpWhatIsNeededAtOnce) {
  TraceChecker checker(2);
  const auto trace = read(kHeader +
                          "0,create_pool,,1,,4,81920,\n"
                          "1,create,1,1,,4,16384,\n"
                          "2,balloon_down,1,,,,8192,\n"
                          "3,create,2,1,,,8193,\n"
                          "4,terminate,1,,,,,\n");
  ASSERT_TRUE(trace) << trace.error().message;
  for (const TraceEvent& event : trace->events) EXPECT_FALSE(checker.add(event));
  // 40960 for the pool, 4096 for VM 1 after the balloon, 8192 (rounded up to pages) for VM 2; at 1 s 40960 + 8192.
  EXPECT_EQ(checker.peak(), ByteCount(40'960 + 4096 + 8192));
  EXPECT_EQ(checker.least(), ByteCount(40'960 + 8192)) << "VM 1 finds room in its pool";
  EXPECT_EQ(checker.vm_count(), 2U);
}

TEST(TraceChecker, CountsWhatAVmHasFromItsPoolOnce) {
  TraceChecker checker;
  const auto trace = read(kHeader +
                          "0,create_pool,,1,,4,81920,\n"
                          "1,create,1,1,,4,61440,\n"
                          "2,create,2,1,,4,40960,\n"  // 20480 from the pool, as much from elsewhere
                          "3,terminate,1,,,,,\n"      // what it had is the pool's again
                          "4,create,3,1,,,4096,\n");
  ASSERT_TRUE(trace) << trace.error().message;
  std::vector<std::uint64_t> least;
  for (const TraceEvent& event : trace->events) {
    EXPECT_FALSE(checker.add(event));
    least.push_back(checker.least().value());
  }
  EXPECT_EQ(least, (std::vector<std::uint64_t>{81'920, 81'920, 102'400, 102'400, 106'496}));
}

TEST(TraceChecker, RoundsToThePagesOfThePool) {
  TraceChecker checker(1, ByteCount(2 << 20));
  const auto trace = read(kHeader + "0,create,1,1,,,33554432,\n1,balloon_up,1,,,,4096,\n");
  for (const TraceEvent& event : trace->events) EXPECT_FALSE(checker.add(event));
  EXPECT_EQ(checker.peak(), ByteCount(34 << 20));
  EXPECT_EQ(scaled(ByteCount(1ULL << 50), 1, ByteCount(1 << 30)), ByteCount(1ULL << 50));
}

TEST(TraceGenerator, IsTheSameForTheSameSeedAndHoldsEveryKindOfEvent) {
  const auto first = generate_trace({});
  const auto second = generate_trace({});
  GeneratorOptions other;
  other.population.seed = 2;
  const auto third = generate_trace(other);
  ASSERT_TRUE(first && second && third);
  const auto text = [](const Trace& trace) {
    std::ostringstream out;
    write_csv(trace, out);
    return out.str();
  };
  EXPECT_EQ(text(*first), text(*second));
  EXPECT_NE(text(*first), text(*third));
  std::map<TraceEventKind, int> kinds;
  for (const TraceEvent& event : first->events) ++kinds[event.kind];
  EXPECT_EQ(kinds.size(), 9U);
  EXPECT_EQ(kinds[TraceEventKind::Create], 300);
}

TEST(TraceGenerator, RefusesNothingToDo) {
  EXPECT_FALSE(generate_trace({.vms = 0}));
  EXPECT_FALSE(generate_trace({.hours = 0.0}));
}

class AzureTrace : public ::testing::Test {
 protected:
  void SetUp() override {
    write("flav_map.txt", "1,0.75 a\n2,3.5 g\n");
    write("v1.interval_map.txt", "0 0\n300 1\n600 2\n900 2\n");
    write("v1.dev.txt", "1800000 a,|,g,g,|\n1800300 g,|\n");
    write("v1.dev.c2100000.txt", "1800000 U0,|,U1,C2,|\n1800300 U2,|\n");
  }

  void write(const std::string& file, const std::string& text) const { std::ofstream(folder_ / file) << text; }
  [[nodiscard]] Result<Trace> read(AzureOptions options = {}) const {
    options.population.reboots_per_day = 0;
    options.population.balloons_per_day = 0;
    options.population.group_changes_per_day = 0;
    options.population.pool_share = 0;
    return read_azure_trace(folder_.path(), options);
  }

  test::TemporaryFolder folder_;
};

TEST_F(AzureTrace, ReadsArrivalsBatchesSizesAndLifetimes) {
  const auto trace = read();
  ASSERT_TRUE(trace) << trace.error().message;
  std::vector<TraceEvent> creates;
  std::map<std::uint64_t, std::int64_t> ends;
  for (const TraceEvent& event : trace->events) {
    if (event.kind == TraceEventKind::Create) creates.push_back(event);
    if (event.kind == TraceEventKind::Terminate) ends[event.vm.value()] = event.time_ms;
  }
  ASSERT_EQ(creates.size(), 4U);
  std::sort(creates.begin(), creates.end(), [](const auto& a, const auto& b) { return a.vm < b.vm; });
  EXPECT_EQ(creates[0].bytes, ByteCount(768ULL << 20));
  EXPECT_EQ(creates[1].bytes, ByteCount(3584ULL << 20));
  EXPECT_EQ(creates[1].customer, creates[2].customer) << "one batch, one customer";
  EXPECT_EQ(creates[1].time_ms, creates[2].time_ms);
  EXPECT_LT(creates[2].time_ms, 300'000);
  EXPECT_GE(creates[3].time_ms, 300'000);
  EXPECT_LT(creates[3].time_ms, 600'000);
  EXPECT_EQ(ends.count(3), 0U) << "C: it outlives the trace";
  ASSERT_EQ(ends.count(1), 1U);
  EXPECT_LT(ends[1] - creates[0].time_ms, 300'000) << "bin 0";
  EXPECT_NE(trace->taken.find("lifetime"), std::string::npos);
  EXPECT_NE(trace->drawn.find("customer of each batch"), std::string::npos);
}

TEST_F(AzureTrace, StopsAfterSoManyVms) {
  AzureOptions options;
  options.max_vms = 2;
  const auto trace = read(options);
  ASSERT_TRUE(trace);
  EXPECT_EQ(std::count_if(trace->events.begin(), trace->events.end(),
                          [](const TraceEvent& event) { return event.kind == TraceEventKind::Create; }),
            2);
}

TEST_F(AzureTrace, SaysWhereItIsBroken) {
  const auto error_about = [&](const std::string& file, const std::string& text) {
    SetUp();
    write(file, text);
    const auto trace = read();
    return trace ? std::string("none") : trace.error().message;
  };
  EXPECT_NE(error_about("v1.dev.txt", "1800000 a,|,z,g,|\n").find("v1.dev.txt:1:13: 'z'"), std::string::npos);
  EXPECT_NE(error_about("v1.dev.c2100000.txt", "1800000 U0,|,X1,C2,|\n").find("c2100000.txt:1:14: 'X1'"),
            std::string::npos);
  EXPECT_NE(error_about("v1.dev.c2100000.txt", "1800000 U0,|,U77,C2,|\n").find("'U77'"), std::string::npos);
  EXPECT_NE(error_about("v1.dev.c2100000.txt", "1800001 U0,|\n").find("the same in"), std::string::npos);
  EXPECT_NE(error_about("flav_map.txt", "1;0.75 a\n").find("flav_map.txt:1:1"), std::string::npos);
  EXPECT_NE(error_about("v1.interval_map.txt", "0 x\n").find("v1.interval_map.txt:1:1"), std::string::npos);
  SetUp();
  std::filesystem::remove(folder_ / "flav_map.txt");
  EXPECT_NE(read().error().message.find("flav_map.txt"), std::string::npos);
}

}  // namespace
}  // namespace sluice
