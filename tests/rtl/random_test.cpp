// SPDX-License-Identifier: Apache-2.0
// Random runs of every build, and that together they meet every case there is. SLUICE_RTL_SEEDS sets how many runs each
// build gets, SLUICE_RTL_FIRST_SEED where they begin, SLUICE_RTL_BUILD which build alone.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "random_story.hpp"

namespace sluice::test {
namespace {

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(RtlRandom, EveryRunKeepsItsPromisesAndEveryCaseIsMet) {
  const std::uint64_t first = number_from_environment("SLUICE_RTL_FIRST_SEED", 1);
  const std::uint64_t seeds = number_from_environment("SLUICE_RTL_SEEDS", 90);
  const char* const only = std::getenv("SLUICE_RTL_BUILD");
  const bool whole = std::getenv("SLUICE_RTL_SEEDS") == nullptr && only == nullptr && first == 1;
  std::set<CoverPoint> covered;
  for (const RtlBuild& build : rtl_builds()) {
    if (build.name == "512-no-quiescence" || (only != nullptr && build.name != only)) continue;
    for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
      RandomStory story(build.name, seed, 60);
      std::string failure;
      try {
        failure = story.run();
      } catch (const std::exception& error) {
        failure = error.what();
      }
      ASSERT_EQ(failure, "") << "build " << build.name << ", seed " << seed;
      covered.insert(story.covered().begin(), story.covered().end());
    }
  }
  const std::set<CoverPoint> wanted = all_cover_points();
  std::size_t met = 0;
  for (const CoverPoint& point : wanted) {
    met += covered.count(point);
    // Fewer runs, or others, need not meet all.
    if (whole) {
      EXPECT_TRUE(covered.count(point) == 1) << "not met: " << to_string(point);
    }
  }
  RecordProperty("cover_points", fmt::format("{} of {}", met, wanted.size()));
  fmt::print("functional coverage: {} of {} points\n", met, wanted.size());
}

}  // namespace
}  // namespace sluice::test
