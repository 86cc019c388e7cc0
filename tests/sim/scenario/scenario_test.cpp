// SPDX-License-Identifier: Apache-2.0
// What sluice-sim makes of a scenario, and what it says of one that makes no sense.
#include "sluice/scenario/scenario.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/scenario/player.hpp"

namespace sluice::inline device {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

PlayResult play_text(const std::string& text) { return play(parse_scenario(text, "test.toml"), "test.toml"); }

std::string error_of(const std::string& text) {
  try {
    static_cast<void>(parse_scenario(text, "test.toml"));
  } catch (const ScenarioError& error) {
    return error.what();
  }
  return "";
}

TEST(Scenario, PlaysItsStepsAndCountsThem) {
  const PlayResult result = play_text(R"(
    steps = [
      { do = "fill", slot = 1, length = "64KiB", pattern = "0x1122334455667788" },
      { do = "verify", slot = 2, length = "64KiB", pattern = "0x1122334455667788" },
      { do = "fence", slot = 3 },
      { do = "fill_verify", queue = 1, slot = 1, generation = 7, extents = [["128KiB", 100], ["256KiB", 8192]] },
      { do = "wait", slot = 3, outcome = "done" },
      { do = "wait", queue = 1, slot = 1, generation = 7, outcome = "done", bytes = 8292 },
    ])");
  EXPECT_THAT(result.problems, IsEmpty());
  ASSERT_EQ(result.jobs.size(), 4U);
  EXPECT_EQ(result.jobs[1].completion->bytes, 65'536U);
  EXPECT_GT(result.jobs[3].ended, result.jobs[3].submitted);
  const auto counter = [&](const std::string& name) {
    for (const PlayedCounter& one : result.counters) {
      if (one.name == name) return one.value;
    }
    ADD_FAILURE() << name;
    return std::uint64_t{0};
  };
  EXPECT_EQ(counter("queue 0: jobs ended"), 3U);
  EXPECT_EQ(counter("queue 1: jobs ended"), 1U);
  EXPECT_EQ(counter("engine: beats of data read"), 1024U + 2 + 128);
}

TEST(Scenario, CancelsDrainsAbortsAndResets) {
  const PlayResult result = play_text(R"(
    steps = [
      { do = "fill", slot = 1, length = "256KiB" },
      { do = "run", cycles = 500 },
      { do = "cancel", slot = 1 },
      { do = "wait", slot = 1, outcome = "cancelled" },
      { do = "fill", slot = 2, length = "4KiB" },
      { do = "run", cycles = 60 },
      { do = "drain" },
      { do = "wait", slot = 2, outcome = "done" },
      { do = "fill", queue = 1, slot = 1, length = "512KiB" },
      { do = "run", cycles = 300 },
      { do = "abort", queue = 1 },
      { do = "wait", queue = 1, slot = 1, outcome = "cancelled" },
      { do = "reset" },
      { do = "fill", slot = 3, length = 64 },
      { do = "wait", slot = 3, outcome = "done", bytes = 64 },
    ])");
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_GT(result.jobs[0].completion->bytes, 0U);
  EXPECT_LT(result.jobs[0].completion->bytes, 256U << 10);
}

TEST(Scenario, InjectsFaultsAndTakesThemBack) {
  const PlayResult result = play_text(R"(
    watchdog = 2000
    steps = [
      { do = "fault", kind = "slave_error", offset = 8192, length = 64 },
      { do = "fill", slot = 1, length = "64KiB" },
      { do = "wait", slot = 1, outcome = "failed", cause = "slave_error", bytes = 8192 },
      { do = "fault", kind = "none" },
      { do = "fault", kind = "decode_error", offset = 0, length = 1 },
      { do = "fill", slot = 2, length = 128 },
      { do = "wait", slot = 2, cause = "decode_error", bytes = 0 },
      { do = "fault", kind = "none" },
      { do = "fill", slot = 3, length = "64KiB" },
      { do = "wait", slot = 3, outcome = "done" },
      { do = "fault", kind = "silent", queue = 0 },
      { do = "fill", slot = 4, length = "64KiB" },
      { do = "wait", slot = 4, outcome = "failed", cause = "timeout" },
    ])");
  EXPECT_THAT(result.problems, IsEmpty());
}

/// What was issued before the watchdog fired may be written after it (docs/RING.md): with the pattern, and there alone.
TEST(Scenario, AllowsLateWritesOfWhatTheWatchdogHasGivenUp) {
  const std::string text = R"(
    memory = "256KiB"
    watchdog = 40
    steps = [
      { do = "fill", slot = 1, length = "32KiB" },
      { do = "fill", slot = 2, offset = "64KiB", length = "32KiB", pattern = 7 },
      { do = "wait", slot = 1, outcome = "failed", cause = "timeout" },
      { do = "wait", slot = 2, outcome = "failed", cause = "timeout" },
      { do = "run", cycles = 2000 },
    ]
    [bus]
    write_latency = [150, 250])";
  const PlayResult result = play_text(text);
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_EQ(result.jobs[0].completion->bytes, 0U);
}

TEST(Scenario, WaitsForRoomInTheRing) {
  std::string steps;
  for (int slot = 0; slot < 40; ++slot) {
    steps += "{ do = \"fill\", slot = " + std::to_string(slot) +
             ", length = 64, doorbell = " + (slot % 4 == 3 ? "true" : "false") + " },";
  }
  const PlayResult result = play_text("ring_log2 = 2\nsteps = [" + steps + "{ do = \"wait\", slot = 39 }]");
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_EQ(result.jobs.back().completion->bytes, 64U);
}

TEST(Scenario, SaysWhenThereIsNoRoomForItsJobsOrLists) {
  std::string steps;
  for (int slot = 0; slot < 3; ++slot) {
    steps += "{ do = \"noop\", slot = " + std::to_string(slot) + ", doorbell = false },";
  }
  const PlayResult full = play_text("ring_log2 = 1\nsteps = [" + steps + "]");
  ASSERT_EQ(full.problems.size(), 1U);
  EXPECT_THAT(full.problems[0], HasSubstr("2 jobs of queue 0 do not end: there is no room for one more"));

  std::string extents;
  for (int extent = 0; extent < 4097; ++extent) extents += "[0, 1],";
  try {
    play_text("steps = [{ do = \"fill\", extents = [" + extents + "] }]");
    FAIL() << "it was played";
  } catch (const ScenarioError& error) {
    EXPECT_THAT(error.what(), HasSubstr("test.toml:1: all lists together have more than 4096 extents"));
  }
}

TEST(Scenario, ReadsAndWritesRegisters) {
  EXPECT_THAT(play_text(R"(steps = [
      { do = "read", address = 0x10, value = 0x534C4345 },
      { do = "write", address = 0x24, value = 5000, accepted = true },
      { do = "write", address = 0x10, value = 1, accepted = false },
    ])")
                  .problems,
              IsEmpty());
}

