// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sluice/scenario/scenario.hpp"

namespace sluice::inline scenario {

/// What became of one job.
struct PlayedJob {
  std::uint32_t line = 0;  ///< of its step
  SubmitStep job;
  std::uint64_t submitted = 0;  ///< cycle
  std::optional<RawEngine::Completion> completion;
  std::uint64_t ended = 0;  ///< cycle in which the completion was seen in memory
};

struct PlayedCounter {
  std::string name;
  std::uint64_t value;
};

struct PlayResult {
  std::vector<PlayedJob> jobs;
  std::vector<PlayedCounter> counters;
  std::uint64_t cycles = 0;
  std::vector<CyclePins> recorded;
  /// Expectations that were not met, rules that were broken, memory that is not what the completions say. Empty: good.
  std::vector<std::string> problems;
};

/// Plays a scenario on the simulated engine, and compares the memory with what every completion says of it: the prefix
/// holds the pattern; of a cancelled job the rest is untouched; what belongs to no job is untouched; what the watchdog
/// has given up may still be written, with the pattern and nothing else. Throws ScenarioError when the device cannot be
/// made.
[[nodiscard]] PlayResult play(const Scenario& scenario, const std::string& name);

}  // namespace sluice::inline scenario
