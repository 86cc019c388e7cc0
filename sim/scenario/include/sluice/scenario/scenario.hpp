// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "sluice/device/raw_engine.hpp"

namespace sluice::inline scenario {

/// A scenario that makes no sense. The message names the file, the line, the value and what would do.
class ScenarioError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The steps of a scenario. Offsets and lengths are bytes of the data window.

/// Puts a job into the ring of its queue.
struct SubmitStep {
  std::uint8_t operation = ring::kOpFill;
  std::uint32_t queue = 0;
  std::uint16_t slot = 0;
  std::uint32_t generation = 1;
  std::uint64_t pattern = 0;
  std::vector<RawEngine::Extent> extents;  ///< one: a plain job; more: a list; none: fence and no-op
  bool doorbell = true;                    ///< false: the next job of the queue rings for both
};
struct RunStep {
  std::uint64_t cycles = 0;
};
struct CancelStep {
  std::uint32_t queue = 0;
  std::uint16_t slot = 0;
  std::uint32_t generation = 1;
};
/// Waits for the completion of a job, and compares what is given.
struct WaitStep {
  std::uint32_t queue = 0;
  std::uint16_t slot = 0;
  std::uint32_t generation = 1;
  std::uint64_t max_cycles = 1'000'000;
  std::optional<std::uint8_t> outcome, cause;
  std::optional<std::uint64_t> bytes;
};
struct DrainStep {
  std::uint32_t queue = 0;
};
struct AbortStep {
  std::uint32_t queue = 0;
};
/// The reset in CTRL; afterwards the queues are set up and enabled again.
struct ResetStep {};
/// From now on the bus has this fault too; no kind: all faults are taken back.
struct FaultStep {
  enum class Kind : std::uint8_t { None, SlaveError, DecodeError, Silent, Hang, RingErrors };
  Kind kind = Kind::None;
  std::uint64_t offset = 0, length = 0;  ///< of SlaveError and DecodeError
  std::uint32_t queue = 0;               ///< of Silent
  std::uint64_t after_bursts = 0;        ///< of Hang
};
struct WriteStep {
  std::uint32_t address = 0, value = 0;
  std::optional<bool> accepted;
};
struct ReadStep {
  std::uint32_t address = 0;
  std::optional<std::uint32_t> value;
};
/// Records the pins from here on for the timing diagram.
struct RecordStep {
  std::uint64_t cycles = 0;
};

struct Step {
  std::uint32_t line = 0;  ///< in the file
  std::variant<SubmitStep, RunStep, CancelStep, WaitStep, DrainStep, AbortStep, ResetStep, FaultStep, WriteStep,
               ReadStep, RecordStep>
      action;
};

struct QueueSetup {
  std::uint32_t priority = 0, weight = 1, rate = 0;  ///< as in the registers QOS and RATE
};

/// What sluice-sim plays.
struct Scenario {
  std::string title;
  SimOptions options;
  std::uint64_t memory_bytes = 1 << 20;
  std::uint32_t ring_log2 = 4;
  std::uint8_t dirty = 0xD5;  ///< what the memory holds at the start
  std::optional<std::uint32_t> watchdog_cycles;
  std::vector<QueueSetup> queues;
  std::vector<Step> steps;
};

/// The words that scenarios use for operations, outcomes and causes; the number where there is none.
[[nodiscard]] std::string operation_name(std::uint8_t operation);
[[nodiscard]] std::string outcome_name(std::uint8_t outcome);
[[nodiscard]] std::string cause_name(std::uint8_t cause);

/// Reads a TOML file. `build` is taken instead of the file's unless it is empty. Throws ScenarioError.
[[nodiscard]] Scenario read_scenario(const std::filesystem::path& file, const std::string& build = "");
/// The same from text; `name` is for messages.
[[nodiscard]] Scenario parse_scenario(std::string_view text, const std::string& name, const std::string& build = "");

}  // namespace sluice::inline scenario
