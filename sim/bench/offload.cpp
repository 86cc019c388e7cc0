// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/offload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sluice/bench/bench.hpp"

namespace sluice::bench {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kWorstFit = 0.5;  // a model that is further off than that is none

/// What was measured of one series.
struct Curve {
  std::vector<double> lengths;
  std::vector<const Figure*> figures;

  Curve(const Chart& chart, const std::string& series) {
    for (const Figure& figure : chart.figures) {
      if (figure.series != series) continue;
      lengths.push_back(figure.x);
      figures.push_back(&figure);
    }
  }
  [[nodiscard]] std::size_t rounds() const {
    std::size_t rounds = 0;
    for (const Figure* figure : figures) rounds = std::max(rounds, figure->samples.size());
    return rounds;
  }
  /// What is exact is the same in every round.
  [[nodiscard]] Line line_of_round(std::size_t round) const {
    std::vector<double> times;
    for (const Figure* figure : figures) times.push_back(figure->samples[round % figure->samples.size()]);
    return fit_line(lengths, times);
  }
  [[nodiscard]] std::vector<double> medians() const {
    std::vector<double> times;
    for (const Figure* figure : figures) times.push_back(estimate(figure->samples).median);
    return times;
  }
  [[nodiscard]] OffloadModel model() const {
    const std::vector<double> times = medians();
    OffloadModel model{fit_line(lengths, times), 0.0};
    for (std::size_t point = 0; point < times.size(); ++point) {
      model.worst = std::max(model.worst, std::abs(model.us.at(lengths[point]) / times[point] - 1.0));
    }
    return model;
  }
};

/// bytes; kNever, or 0 for always.
double crossing(const Line& cpu, const Line& engine) {
  const double saved_for_each_byte = cpu.slope - engine.slope;
  const double lost = engine.intercept - cpu.intercept;
  if (saved_for_each_byte <= 0.0) return saved_for_each_byte == 0.0 && lost < 0.0 ? 0.0 : kNever;
  return std::max(lost / saved_for_each_byte, 0.0);
}

ByteCount whole(double bytes) {
  if (bytes >= 1e18) return ByteCount(~0ULL);
  return ByteCount(static_cast<std::uint64_t>(std::llround(bytes)));
}

std::string about(double bytes) {
  if (bytes >= 1024.0 * 1024.0) return digits(bytes / 1024.0 / 1024.0) + " MiB";
  return bytes >= 1024.0 ? digits(bytes / 1024.0) + " KiB" : digits(bytes) + " B";
}

}  // namespace

std::string Advice::text() const {
  const std::string name = engine + (projected ? " (projected)" : "");
  if (!unfit.empty()) {
    return fmt::format(
        "on this machine: {} for jobs of any length, since the times of {} do not follow from the length alone (a line "
        "through them is off by up to {:.0f} %)",
        cpu, unfit, 100.0 * std::max(cpu_model.worst, engine_model.worst));
  }
  if (!break_even && only_below) {
    return fmt::format("on this machine: {} for jobs of any length, {} is faster only below {}", cpu, name,
                       about(*only_below));
  }
  if (!break_even) return fmt::format("on this machine: {} for jobs of any length, {} is never faster", cpu, name);
  if (above == ByteCount(0)) return fmt::format("on this machine: {} for jobs of any length", name);
  if (above == ByteCount(~0ULL)) {
    return fmt::format("on this machine: {} below {}, and {} perhaps above; the rounds do not agree", cpu,
                       about(static_cast<double>(below.value())), name);
  }
  return fmt::format("on this machine: {} below {}, {} above {}; break-even at {}", cpu,
                     about(static_cast<double>(below.value())), name, about(static_cast<double>(above.value())),
                     about(*break_even));
}

