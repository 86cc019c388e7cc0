// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/statistics.hpp"

#include <algorithm>
#include <cmath>

namespace sluice::bench {
namespace {

constexpr double kConfidence = 0.93;
constexpr std::size_t kFewSamples = 5;

/// How many samples to leave out on each side of the interval: the median lies below the k-th smallest of n with the
/// probability that a fair coin shows less than k heads.
std::size_t left_out(std::size_t n) {
  if (n < kFewSamples) return 0;
  double probability = std::pow(0.5, static_cast<double>(n));  // of no heads
  double below = probability;
  std::size_t out = 0;
  while (out + 1 < n / 2) {
    probability *= static_cast<double>(n - out) / static_cast<double>(out + 1);
    if (1.0 - 2.0 * (below + probability) < kConfidence) break;
    below += probability;
    ++out;
  }
  return out;
}

}  // namespace

double quantile(std::vector<double> samples, double share) {
  const auto index = static_cast<std::size_t>(std::lround(share * static_cast<double>(samples.size() - 1)));
  const auto place = samples.begin() + static_cast<std::ptrdiff_t>(index);
  std::nth_element(samples.begin(), place, samples.end());
  return *place;
}

Estimate estimate(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const std::size_t n = samples.size();
  const std::size_t out = left_out(n);
  return {(samples[(n - 1) / 2] + samples[n / 2]) / 2.0, samples[out], samples[n - 1 - out]};
}

std::optional<Estimate> ratio(std::span<const double> one, std::span<const double> other) {
  std::vector<double> ratios(std::min(one.size(), other.size()));
  if (ratios.empty()) return std::nullopt;
  for (std::size_t pair = 0; pair < ratios.size(); ++pair) {
    if (other[pair] == 0.0) return std::nullopt;
    ratios[pair] = one[pair] / other[pair];
  }
  const Estimate result = estimate(ratios);
  if (result.low <= 1.0 && result.high >= 1.0) return std::nullopt;
  return result;
}

std::optional<Estimate> unpaired_ratio(const std::vector<double>& one, const std::vector<double>& other) {
  if (one.empty() || other.empty()) return std::nullopt;
  const Estimate above = estimate(one);
  const Estimate below = estimate(other);
  if (below.low <= 0.0 || (above.low <= below.high && below.low <= above.high)) return std::nullopt;
  return Estimate{above.median / below.median, above.low / below.high, above.high / below.low};
}

Line fit_line(std::span<const double> x, std::span<const double> y) {
  double w = 0.0, wx = 0.0, wy = 0.0, wxx = 0.0, wxy = 0.0;
  for (std::size_t index = 0; index < x.size(); ++index) {
    const double weight = 1.0 / (y[index] * y[index]);
    w += weight;
    wx += weight * x[index];
    wy += weight * y[index];
    wxx += weight * x[index] * x[index];
    wxy += weight * x[index] * y[index];
  }
  Line line;
  line.slope = (w * wxy - wx * wy) / (w * wxx - wx * wx);
  line.intercept = (wy - line.slope * wx) / w;
  return line;
}

}  // namespace sluice::bench
