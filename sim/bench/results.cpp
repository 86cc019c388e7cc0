// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <set>

#include "sluice/base/json.hpp"
#include "sluice/base/printable.hpp"
#include "sluice/bench/statistics.hpp"

namespace sluice::bench {
namespace {

namespace json = boost::json;

/// Grows with every change that a reader would notice.
constexpr std::int64_t kFormat = 1;
/// Of a file: each figure is looked for among all of its chart.
constexpr std::size_t kMostFigures = 5000;
constexpr std::size_t kMostCharts = 100;
constexpr std::array<std::string_view, 3> kScales = {"linear", "logarithmic", "categories"};

json::array numbers(const std::vector<double>& values) { return json::array(values.begin(), values.end()); }

json::array strings(const std::vector<std::string>& values) {
  json::array array;
  for (const std::string& value : values) array.emplace_back(value);
  return array;
}

json::object to_json(const Estimate& estimate) {
  return {{"median", estimate.median}, {"low", estimate.low}, {"high", estimate.high}};
}

json::object to_json(const Chart& chart, const Figure& figure) {
  json::object object = {{"series", figure.series}, {"at", figure.at},
                         {"x", figure.x},           {"samples", numbers(figure.samples)},
                         {"exact", figure.exact},   {"projected", figure.projected}};
  const json::object spread = to_json(estimate(figure.samples));
  object.insert(spread.begin(), spread.end());
  const Figure* const base = chart.find(chart.baseline, figure.at);
  if (base == nullptr || base == &figure) return object;
  const auto times = times_baseline(chart, figure);
  object["ratio"] = times ? json::value(to_json(*times)) : json::value(nullptr);
  return object;
}

json::object to_json(const Chart& chart) {
  json::array marks;
  for (const Mark& mark : chart.marks) marks.push_back({{"label", mark.label}, {"value", mark.value}});
  json::array figures;
  for (const Figure& figure : chart.figures) figures.emplace_back(to_json(chart, figure));
  return {{"id", chart.id},
          {"section", chart.section},
          {"title", chart.title},
          {"x_label", chart.x_label},
          {"y_label", chart.y_label},
          {"unit", chart.unit},
          {"x_scale", kScales.at(static_cast<std::size_t>(chart.x_scale))},
          {"y_logarithmic", chart.y_logarithmic},
          {"more_is_better", chart.more_is_better},
          {"baseline", chart.baseline},
          {"marks", marks},
          {"notes", strings(chart.notes)},
          {"figures", figures}};
}

std::string text_of(const json::value& value, const char* key) { return std::string(value.at(key).as_string()); }

std::vector<std::string> texts(const json::value& array) {
  std::vector<std::string> strings;
  for (const json::value& each : array.as_array()) strings.emplace_back(each.as_string());
  return strings;
}

/// Of a size that sums and ratios of such numbers can have too.
double number_of(const json::value& value) {
  constexpr double kLargest = 1e100;
  const auto number = value.to_number<double>();
  if (number == 0.0 || (std::abs(number) <= kLargest && std::abs(number) >= 1.0 / kLargest)) return number;
  throw std::runtime_error(fmt::format("a figure of {} is too large or too small for a measurement", number));
}

Figure read_figure(const json::value& value) {
  Figure figure{text_of(value, "series"), text_of(value, "at"), number_of(value.at("x")), {}, false, false};
  for (const json::value& sample : value.at("samples").as_array()) figure.samples.push_back(number_of(sample));
  if (figure.samples.empty()) throw std::runtime_error("a figure has no samples");
  figure.exact = value.at("exact").as_bool();
  figure.projected = value.at("projected").as_bool();
  return figure;
}

Chart read_chart(const json::value& value) {
  Chart chart;
  chart.id = text_of(value, "id");
  chart.section = text_of(value, "section");
  chart.title = text_of(value, "title");
  chart.x_label = text_of(value, "x_label");
  chart.y_label = text_of(value, "y_label");
  chart.unit = text_of(value, "unit");
  const auto scale = std::find(kScales.begin(), kScales.end(), text_of(value, "x_scale"));
  if (scale == kScales.end()) throw std::runtime_error("a chart has an unknown x_scale");
  chart.x_scale = static_cast<Scale>(scale - kScales.begin());
  chart.y_logarithmic = value.at("y_logarithmic").as_bool();
  chart.more_is_better = value.at("more_is_better").as_bool();
  chart.baseline = text_of(value, "baseline");
  for (const json::value& mark : value.at("marks").as_array()) {
    chart.marks.push_back({text_of(mark, "label"), number_of(mark.at("value"))});
  }
  chart.notes = texts(value.at("notes"));
  const json::array& figures = value.at("figures").as_array();
  if (figures.size() > kMostFigures) {
    throw std::runtime_error(
        fmt::format("a chart has {} figures, and at most {} are read", figures.size(), kMostFigures));
  }
  std::set<std::pair<std::string, std::string>> known;
  for (const json::value& each : figures) {
    const Figure& figure = chart.figures.emplace_back(read_figure(each));
    if (known.emplace(figure.series, figure.at).second) continue;
    throw std::runtime_error(
        fmt::format("a chart has the figure of {} at {} twice", in_quotes(figure.series), in_quotes(figure.at)));
  }
  return chart;
}

void add_once(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

}  // namespace

const Figure* Chart::find(std::string_view wanted, std::string_view at) const {
  const auto found = std::find_if(figures.begin(), figures.end(),
                                  [&](const Figure& figure) { return figure.series == wanted && figure.at == at; });
  return found == figures.end() ? nullptr : &*found;
}

std::vector<std::string> Chart::series() const {
  std::vector<std::string> names;
  for (const Figure& figure : figures) add_once(names, figure.series);
  return names;
}

std::vector<std::string> Chart::places() const {
  std::vector<std::string> names;
  for (const Figure& figure : figures) add_once(names, figure.at);
  return names;
}

std::optional<Estimate> times_baseline(const Chart& chart, const Figure& figure) {
  const Figure* const base = chart.find(chart.baseline, figure.at);
  if (base == nullptr || base == &figure) return std::nullopt;
  if (figure.exact && base->exact) {
    const double other = base->samples.front();
    if (other == 0.0) return std::nullopt;
    const double times = figure.samples.front() / other;
    return Estimate{times, times, times};
  }
  // What is exact was the same in every round.
  const std::size_t rounds = std::max(figure.samples.size(), base->samples.size());
  std::vector<double> ours = figure.samples;
  std::vector<double> theirs = base->samples;
  if (figure.exact) ours.resize(rounds, ours.back());
  if (base->exact) theirs.resize(rounds, theirs.back());
  return ratio(ours, theirs);
}

const Chart* Results::find(std::string_view id) const {
  const auto found = std::find_if(charts.begin(), charts.end(), [&](const Chart& chart) { return chart.id == id; });
  return found == charts.end() ? nullptr : &*found;
}

void Results::drop_empty() {
  for (Chart& chart : charts) std::erase_if(chart.figures, [](const Figure& figure) { return figure.samples.empty(); });
  std::erase_if(charts, [](const Chart& chart) { return chart.figures.empty(); });
}

json::object to_json(const Results& results) {
  json::object facts;
  for (const Fact& fact : results.facts) facts[fact.name] = fact.value;
  json::array charts;
  for (const Chart& chart : results.charts) charts.emplace_back(to_json(chart));
  json::array advice;
  for (const Routing& each : results.advice) {
    advice.push_back({{"engine", each.engine},
                      {"cpu_below_bytes", each.below.value()},
                      {"engine_above_bytes", each.above.value()},
                      {"projected", each.projected},
                      {"text", each.text}});
  }
  return {{"sluice_bench", kFormat},
          {"facts", facts},
          {"answers", strings(results.answers)},
          {"advice", advice},
          {"charts", charts}};
}

Result<Results> results_from_json(const std::string& text, const std::string& name) {
  try {
    auto parsed = parse_json(text, kLongestResults);
    if (!parsed) throw std::runtime_error(parsed.error().message);
    const json::value& document = *parsed;
    if (!document.is_object() || !document.as_object().contains("sluice_bench")) {
      throw std::runtime_error("it has no 'sluice_bench'");
    }
    if (const auto format = document.at("sluice_bench").to_number<std::int64_t>(); format != kFormat) {
      throw std::runtime_error(fmt::format("it has format {}, this program reads {}", format, kFormat));
    }
    Results results;
    for (const auto& fact : document.at("facts").as_object()) {
      results.facts.push_back({std::string(fact.key()), std::string(fact.value().as_string())});
    }
    results.answers = texts(document.at("answers"));
    for (const json::value& each : document.at("charts").as_array()) {
      Chart chart = read_chart(each);
      if (results.find(chart.id) != nullptr) {
        throw std::runtime_error(fmt::format("it has the chart {} twice", in_quotes(chart.id)));
      }
      if (results.charts.size() == kMostCharts) {
        throw std::runtime_error(fmt::format("it has more than {} charts", kMostCharts));
      }
      results.charts.push_back(std::move(chart));
    }
    for (const json::value& each : document.at("advice").as_array()) {
      results.advice.push_back({text_of(each, "engine"),
                                ByteCount(each.at("cpu_below_bytes").to_number<std::uint64_t>()),
                                ByteCount(each.at("engine_above_bytes").to_number<std::uint64_t>()),
                                each.at("projected").as_bool(), text_of(each, "text")});
    }
    return results;
  } catch (const std::exception& error) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} is no result of `sluice bench`: {}; give a file that --json has written",
                             in_quotes(name, 200), printable(error.what(), 300))};
  }
}