TEST(Scenario, SaysWhatIsNotAsExpected) {
  const PlayResult result = play_text(R"(steps = [
      { do = "fill", slot = 1, length = "4KiB" },
      { do = "wait", slot = 1, outcome = "cancelled", cause = "timeout", bytes = 1 },
      { do = "wait", slot = 2 },
      { do = "read", address = 0x10, value = 1 },
      { do = "write", address = 0x10, value = 1, accepted = true },
    ])");
  ASSERT_EQ(result.problems.size(), 6U);
  EXPECT_THAT(result.problems[0], HasSubstr("test.toml:3"));
  EXPECT_THAT(result.problems[0], HasSubstr("outcome is done, expected cancelled"));
  EXPECT_THAT(result.problems[2], HasSubstr("bytes is 4096, expected 1"));
  EXPECT_THAT(result.problems[3], HasSubstr("no job in slot 2"));
  EXPECT_THAT(result.problems[4], HasSubstr("0x010 holds 0x534c4345, expected 0x1"));
  EXPECT_THAT(result.problems[5], HasSubstr("0x010 was refused"));
}

TEST(Scenario, SeesAnEngineThatWritesAfterItsCompletion) {
  Scenario scenario = parse_scenario(R"(
    build = "512-no-quiescence"
    steps = [
      { do = "fill", slot = 1, length = "256KiB" },
      { do = "run", cycles = 300 },
      { do = "cancel", slot = 1 },
      { do = "wait", slot = 1 },
      { do = "run", cycles = 2000 },
    ]
    [bus]
    write_latency = [200, 300])",
                                     "test.toml");
  EXPECT_THAT(play(scenario, "test.toml").problems, Not(IsEmpty()));
  // Without the assertions only the memory tells.
  scenario.options.assertions = false;
  const PlayResult result = play(scenario, "test.toml");
  ASSERT_THAT(result.problems, Not(IsEmpty()));
  EXPECT_THAT(result.problems.back(), HasSubstr("belongs to no job under way"));
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int time = 0; time < times; ++time) all += text;
  return all;
}

struct BadScenario {
  std::string name, text, message;
};
class ScenarioThatMakesNoSense : public ::testing::TestWithParam<BadScenario> {};

TEST_P(ScenarioThatMakesNoSense, IsNamed) { EXPECT_THAT(error_of(GetParam().text), HasSubstr(GetParam().message)); }

