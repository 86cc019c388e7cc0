// SPDX-License-Identifier: Apache-2.0
#include "sluice/scenario/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>
#include <set>

#include "sluice/base/input.hpp"
#include "sluice/base/printable.hpp"
#include "sluice/base/toml.hpp"

namespace sluice::inline scenario {
namespace {

// What a file may ask for. Sums of two places do not wrap, and two copies of the memory fit into a small machine.
constexpr std::size_t kMostText = 1 << 20;
constexpr std::size_t kMostSteps = 10'000;
constexpr std::uint64_t kMostMemory = 1ULL << 28;
constexpr std::uint64_t kMostPlace = 1ULL << 48;
constexpr std::uint64_t kMostCycles = 1'000'000'000;

using Names = std::vector<std::pair<std::string_view, std::uint8_t>>;

const Names kOperations = {{"fill", ring::kOpFill},
                           {"verify", ring::kOpVerify},
                           {"fill_verify", ring::kOpFillVerify},
                           {"fence", ring::kOpFence},
                           {"noop", ring::kOpNoop}};
const Names kOutcomes = {
    {"done", ring::kOutcomeZeroed}, {"cancelled", ring::kOutcomeCancelled}, {"failed", ring::kOutcomeFailed}};
const Names kCauses = {{"none", ring::kCauseNone},
                       {"bad_descriptor", ring::kCauseBadDescriptor},
                       {"outside_window", ring::kCauseOutsideWindow},
                       {"slave_error", ring::kCauseSlaveError},
                       {"decode_error", ring::kCauseDecodeError},
                       {"timeout", ring::kCauseTimeout},
                       {"mismatch", ring::kCauseMismatch}};
const Names kFaults = {{"none", static_cast<std::uint8_t>(FaultStep::Kind::None)},
                       {"slave_error", static_cast<std::uint8_t>(FaultStep::Kind::SlaveError)},
                       {"decode_error", static_cast<std::uint8_t>(FaultStep::Kind::DecodeError)},
                       {"silent", static_cast<std::uint8_t>(FaultStep::Kind::Silent)},
                       {"hang", static_cast<std::uint8_t>(FaultStep::Kind::Hang)},
                       {"ring_errors", static_cast<std::uint8_t>(FaultStep::Kind::RingErrors)}};

std::string name_of(std::uint8_t wanted, const Names& names) {
  for (const auto& [name, value] : names) {
    if (value == wanted) return std::string(name);
  }
  return fmt::format("{}", wanted);
}

std::string list(const Names& names) {
  std::string text;
  for (const auto& [name, value] : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

/// A table of the file. Every key must be asked for, so that a misspelt one is an error and not silence.
class Table {
 public:
  Table(const toml::table& table, std::string where, const std::string& file)
      : table_(table), where_(std::move(where)), file_(file) {}

  [[nodiscard]] std::uint32_t line() const { return table_.source().begin.line; }
  [[noreturn]] void fail(const std::string& message) const {
    constexpr std::size_t kLongest = 600;
    throw ScenarioError(fmt::format("{}:{}: {}: {}", file_, line(), where_, printable(message, kLongest)));
  }

  const toml::node* find(std::string_view key) {
    known_.insert(std::string(key));
    return table_.get(key);
  }
  /// A number of at most `max`, as an integer or as text: "64KiB", "0xFF".
  std::uint64_t number(std::string_view key, std::optional<std::uint64_t> otherwise,
                       std::uint64_t max = std::numeric_limits<std::uint64_t>::max()) {
    const toml::node* const node = find(key);
    if (node == nullptr) {
      if (!otherwise) fail(fmt::format("'{}' is missing", key));
      return *otherwise;
    }
    return number_of(*node, key, max);
  }
  [[nodiscard]] std::uint64_t number_of(const toml::node& node, std::string_view key, std::uint64_t max) const {
    std::uint64_t value = 0;
    if (const auto integer = node.value_exact<std::int64_t>()) {
      if (*integer < 0) fail(fmt::format("'{} = {}' is negative", key, *integer));
      value = static_cast<std::uint64_t>(*integer);
    } else if (auto text = node.value_exact<std::string>()) {
      value = number_in(*text, key);
    } else {
      fail(fmt::format("'{}' is no number: write 4096, 0x1000 or \"4KiB\"", key));
    }
    if (value > max) fail(fmt::format("'{} = {}' is too large: at most {}", key, value, max));
    return value;
  }
  template <class Integer>
  Integer small(std::string_view key, std::optional<std::uint64_t> otherwise,
                std::uint64_t max = std::numeric_limits<Integer>::max()) {
    return static_cast<Integer>(number(key, otherwise, max));
  }
  std::string text(std::string_view key, const std::string& otherwise) {
    const toml::node* const node = find(key);
    if (node == nullptr) return otherwise;
    auto value = node->value_exact<std::string>();
    if (!value) fail(fmt::format("'{}' is no text in quotes", key));
    constexpr std::size_t kLongest = 200;
    if (printable(*value, kLongest) != *value) {
      fail(fmt::format("'{}' is {}: give at most {} letters of ASCII", key, in_quotes(*value), kLongest));
    }
    return *value;
  }
  std::optional<bool> flag(std::string_view key) {
    const toml::node* const node = find(key);
    if (node == nullptr) return std::nullopt;
    const auto value = node->value_exact<bool>();
    if (!value) fail(fmt::format("'{}' must be true or false", key));
    return value;
  }
  double fraction(std::string_view key, double otherwise) {
    const toml::node* const node = find(key);
    if (node == nullptr) return otherwise;
    const auto value = node->value<double>();
    if (!value || !(*value > 0.0) || *value > 1.0) fail(fmt::format("'{}' must be above 0 and at most 1", key));
    return *value;
  }
  CycleRange range(std::string_view key, CycleRange otherwise) {
    const toml::node* const node = find(key);
    if (node == nullptr) return otherwise;
    constexpr std::uint64_t kMax = 1'000'000;
    if (node->is_integer()) {
      const auto both = static_cast<std::uint32_t>(number_of(*node, key, kMax));
      return {both, both};
    }
    const toml::array* const pair = node->as_array();
    if (pair == nullptr || pair->size() != 2) fail(fmt::format("'{}' must be [least, most] in cycles", key));
    const CycleRange value{static_cast<std::uint32_t>(number_of((*pair)[0], key, kMax)),
                           static_cast<std::uint32_t>(number_of((*pair)[1], key, kMax))};
    if (value.min > value.max)
      fail(fmt::format("'{} = [{}, {}]': the least is above the most", key, value.min, value.max));
    return value;
  }
  [[nodiscard]] std::uint8_t one_of(std::string_view key, const std::string& value, const Names& names) const {
    const auto found = std::find_if(names.begin(), names.end(), [&](const auto& name) { return name.first == value; });
    if (found == names.end())
      fail(fmt::format("'{}' is {}, which is not known: give one of {}", key, in_quotes(value), list(names)));
    return found->second;
  }
  std::optional<std::uint8_t> maybe_one_of(std::string_view key, const Names& names) {
    if (find(key) == nullptr) return std::nullopt;
    return one_of(key, text(key, ""), names);
  }
  /// Throws when there is a key that nobody has asked for.
  void finish() const {
    for (const auto& [key, node] : table_) {
      if (known_.contains(key.str())) continue;
      std::string names;
      for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name;
      fail(fmt::format("{} is not known: give {}", in_quotes(key.str()), names));
    }
  }

 private:
  [[nodiscard]] std::uint64_t number_in(const std::string& text, std::string_view key) const {
    std::uint64_t value = 0;
    if (text.starts_with("0x")) {
      const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), value, 16);
      if (error == std::errc() && end == text.data() + text.size()) return value;
    } else if (const auto bytes = parse_bytes(text)) {
      return bytes->value();
    }
    fail(fmt::format("'{}' is {}, which is no number: write 4096, \"0x1000\" or \"4KiB\"", key, in_quotes(text)));
  }

  const toml::table& table_;
  std::string where_;
  const std::string& file_;
  std::set<std::string, std::less<>> known_;
};

class Reader {
 public:
  Reader(const toml::table& root, const std::string& file, const std::string& build)
      : root_(root), file_(file), build_name_(build) {}

