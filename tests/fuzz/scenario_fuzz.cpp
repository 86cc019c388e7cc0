// SPDX-License-Identifier: Apache-2.0
// A scenario in TOML. It is read and not played.
#include "fuzz/fuzz.hpp"
#include "sluice/scenario/scenario.hpp"

namespace sluice::fuzz {
namespace {

constexpr std::uint64_t kMostPlace = 1ULL << 48;

struct CheckStep {
  const Scenario& scenario;

  void queue(std::uint32_t number) const { enforce(number < scenario.queues.size(), "a step names a queue there is"); }
  void operator()(const SubmitStep& step) const {
    queue(step.queue);
    for (const auto& extent : step.extents) {
      enforce(extent.offset <= kMostPlace && extent.length <= kMostPlace, "sums of two places do not wrap");
    }
  }
  void operator()(const RunStep& step) const { enforce(step.cycles <= 1'000'000'000, "a run ends"); }
  void operator()(const WaitStep& step) const {
    queue(step.queue);
    enforce(step.max_cycles <= 1'000'000'000, "a wait ends");
  }
  void operator()(const FaultStep& step) const {
    queue(step.queue);
    enforce(step.offset <= scenario.memory_bytes && step.length <= scenario.memory_bytes - step.offset,
            "a fault lies in the memory");
  }
  void operator()(const WriteStep& step) const { enforce(step.address < 0x1000, "a register is one of the engine"); }
  void operator()(const ReadStep& step) const { enforce(step.address < 0x1000, "a register is one of the engine"); }
  void operator()(const RecordStep& step) const { enforce(step.cycles <= 10'000, "a recording ends"); }
  void operator()(const CancelStep& step) const { queue(step.queue); }
  void operator()(const DrainStep& step) const { queue(step.queue); }
  void operator()(const AbortStep& step) const { queue(step.queue); }
  void operator()(const ResetStep& /*step*/) const {}
};

}  // namespace

void one(std::span<const std::byte> input) {
  const std::string_view text = as_text(input);
  try {
    const Scenario scenario = parse_scenario(text, "s");
    enforce(!scenario.steps.empty() && scenario.steps.size() <= 10'000, "a scenario has some steps");
    enforce(scenario.memory_bytes >= 1 && scenario.memory_bytes <= 1ULL << 28, "its memory can be had");
    const double ready = scenario.options.timing.ready_probability;
    enforce(ready > 0.0 && ready <= 1.0, "its bus is ready some time");
    std::size_t lines = 1;
    for (const char letter : text) lines += letter == '\n' ? 1 : 0;
    for (const Step& step : scenario.steps) {
      enforce(step.line >= 1 && step.line <= lines, "a step knows its line");
      std::visit(CheckStep{scenario}, step.action);
    }
    if (!scenario.title.empty()) check_message(scenario.title);
  } catch (const ScenarioError& error) {
    check_message_of_line(error.what(), "s", text);
  }
}

}  // namespace sluice::fuzz
