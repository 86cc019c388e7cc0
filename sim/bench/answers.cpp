// SPDX-License-Identifier: Apache-2.0
// The questions of who opens the page, answered from its figures.
#include <fmt/format.h>

#include "sluice/bench/bench.hpp"
#include "sluice/bench/statistics.hpp"

namespace sluice::bench {
namespace {

/// nullopt: it was not measured.
std::optional<double> median(const Results& results, const char* chart, const std::string& series,
                             const std::string& at) {
  const Chart* const found = results.find(chart);
  const Figure* const figure = found == nullptr ? nullptr : found->find(series, at);
  if (figure == nullptr) return std::nullopt;
  return estimate(figure->samples).median;
}

std::string cost_today(const Results& results) {
  const auto rate = median(results, "throughput", "libc memset", "2 MiB");
  const auto cycles = median(results, "cpu_cost", "libc memset", "2 MiB");
  const auto own = median(results, "throughput", "cpu", "2 MiB");
  if (!rate || !cycles) return "not measured in this run.";
  std::string answer =
      fmt::format("memset clears {} GiB/s and spends {} Gcycles on each GiB: 64 GiB keep a CPU busy for {} s.",
                  digits(*rate), digits(*cycles), digits(64.0 * *cycles * 1e9 / tsc_hz()));
  if (own) answer += fmt::format(" Sluice's CPU engine clears {} GiB/s with one worker.", digits(*own));
  if (const auto kernel = median(results, "throughput", "kernel populate, 4 KiB", "2 MiB")) {
    answer += fmt::format(" Fresh memory from the kernel in pages of 4 KiB comes at {} GiB/s: 64 GiB take {} s.",
                          digits(*kernel), digits(64.0 / *kernel));
  }
  return answer;
}

std::string engine_saves(const Results& results) {
  const Chart* const throughput = results.find("throughput");
  if (throughput == nullptr) return "not measured in this run.";
  std::string answer;
  for (const std::string& series : throughput->series()) {
    const Figure* const figure = throughput->find(series, "2 MiB");
    if (figure == nullptr || !figure->projected) continue;
    const auto cycles = median(results, "cpu_cost", "cpu", "2 MiB");
    answer += fmt::format("{}{} would clear {} GiB/s (projected from its cycles)", answer.empty() ? "" : "; ", series,
                          digits(estimate(figure->samples).median));
    if (cycles) {
      answer += fmt::format(
          ", and free the {} Gcycles that the CPU engine spends on each GiB ({} s for 64 GiB), less what driving it "
          "takes",
          digits(*cycles), digits(64.0 * *cycles * 1e9 / tsc_hz()));
    }
  }
  return answer.empty() ? "no engine but the CPU was measured." : answer + ".";
}

std::string recycling_saves(const Results& results) {
  const auto without = median(results, "trace_scrubbed", "no recycling", "whole trace");
  const auto with = median(results, "trace_scrubbed", "all", "whole trace");
  std::string answer;
  if (without && with && *without > 0.0) {
    answer =
        fmt::format("on this trace {} GiB are scrubbed without recycling and {} GiB with all of it: {:.0f} % less.",
                    digits(*without), digits(*with), 100.0 * (1.0 - *with / *without));
  }
  const auto recycled = median(results, "grant", "recycled: trust group", "1 GiB");
  const auto scrubbed = median(results, "grant", "scrub on grant, cpu", "1 GiB");
  if (recycled && scrubbed) {
    answer += fmt::format(
        " A VM has 1 GiB of its group's memory after {} ms, and after {} ms if that must be scrubbed first.",
        digits(*recycled), digits(*scrubbed));
  }
  return answer.empty() ? "not measured in this run." : answer;
}

std::string worth_it(const Results& results) {
  std::string answer;
  for (const Routing& each : results.advice) answer += (answer.empty() ? "" : "; ") + each.text;
  return answer.empty() ? "not measured in this run." : answer + ".";
}

std::string vm_waits(const Results& results) {
  const Chart* const starts = results.find("vm_start");
  if (starts == nullptr || starts->places().empty()) return "not measured in this run.";
  const std::string largest = starts->places().back();
  const auto fresh = median(results, "vm_start", "fresh memory, at once", largest);
  const auto leased = median(results, "vm_start", "sluiced", largest);
  const auto used = median(results, "vm_used", "fresh memory, when touched", largest);
  const auto used_leased = median(results, "vm_used", "sluiced", largest);
  if (!fresh || !leased || !used || !used_leased) return "not measured in this run.";
  return fmt::format(
      "a guest with {} says its first word after {} ms with memory from sluiced, and after {} ms with fresh memory "
      "that is "
      "populated at once; it has written to all of it after {} ms, and after {} ms where the kernel populates what it "
      "touches.",
      largest, digits(*leased), digits(*fresh), digits(*used_leased), digits(*used));
}

}  // namespace

std::vector<std::string> answers(const Results& results) {
  return {"What does scrubbing cost today? " + cost_today(results),
          "What does an engine save? " + engine_saves(results), "What does recycling save? " + recycling_saves(results),
          "From what size is offload worth it? " + worth_it(results), "How long does a VM wait? " + vm_waits(results)};
}

}  // namespace sluice::bench
