// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/compare.hpp"

#include <fmt/format.h>

#include "sluice/base/printable.hpp"
#include "sluice/bench/statistics.hpp"

namespace sluice::bench {
namespace {

constexpr std::size_t kFewest = 3;  // samples

bool noise_is_known(const Figure& before, const Figure& after) {
  const bool exact = before.exact && after.exact;
  return exact || (before.samples.size() >= kFewest && after.samples.size() >= kFewest);
}

}  // namespace

Comparison compare(const Results& before, const Results& after) {
  Comparison result;
  for (const Chart& chart : after.charts) {
    const Chart* const old_chart = before.find(chart.id);
    std::string lines;
    for (const Figure& figure : chart.figures) {
      const Figure* const old = old_chart == nullptr ? nullptr : old_chart->find(figure.series, figure.at);
      if (old == nullptr) {
        ++result.only_in_one;
        continue;
      }
      if (!noise_is_known(*old, figure)) {
        ++result.unknown;
        continue;
      }
      const auto times = unpaired_ratio(figure.samples, old->samples);
      if (!times) {
        ++result.same;
        continue;
      }
      const bool better = (times->median > 1.0) == chart.more_is_better;
      ++(better ? result.better : result.worse);
      lines += fmt::format("  {:<14} {:<34} {:>9} -> {:>9}  times {} ({} to {})  {}\n", printable(figure.at),
                           printable(figure.series), digits(estimate(old->samples).median),
                           digits(estimate(figure.samples).median), digits(times->median), digits(times->low),
                           digits(times->high), better ? "better" : "worse");
    }
    if (!lines.empty())
      result.text += fmt::format("{} ({})\n{}", printable(chart.title, 200), printable(chart.unit), lines);
  }
  for (const Chart& chart : before.charts) {
    const Chart* const new_chart = after.find(chart.id);
    for (const Figure& figure : chart.figures) {
      if (new_chart == nullptr || new_chart->find(figure.series, figure.at) == nullptr) ++result.only_in_one;
    }
  }
  const auto fact = [](const Results& results, const std::string& name) {
    for (const Fact& each : results.facts) {
      if (each.name == name) return printable(each.value, 200);
    }
    return std::string("unknown");
  };
  for (const char* name : {"CPU", "kernel"}) {
    if (fact(before, name) == fact(after, name)) continue;
    result.text += fmt::format("the {} differs: {}; {}\n", name, fact(before, name), fact(after, name));
  }
  result.text += fmt::format(
      "{} figures are better, {} worse, {} did not move beyond noise, {} have too few samples to tell, {} are in one "
      "file only\n",
      result.better, result.worse, result.same, result.unknown, result.only_in_one);
  return result;
}

}  // namespace sluice::bench