  Scenario read() {
    Table top(root_, "scenario", file_);
    scenario_.title = top.text("title", "");
    read_build(top);
    scenario_.options.seed = top.number("seed", 1);
    scenario_.memory_bytes = top.number("memory", 1 << 20, kMostMemory);
    if (scenario_.memory_bytes == 0) top.fail("'memory = 0' leaves nothing to write: give for example \"1MiB\"");
    scenario_.ring_log2 = top.small<std::uint32_t>("ring_log2", 4, 12);
    const auto most = static_cast<std::uint32_t>(std::bit_width(build_->slots) - 1);
    if (scenario_.ring_log2 < 1 || scenario_.ring_log2 > most) {
      top.fail(fmt::format("'ring_log2 = {}': build {} takes 1 to {}", scenario_.ring_log2, build_->name, most));
    }
    scenario_.dirty = top.small<std::uint8_t>("dirty", 0xD5);
    if (top.find("watchdog") != nullptr) scenario_.watchdog_cycles = top.small<std::uint32_t>("watchdog", 0);
    read_bus(top);
    read_queues(top);
    read_steps(top);
    top.finish();
    return std::move(scenario_);
  }

 private:
  void read_build(Table& top) {
    scenario_.options.build = top.text("build", "512");
    if (!build_name_.empty()) scenario_.options.build = build_name_;
    std::string names;
    for (const RtlBuild& build : rtl_builds()) {
      if (build.name == scenario_.options.build) build_ = &build;
      names += (names.empty() ? "" : ", ") + build.name;
    }
    if (build_ == nullptr) {
      top.fail(
          fmt::format("'build' is {}, which is not known: give one of {}", in_quotes(scenario_.options.build), names));
    }
  }

