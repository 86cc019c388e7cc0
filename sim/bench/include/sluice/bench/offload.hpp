// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/bench/results.hpp"
#include "sluice/bench/statistics.hpp"

namespace sluice::bench {

/// How long one job takes: a latency, and a time for each byte.
struct OffloadModel {
  Line us;             ///< By bytes; of the medians.
  double worst = 0.0;  ///< Largest error at a measured length, relative to what was measured.
};

/// From what length on a job is worth an engine. The two models cross where
/// latency_engine + length / speed_engine = latency_cpu + length / speed_cpu.
struct Advice {
  std::string cpu;
  std::string engine;
  bool projected = false;
  OffloadModel cpu_model;
  OffloadModel engine_model;
  /// Whose times do not follow from the length alone, so that the models say nothing; empty: both do.
  std::string unfit;
  /// bytes; nullopt: long jobs are never faster on the engine. 0: all are.
  std::optional<double> break_even;
  /// Where break_even is not there, and the engine has the shorter latency: shorter jobs are faster on it. bytes
  std::optional<double> only_below;
  /// Where the break-even lies, by the rounds' own lines: below the CPU, above the engine, between whoever did the
  /// last.
  ByteCount below;
  ByteCount above;

  /// "on this machine: cpu below 80 KiB, rtl (projected) above 120 KiB; break-even at 96 KiB"
  [[nodiscard]] std::string text() const;
};

/// From a chart of single jobs by their length (unit us). nullopt: one of both was not measured at two lengths.
[[nodiscard]] std::optional<Advice> advise(const Chart& latency, const std::string& cpu, const std::string& engine);

/// Where the measured medians cross, on straight lines between neighbours in a picture with logarithmic axes; nullopt:
/// the engine is never faster, or always. bytes
[[nodiscard]] std::optional<double> measured_crossing(const Chart& latency, const std::string& cpu,
                                                      const std::string& engine);

}  // namespace sluice::bench