std::optional<Advice> advise(const Chart& latency, const std::string& cpu, const std::string& engine) {
  const Curve ours(latency, cpu);
  const Curve theirs(latency, engine);
  if (ours.figures.size() < 2 || theirs.figures.size() < 2) return std::nullopt;
  Advice advice{cpu, engine, theirs.figures[0]->projected, ours.model(), theirs.model(), {}, {}, {}, {}, {}};
  if (std::max(advice.cpu_model.worst, advice.engine_model.worst) > kWorstFit) {
    advice.unfit = advice.cpu_model.worst > advice.engine_model.worst ? cpu : engine;
    advice.below = advice.above = whole(kNever);
    return advice;
  }
  const double best = crossing(advice.cpu_model.us, advice.engine_model.us);
  if (best < kNever) {
    advice.break_even = best;
  } else if (const double won = advice.cpu_model.us.intercept - advice.engine_model.us.intercept; won > 0.0) {
    advice.only_below = won / (advice.engine_model.us.slope - advice.cpu_model.us.slope);
  }
  std::vector<double> crossings;
  for (std::size_t round = 0; round < std::max(ours.rounds(), theirs.rounds()); ++round) {
    crossings.push_back(crossing(ours.line_of_round(round), theirs.line_of_round(round)));
  }
  std::sort(crossings.begin(), crossings.end());
  advice.below = whole(std::min(crossings.front(), best));
  advice.above = whole(std::max(crossings.back(), best));
  return advice;
}

std::optional<double> measured_crossing(const Chart& latency, const std::string& cpu, const std::string& engine) {
  const Curve ours(latency, cpu);
  const Curve theirs(latency, engine);
  const std::vector<double> our_times = ours.medians();
  const std::vector<double> their_times = theirs.medians();
  std::optional<double> before;  // the logarithm of how many times longer the engine took
  double length_before = 0.0;
  for (std::size_t point = 0; point < ours.lengths.size(); ++point) {
    const auto same = std::find(theirs.lengths.begin(), theirs.lengths.end(), ours.lengths[point]);
    if (same == theirs.lengths.end()) continue;
    const double slower =
        std::log(their_times[static_cast<std::size_t>(same - theirs.lengths.begin())] / our_times[point]);
    if (before && *before > 0.0 && slower <= 0.0) {
      const double share = *before / (*before - slower);
      return std::exp(std::log(length_before) + share * (std::log(ours.lengths[point]) - std::log(length_before)));
    }
    before = slower;
    length_before = ours.lengths[point];
  }
  return std::nullopt;
}

void plan_offload(Bench& bench, Plan& plan) {
  Chart chart{"offload", "offload", "One job on the CPU and on an engine, measured and by the model",
              "job",     "time",    "us"};
  chart.x_scale = Scale::Logarithmic;
  chart.y_logarithmic = true;
  chart.more_is_better = false;
  chart.notes = {"The model: time = latency + length / speed, by least squares of the relative errors."};
  Chart& offload = bench.add(std::move(chart));
  plan.emplace_back([&bench, &offload] {
    const Chart* const latency = bench.results.find("latency");
    if (latency == nullptr) return;
    const auto add_curve = [&](const std::string& series, const OffloadModel& model) {
      for (const Figure& figure : latency->figures) {
        if (figure.series != series) continue;
        Figure modelled{series + ", model", figure.at, figure.x, {model.us.at(figure.x)}, false, figure.projected};
        offload.figures.push_back(figure);
        offload.figures.push_back(std::move(modelled));
      }
      offload.notes.push_back(
          fmt::format("{}: {} us + length / {} GiB/s; the worst error at a measured length is {:.0f} %.", series,
                      digits(model.us.intercept), digits(1e6 / model.us.slope / (1ULL << 30)), 100.0 * model.worst));
    };
    bool cpu_added = false;
    for (const EngineName& name : bench.engines) {
      if (name.kind == "cpu") continue;
      const auto advice = advise(*latency, "cpu", name.text);
      if (!advice) continue;
      if (!cpu_added) add_curve("cpu", advice->cpu_model);
      cpu_added = true;
      add_curve(name.text, advice->engine_model);
      offload.notes.push_back(advice->text() + ".");
      bench.results.advice.push_back({name.text, advice->below, advice->above, advice->projected, advice->text()});
    }
  });
}

}  // namespace sluice::bench