  void read_bus(Table& top) {
    const toml::node* const node = top.find("bus");
    if (node == nullptr) return;
    if (!node->is_table()) top.fail("'bus' must be a table: [bus]");
    Table bus(*node->as_table(), "bus", file_);
    BusTiming& timing = scenario_.options.timing;
    timing.read_latency = bus.range("read_latency", timing.read_latency);
    timing.write_latency = bus.range("write_latency", timing.write_latency);
    timing.completion_latency = bus.range("completion_latency", timing.completion_latency);
    timing.ready_probability = bus.fraction("ready", timing.ready_probability);
    timing.interleave_reads = bus.flag("interleave_reads").value_or(timing.interleave_reads);
    bus.finish();
  }

  void read_queues(Table& top) {
    scenario_.queues.resize(build_->queues);
    const toml::node* const node = top.find("queue");
    if (node == nullptr) return;
    const toml::array* const tables = node->as_array();
    if (tables == nullptr || !tables->is_homogeneous<toml::table>()) top.fail("'queue' must be tables: [[queue]]");
    for (const toml::node& one : *tables) {
      Table table(*one.as_table(), "queue", file_);
      QueueSetup& queue = scenario_.queues[queue_of(table, "number", std::nullopt)];
      queue.priority = table.small<std::uint32_t>("priority", 0, 3);
      queue.weight = table.small<std::uint32_t>("weight", 1, 255);
      queue.rate = table.small<std::uint32_t>("rate", 0, (1U << 24) - 1);
      table.finish();
    }
  }

  void read_steps(Table& top) {
    const toml::node* const node = top.find("steps");
    const toml::array* const steps = node == nullptr ? nullptr : node->as_array();
    if (steps == nullptr || steps->empty() || !steps->is_homogeneous<toml::table>()) {
      top.fail("'steps' is missing: steps = [ { do = \"fill\", length = \"64KiB\" }, { do = \"wait\" } ]");
    }
    if (steps->size() > kMostSteps) {
      top.fail(fmt::format("'steps' has {} steps: a scenario has at most {}", steps->size(), kMostSteps));
    }
    for (const toml::node& one : *steps) {
      const auto number = scenario_.steps.size() + 1;
      Table step(*one.as_table(), fmt::format("step {}", number), file_);
      scenario_.steps.push_back({step.line(), read_step(step)});
      step.finish();
    }
  }

