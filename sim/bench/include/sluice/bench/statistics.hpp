// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace sluice::bench {

/// A median and where the true one lies with at least 93 % confidence, by order statistics: nothing is taken for
/// granted about the distribution. With less than five samples: the smallest and the largest.
struct Estimate {
  double median = 0.0;
  double low = 0.0;
  double high = 0.0;
};

/// Of at least one sample.
[[nodiscard]] Estimate estimate(std::vector<double> samples);
/// The value below which `share` of the samples lie. Of at least one sample.
[[nodiscard]] double quantile(std::vector<double> samples, double share);

/// How many times larger the samples of `one` are than those of `other`, pair by pair: the n-th of both were measured
/// in the same round. nullopt: the noise is larger than the difference, so that nobody knows which is larger, or a
/// sample of `other` is 0.
[[nodiscard]] std::optional<Estimate> ratio(std::span<const double> one, std::span<const double> other);
/// The same of samples that are no pairs: it is known only where the two intervals do not meet.
[[nodiscard]] std::optional<Estimate> unpaired_ratio(const std::vector<double>& one, const std::vector<double>& other);

/// y = intercept + slope * x, the line whose largest errors are smallest relative to y (weights 1 / y^2).
struct Line {
  double intercept = 0.0;
  double slope = 0.0;
  [[nodiscard]] double at(double x) const { return intercept + slope * x; }
};

/// By least squares over at least two different x; all y above 0.
[[nodiscard]] Line fit_line(std::span<const double> x, std::span<const double> y);

}  // namespace sluice::bench
