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
  std::map<std::uint32_t, RingFacts> rings;  // by the log2 of their entries
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
      RingFacts& met = rings[story.ring_log2()];
      met.starts.insert(story.rings().starts.begin(), story.rings().starts.end());
      met.submission_full |= story.rings().submission_full;
      met.completion_full |= story.rings().completion_full;
      met.one_doorbell_for_all |= story.rings().one_doorbell_for_all;
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
  for (std::uint32_t log2 = 1; whole && log2 <= kRingSizes; ++log2) {
    SCOPED_TRACE(fmt::format("rings of {} entries", 1U << log2));
    EXPECT_EQ(rings[log2].starts.size(), 2U << log2) << "not every place was a start";
    EXPECT_TRUE(rings[log2].submission_full);
    EXPECT_TRUE(rings[log2].completion_full);
    EXPECT_TRUE(rings[log2].one_doorbell_for_all);
  }
  RecordProperty("cover_points", fmt::format("{} of {}", met, wanted.size()));
  fmt::print("functional coverage: {} of {} points\n", met, wanted.size());
}

}  // namespace
}  // namespace sluice::test
