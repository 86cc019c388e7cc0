// SPDX-License-Identifier: Apache-2.0
// The figures that `sluice bench --json` writes and `sluice bench compare` reads.
#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include "fuzz/fuzz.hpp"
#include "sluice/bench/compare.hpp"
#include "sluice/bench/results.hpp"

namespace {

/// Boost.JSON's numbers may be off by some last bits.
bool nearly(double one, double other) { return std::abs(one - other) <= 1e-12 * std::abs(one); }

void check_same(const sluice::bench::Results& one, const sluice::bench::Results& other) {
  using sluice::enforce;
  constexpr const char* kSame = "what is written is what was read";
  enforce(one.charts.size() == other.charts.size() && one.facts.size() == other.facts.size() &&
              one.answers == other.answers && one.advice.size() == other.advice.size(),
          kSame);
  for (std::size_t chart = 0; chart < one.charts.size(); ++chart) {
    enforce(one.charts[chart].id == other.charts[chart].id && one.charts[chart].notes == other.charts[chart].notes &&
                one.charts[chart].figures.size() == other.charts[chart].figures.size(),
            kSame);
    for (const sluice::bench::Figure& figure : one.charts[chart].figures) {
      const sluice::bench::Figure* const found = other.charts[chart].find(figure.series, figure.at);
      enforce(found != nullptr && found->exact == figure.exact && nearly(found->x, figure.x) &&
                  std::equal(figure.samples.begin(), figure.samples.end(), found->samples.begin(), found->samples.end(),
                             nearly),
              kSame);
    }
  }
}

}  // namespace

void sluice::fuzz::one(std::span<const std::byte> input) {
  const auto results = bench::results_from_json(std::string(as_text(input)), "r");
  if (!results) return check_message(results.error().message);
  const std::string text = boost::json::serialize(bench::to_json(*results));
  const auto again = bench::results_from_json(text, "r");
  enforce(again.has_value(), "what is written can be read");
  check_same(*results, *again);
  const bench::Comparison same = bench::compare(*results, *again);
  enforce(same.only_in_one == 0, "a run has the figures of itself");
  bench::Results other = *again;
  for (bench::Chart& chart : other.charts) {
    for (bench::Figure& figure : chart.figures) {
      for (double& sample : figure.samples) sample *= 1000.0;
    }
  }
  other.facts.clear();
  for (const char letter : bench::compare(*results, other).text) {
    enforce(letter == '\n' || (letter >= ' ' && letter <= '~'), "what is printed can be printed");
  }
  static_cast<void>(bench::to_text(*results));
}
