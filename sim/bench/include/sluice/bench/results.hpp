// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json/object.hpp>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/bench/statistics.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::bench {

/// No file of results comes near it.
inline constexpr ByteCount kLongestResults{64 << 20};

/// What one point of a chart is made of.
struct Figure {
  std::string series;  ///< Whose: "libc memset", "cpu:threads=2".
  std::string at;      ///< Where on the x axis, for people: "64 KiB", "trust group".
  double x = 0.0;      ///< The same as a number, in the chart's x unit; of a category: its place.
  std::vector<double> samples;
  bool exact = false;      ///< Counted, not timed: it is the same in every run.
  bool projected = false;  ///< Cycles of a simulated engine at a stated clock, not time of this machine.
};

enum class Scale { Linear, Logarithmic, Categories };

/// A horizontal line to compare with.
struct Mark {
  std::string label;
  double value = 0.0;
};

/// Figures of one kind: a table and a picture. Figures of one `at` and different series were measured side by side, the
/// n-th samples in the same round.
struct Chart {
  std::string id;       ///< "throughput"; never changes, so that runs can be compared.
  std::string section;  ///< "micro", "cancel", "grant", "trace", "offload", "vm"
  std::string title;    ///< What it shows.
  std::string x_label;  ///< With its unit.
  std::string y_label;  ///< Without its unit.
  std::string unit;     ///< Of the samples.
  Scale x_scale = Scale::Categories;
  bool y_logarithmic = false;
  bool more_is_better = true;
  std::string baseline;  ///< The series that all others are compared with; empty: none.
  std::vector<Mark> marks;
  std::vector<std::string> notes;
  std::vector<Figure> figures;

  /// nullptr: there is none.
  [[nodiscard]] const Figure* find(std::string_view series, std::string_view at) const;
  /// In the order in which they were added.
  [[nodiscard]] std::vector<std::string> series() const;
  [[nodiscard]] std::vector<std::string> places() const;
};

/// What stood around the figures.
struct Fact {
  std::string name;
  std::string value;
};

/// Who should do a job of what length: the CPU below one, the engine above the other.
struct Routing {
  std::string engine;
  ByteCount below;
  ByteCount above;
  bool projected = false;
  std::string text;
};

struct Results {
  std::vector<Fact> facts;           ///< Machine, kernel, pages, load, date, command.
  std::vector<std::string> answers;  ///< Sentences for who has no time.
  std::deque<Chart> charts;
  std::vector<Routing> advice;

  [[nodiscard]] const Chart* find(std::string_view id) const;
  /// Figures that were never measured, and charts without any: after a run that was stopped.
  void drop_empty();
};

/// How many times the baseline's figure at the same place this one is. nullopt: there is none, or it is not known.
[[nodiscard]] std::optional<Estimate> times_baseline(const Chart& chart, const Figure& figure);

[[nodiscard]] boost::json::object to_json(const Results& results);
/// Errors: InvalidArgument for text that is no such document; `name` is the file.
[[nodiscard]] Result<Results> results_from_json(const std::string& text, const std::string& name);

/// Tables for a terminal: the median, where it lies, and the ratio to the baseline where it is known.
[[nodiscard]] std::string to_text(const Chart& chart);
[[nodiscard]] std::string to_text(const Results& results);

/// Three digits that mean something: "0.0123", "12.3", "12345".
[[nodiscard]] std::string digits(double value);

}  // namespace sluice::bench
