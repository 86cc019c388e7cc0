// SPDX-License-Identifier: Apache-2.0
// Figures in clock cycles are exact: none may fall behind its goal.
#include <gtest/gtest.h>

#include "support/rtl_figures.hpp"

namespace sluice::test {
namespace {

void expect_goals(const std::string& build) {
  for (const RtlFigure& figure : measure_rtl(build)) {
    EXPECT_TRUE(figure.reached()) << figure.name << " is " << figure.value << ", the goal " << figure.goal;
  }
}

TEST(RtlPerformance, ReachesItsGoalsWithTwoMasters) { expect_goals("512"); }
TEST(RtlPerformance, ReachesItsGoalsWithOneMaster) { expect_goals("512-shared"); }

}  // namespace
}  // namespace sluice::test