std::string digits(double value) {
  const double size = std::abs(value);
  if (size == 0.0) return "0";
  if (size >= 1000.0 || (size >= 100.0 && value == std::round(value))) return fmt::format("{:.0f}", value);
  return fmt::format("{:.{}f}", value, std::clamp(2 - static_cast<int>(std::floor(std::log10(size))), 0, 9));
}

std::string to_text(const Chart& chart) {
  std::string out = fmt::format("{} ({})\n", chart.title, chart.unit);
  const bool compared = !chart.baseline.empty();
  constexpr std::size_t kMost = 200;  // lines
  if (chart.figures.size() > kMost) {
    return out + fmt::format("  {} figures: see the page of --report, or --json\n", chart.figures.size());
  }
  out += fmt::format("  {:<14} {:<34} {:>9} {:>21}  {}\n", chart.x_label, "", "median", "between",
                     compared ? fmt::format("times {}", chart.baseline) : "");
  for (const std::string& at : chart.places()) {
    for (const Figure& figure : chart.figures) {
      if (figure.at != at) continue;
      const Estimate spread = estimate(figure.samples);
      std::string times;
      const Figure* const base = chart.find(chart.baseline, at);
      if (base != nullptr && base != &figure) {
        const auto known = times_baseline(chart, figure);
        times = known ? fmt::format("{} ({} to {})", digits(known->median), digits(known->low), digits(known->high))
                      : "not known: the noise is larger";
      }
      const std::string between =
          figure.samples.size() == 1 ? "one sample" : digits(spread.low) + " and " + digits(spread.high);
      out += fmt::format("  {:<14} {:<34} {:>9} {:>21}  {}\n", at,
                         figure.series + (figure.projected ? " (projected)" : ""), digits(spread.median),
                         figure.exact ? "exact" : between, times);
    }
  }
  for (const Mark& mark : chart.marks) out += fmt::format("  {}: {} {}\n", mark.label, digits(mark.value), chart.unit);
  for (const std::string& note : chart.notes) out += fmt::format("  {}\n", note);
  return out;
}

std::string to_text(const Results& results) {
  std::string out;
  for (const Fact& fact : results.facts) out += fmt::format("{:<12} {}\n", fact.name, fact.value);
  for (const Chart& chart : results.charts) out += fmt::format("\n{}", to_text(chart));
  out += "\n";
  for (const std::string& answer : results.answers) out += fmt::format("{}\n", answer);
  return out;
}

}  // namespace sluice::bench