  decltype(Step::action) read_step(Table& step) {
    const std::string what = step.text("do", "");
    const auto job =
        std::find_if(kOperations.begin(), kOperations.end(), [&](const auto& o) { return o.first == what; });
    if (job != kOperations.end()) return read_submit(step, job->second);
    if (what == "run") return RunStep{step.number("cycles", std::nullopt, kMostCycles)};
    if (what == "cancel") return CancelStep{queue_of(step), slot_of(step), generation_of(step)};
    if (what == "wait") return read_wait(step);
    if (what == "drain") return DrainStep{queue_of(step)};
    if (what == "abort") return AbortStep{queue_of(step)};
    if (what == "reset") return ResetStep{};
    if (what == "fault") return read_fault(step);
    if (what == "write") {
      return WriteStep{address_of(step), step.small<std::uint32_t>("value", std::nullopt), step.flag("accepted")};
    }
    if (what == "read") {
      ReadStep read{address_of(step), std::nullopt};
      if (step.find("value") != nullptr) read.value = step.small<std::uint32_t>("value", std::nullopt);
      return read;
    }
    if (what == "record") return RecordStep{step.number("cycles", std::nullopt, 10'000)};
    step.fail(fmt::format(
        "'do' is {}, which is not known: give one of {}, run, cancel, wait, drain, abort, reset, fault, write, read, "
        "record",
        in_quotes(what), list(kOperations)));
  }

  SubmitStep read_submit(Table& step, std::uint8_t operation) {
    SubmitStep submit;
    submit.operation = operation;
    submit.queue = queue_of(step);
    submit.slot = slot_of(step);
    submit.generation = generation_of(step);
    submit.doorbell = step.flag("doorbell").value_or(true);
    if (operation == ring::kOpFence || operation == ring::kOpNoop) return submit;
    submit.pattern = step.number("pattern", 0);
    const toml::node* const list = step.find("extents");
    if (list == nullptr) {
      submit.extents = {{step.number("offset", 0, kMostPlace), step.number("length", std::nullopt, kMostPlace)}};
    } else {
      const toml::array* const extents = list->as_array();
      if (extents == nullptr || extents->empty()) step.fail("'extents' must be [[offset, length], ...]");
      for (const toml::node& one : *extents) {
        const toml::array* const pair = one.as_array();
        if (pair == nullptr || pair->size() != 2) step.fail("'extents' must be [[offset, length], ...]");
        submit.extents.push_back(
            {step.number_of((*pair)[0], "extents", kMostPlace), step.number_of((*pair)[1], "extents", kMostPlace)});
      }
    }
    return submit;
  }

  WaitStep read_wait(Table& step) {
    WaitStep wait{queue_of(step), slot_of(step), generation_of(step)};
    wait.max_cycles = step.number("max_cycles", wait.max_cycles, kMostCycles);
    wait.outcome = step.maybe_one_of("outcome", kOutcomes);
    wait.cause = step.maybe_one_of("cause", kCauses);
    if (step.find("bytes") != nullptr) wait.bytes = step.number("bytes", std::nullopt);
    return wait;
  }

  FaultStep read_fault(Table& step) {
    FaultStep fault;
    fault.kind = static_cast<FaultStep::Kind>(step.one_of("kind", step.text("kind", ""), kFaults));
    if (fault.kind == FaultStep::Kind::SlaveError || fault.kind == FaultStep::Kind::DecodeError) {
      fault.offset = step.number("offset", std::nullopt, scenario_.memory_bytes - 1);
      fault.length = step.number("length", std::nullopt, scenario_.memory_bytes - fault.offset);
    }
    if (fault.kind == FaultStep::Kind::Silent) {
      fault.queue = queue_of(step);
      if (!build_->id_per_queue) step.fail(fmt::format("build {} has one AXI ID for all queues", build_->name));
    }
    if (fault.kind == FaultStep::Kind::Hang) fault.after_bursts = step.number("after_bursts", std::nullopt);
    return fault;
  }

  std::uint32_t queue_of(Table& table, std::string_view key = "queue", std::optional<std::uint64_t> otherwise = 0) {
    return table.small<std::uint32_t>(key, otherwise, build_->queues - 1);
  }
  static std::uint16_t slot_of(Table& table) { return table.small<std::uint16_t>("slot", 0); }
  static std::uint32_t generation_of(Table& table) { return table.small<std::uint32_t>("generation", 1); }
  static std::uint32_t address_of(Table& table) {
    const auto address = table.small<std::uint32_t>("address", std::nullopt, 0xFFC);
    if (address % 4 != 0) table.fail(fmt::format("'address = {:#x}' is not a multiple of 4", address));
    return address;
  }

  const toml::table& root_;
  const std::string& file_;
  const std::string& build_name_;
  const RtlBuild* build_ = nullptr;
  Scenario scenario_;
};

}  // namespace

std::string operation_name(std::uint8_t operation) { return name_of(operation, kOperations); }
std::string outcome_name(std::uint8_t outcome) { return name_of(outcome, kOutcomes); }
std::string cause_name(std::uint8_t cause) { return name_of(cause, kCauses); }

Scenario parse_scenario(std::string_view text, const std::string& name, const std::string& build) {
  if (text.size() > kMostText) {
    throw ScenarioError(
        fmt::format("{}:1: the text has {} bytes or more: a scenario has at most {}", name, text.size(), kMostText));
  }
  try {
    const toml::table root = parse_toml(text);
    return Reader(root, name, build).read();
  } catch (const TomlError& error) {
    throw ScenarioError(fmt::format("{}:{}: {}", name, error.line(), error.what()));
  }
}

Scenario read_scenario(const std::filesystem::path& file, const std::string& build) {
  const auto text = read_whole_file(file.string(), ByteCount(kMostText));
  if (!text) throw ScenarioError(text.error().message);
  return parse_scenario(*text, file.string(), build);
}

}  // namespace sluice::inline scenario