INSTANTIATE_TEST_SUITE_P(
    Texts, ScenarioThatMakesNoSense,
    ::testing::Values(
        BadScenario{"NoToml", "steps = [", "test.toml:1"},  //
        BadScenario{"NoSteps", "seed = 1", "'steps' is missing"},
        BadScenario{"Key", "sed = 1\nsteps = [{ do = \"reset\" }]", "'sed' is not known: give build, bus"},
        BadScenario{"KeyOfAStep", "steps = [{ do = \"run\", cycle = 1 }]", "test.toml:1: step 1: 'cycles' is missing"},
        BadScenario{"Action", "steps = [{ do = \"fly\" }]", "'do' is 'fly', which is not known"},
        BadScenario{"Build", "build = \"7\"\nsteps = [{ do = \"reset\" }]",
                    "'build' is '7', which is not known: give one of 64"},
        BadScenario{"Queue", "steps = [{ do = \"drain\", queue = 4 }]", "'queue = 4' is too large: at most 3"},
        BadScenario{"Negative", "steps = [{ do = \"run\", cycles = -1 }]", "'cycles = -1' is negative"},
        BadScenario{"Size", "steps = [{ do = \"fill\", length = \"4 apples\" }]",
                    "'length' is '4 apples', which is no number"},
        BadScenario{"Outcome", "steps = [{ do = \"wait\", outcome = \"fine\" }]",
                    "give one of done, cancelled, failed"},
        BadScenario{"Ready", "steps = [{ do = \"reset\" }]\n[bus]\nready = 0.0",
                    "'ready' must be above 0 and at most 1"},
        BadScenario{"Range", "steps = [{ do = \"reset\" }]\n[bus]\nread_latency = [9, 1]",
                    "the least is above the most"},
        BadScenario{"Ring", "ring_log2 = 9\nsteps = [{ do = \"reset\" }]", "build 512 takes 1 to 8"},
        BadScenario{"Silent", "build = \"64\"\nsteps = [{ do = \"fault\", kind = \"silent\" }]", "one AXI ID"},
        BadScenario{"FaultPlace", "steps = [{ do = \"fault\", kind = \"slave_error\", offset = \"1MiB\", length = 1 }]",
                    "'offset = 1048576' is too large"},
        BadScenario{"Memory", "memory = \"1GiB\"\nsteps = [{ do = \"reset\" }]", "'memory = 1073741824' is too large"},
        BadScenario{"Length", "steps = [{ do = \"fill\", length = \"0xFFFFFFFFFFFFFFFF\" }]", "is too large: at most"},
        BadScenario{"Extent", "steps = [{ do = \"fill\", extents = [[\"0x8000000000000000\", 1], [0, 1]] }]",
                    "is too large: at most"},
        BadScenario{"Wait", "steps = [{ do = \"wait\", max_cycles = 1_000_000_000_000 }]", "is too large: at most"},
        BadScenario{"Text", std::string((1 << 20) + 1, '#'), "a scenario has at most 1048576"},
        BadScenario{"DottedKeys", "steps = 1\na" + repeated(".a", 50'000) + " = 1",
                    "test.toml:2: a key or text has more"},
        BadScenario{"QuotedKeys", "\"a\"" + repeated(".\"a\"", 50'000) + " = 1", "test.toml:1: a key or text has more"},
        BadScenario{"DottedTables", "[a" + repeated(".a", 50'000) + "]", "test.toml:1: a key or text has more"},
        BadScenario{"DeepArrays", "steps = " + repeated("[", 50'000), "test.toml:1"},
        BadScenario{"DeepTables", "steps = " + repeated("{a=", 50'000), "test.toml:1"},
        BadScenario{"LetterInAKey", "seed = 1\na\xCB\xA4 = 1",
                    "test.toml:2: a control character, or a letter beyond ASCII"},
        BadScenario{"NamelessTable", "seed = 1\n[{do = 1}\n", "test.toml:2: a bracket, comma or letter that cannot"},
        BadScenario{"ClosedBeforeAValue", "seed = 1\n\nsteps = [}\n\n", "test.toml:3: a bracket, comma or letter"},
        BadScenario{"EscapesInATitle", "title = \"\\u001b[2J\"\nsteps = [{ do = \"reset\" }]",
                    "'title' is '\\x1B[2J': give at most 200 letters of ASCII"},
        BadScenario{"EscapesInAKey", "\"\\u001b[2J\" = 1\nsteps = [{ do = \"reset\" }]", "'\\x1B[2J' is not known"},
        BadScenario{"LongWord", "steps = [{ do = \"" + repeated("fly", 10'000) + "\" }]", "... (30000 bytes)"},
        BadScenario{"NumberWithASign", "seed = \"-1\"\nsteps = [{ do = \"reset\" }]",
                    "'seed' is '-1', which is no number"},
        BadScenario{"NumberThatWraps", "seed = \"16777216TiB\"\nsteps = [{ do = \"reset\" }]", "which is no number"},
        BadScenario{"Steps", "steps = [" + repeated("{do=\"reset\"},", 10'001) + "]", "has 10001 steps"},
        BadScenario{"Address", "steps = [{ do = \"read\", address = 2 }]", "not a multiple of 4"}),
    [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace sluice::inline device
