// SPDX-License-Identifier: Apache-2.0
#include "sluice/scenario/player.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>

namespace sluice::inline scenario {
namespace {

constexpr std::uint64_t kSettleCycles = 200'000;  // for what nobody waited for

constexpr std::array kEngineCounters = {std::pair{"cycles", ring::kRegCycles},
                                        std::pair{"beats of data written", ring::kRegWriteBeats},
                                        std::pair{"beats of data read", ring::kRegReadBeats},
                                        std::pair{"beats of completions", ring::kRegRingBeats},
                                        std::pair{"cycles AW waited", ring::kRegStallAw},
                                        std::pair{"cycles W waited", ring::kRegStallW},
                                        std::pair{"cycles AR waited", ring::kRegStallAr},
                                        std::pair{"register writes refused", ring::kRegRefusals}};
constexpr std::array kQueueCounters = {std::pair{"jobs ended", ring::kQueueCounterJobs},
                                       std::pair{"jobs cancelled", ring::kQueueCounterCancelled},
                                       std::pair{"jobs failed", ring::kQueueCounterFailed},
                                       std::pair{"beats issued", ring::kQueueCounterBeats},
                                       std::pair{"bytes skipped by cancels", ring::kQueueCounterSkippedBytes},
                                       std::pair{"cycles held back by the rate", ring::kQueueCounterStallRate},
                                       std::pair{"cycles waited for the bus", ring::kQueueCounterStallBus},
                                       std::pair{"cycles the completion ring was full", ring::kQueueCounterStallRing}};

bool overlap(const RawEngine::Extent& a, const RawEngine::Extent& b) {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

bool writes(const SubmitStep& job) { return job.operation == ring::kOpFill || job.operation == ring::kOpFillVerify; }

class Player {
 public:
  Player(const Scenario& scenario, const std::string& name)
      : scenario_(scenario),
        name_(name),
        memory_(scenario.memory_bytes, std::byte{scenario.dirty}),
        expected_(scenario.memory_bytes, std::byte{scenario.dirty}),
        uncollected_(scenario.queues.size(), 0),
        open_(scenario.queues.size(), 0) {
    try {
      engine_ = std::make_unique<RawEngine>(scenario.options, MemorySpan(memory_), scenario.ring_log2);
    } catch (const std::runtime_error& error) {
      throw ScenarioError(error.what());
    }
  }

  PlayResult play() {
    engine_->device().set_cycle_observer([this](const CyclePins& pins) {
      if (record_left_ == 0) return;
      --record_left_;
      result_.recorded.push_back(pins);
    });
    try {
      start();
      for (const Step& step : scenario_.steps) {
        line_ = step.line;
        std::visit([this](const auto& action) { perform(action); }, step.action);
      }
      settle();
      read_counters();
    } catch (const RtlViolation& violation) {
      result_.problems.push_back(fmt::format("cycle {}: {}", now(), violation.what()));
    }
    check_untouched();
    result_.cycles = now();
    return std::move(result_);
  }

 private:
  [[nodiscard]] std::uint64_t now() { return engine_->device().cycles(); }
  void problem(const std::string& text) {
    result_.problems.push_back(fmt::format("{}:{}: cycle {}: {}", name_, line_, now(), text));
  }

  void start() {
    for (std::size_t q = 0; q < scenario_.queues.size(); ++q) {
      const QueueSetup& queue = scenario_.queues[q];
      engine_->write(ring::kQueueQos, queue.priority | queue.weight << 8, q);
      engine_->write(ring::kQueueRate, queue.rate, q);
    }
    if (scenario_.watchdog_cycles) engine_->write_engine(ring::kRegTimeout, *scenario_.watchdog_cycles);
    engine_->start();
    // Until the queues have swept their cancel tables.
    engine_->device().run_cycles(engine_->device().build().slots);
  }

  PlayedJob* find(std::uint32_t queue, std::uint16_t slot, std::uint32_t generation) {
    const auto found = std::find_if(result_.jobs.rbegin(), result_.jobs.rend(), [&](const PlayedJob& played) {
      return played.job.queue == queue && played.job.slot == slot && played.job.generation == generation;
    });
    return found == result_.jobs.rend() ? nullptr : &*found;
  }

  void perform(const SubmitStep& step) {
    for (std::uint64_t cycle = 0; open_[step.queue] == engine_->entries(); ++cycle) {
      if (cycle == kSettleCycles) {
        return problem(fmt::format("{} jobs of queue {} do not end: there is no room for one more", engine_->entries(),
                                   step.queue));
      }
      advance();
    }
    ring::Descriptor descriptor;
    if (step.extents.empty()) {
      descriptor = RawEngine::marker(step.operation, step.slot, step.generation);
    } else {
      descriptor =
          engine_->job(step.operation, step.extents[0].offset, step.extents[0].length, step.slot, step.generation);
      descriptor.pattern = step.pattern;
      if (step.extents.size() > 1) {
        if (list_bytes_ + step.extents.size() * sizeof(RawEngine::Extent) > RawEngine::kListBytes) {
          throw ScenarioError(fmt::format("{}:{}: all lists together have more than {} extents", name_, line_,
                                          RawEngine::kListBytes / sizeof(RawEngine::Extent)));
        }
        engine_->use_list(descriptor, step.extents, list_bytes_);
        // Lists start at multiples of 64 bytes.
        list_bytes_ += (step.extents.size() * sizeof(RawEngine::Extent) + 63) / 64 * 64;
      }
    }
    result_.jobs.push_back({line_, step, now(), {}, 0});
    ++open_[step.queue];
    engine_->place(descriptor, step.queue);
    if (step.doorbell) engine_->ring_doorbell(step.queue);
    collect();
  }
  void perform(const RunStep& step) {
    for (std::uint64_t cycle = 0; cycle < step.cycles; ++cycle) advance();
  }
  void perform(const CancelStep& step) {
    engine_->cancel(step.slot, step.generation, step.queue);
    collect();
  }
  void perform(const WaitStep& step) {
    const PlayedJob* const job = find(step.queue, step.slot, step.generation);
    if (job == nullptr) {
      problem(fmt::format("wait: there was no job in slot {} of queue {} with generation {}", step.slot, step.queue,
                          step.generation));
      return;
    }
    for (std::uint64_t cycle = 0; cycle < step.max_cycles && !job->completion; ++cycle) advance();
    release();
    if (!job->completion) {
      problem(fmt::format("wait: no completion for slot {} of queue {} in {} cycles", step.slot, step.queue,
                          step.max_cycles));
      return;
    }
    const auto compare = [&](const char* what, const std::string& got, const std::string& wanted) {
      if (wanted != got) problem(fmt::format("wait: {} is {}, expected {}", what, got, wanted));
    };
    const RawEngine::Completion& completion = *job->completion;
    if (step.outcome) compare("outcome", outcome_name(completion.outcome), outcome_name(*step.outcome));
    if (step.cause) compare("cause", cause_name(completion.cause), cause_name(*step.cause));
    if (step.bytes) compare("bytes", std::to_string(completion.bytes), std::to_string(*step.bytes));
  }
  void perform(const DrainStep& step) {
    engine_->write(ring::kQueueCtrl, 0, step.queue);
    until_idle(step.queue);
  }
  void perform(const AbortStep& step) {
    engine_->write(ring::kQueueCtrl, ring::kQueueCtrlBitAbort, step.queue);
    until_idle(step.queue);
  }
  void perform(const ResetStep& /*step*/) {
    engine_->write_engine(ring::kRegCtrl, ring::kEngineCtrlReset);
    for (std::uint64_t cycle = 0; (engine_->read_engine(ring::kRegCtrl) & ring::kEngineCtrlReset) != 0; ++cycle) {
      collect();
      if (cycle > kSettleCycles) return problem("reset: the bus still owes answers");
    }
    collect();
    for (std::size_t q = 0; q < scenario_.queues.size(); ++q) engine_->set_up(q);
    std::fill(uncollected_.begin(), uncollected_.end(), 0);
    std::fill(open_.begin(), open_.end(), 0);
    start();
  }
  void perform(const FaultStep& step) {
    const MemorySpan place = step.length == 0 ? MemorySpan{} : MemorySpan(memory_).subspan(step.offset, step.length);
    switch (step.kind) {
      case FaultStep::Kind::None:
        faults_ = {};
        break;
      case FaultStep::Kind::SlaveError:
      case FaultStep::Kind::DecodeError:
        faults_.bad_ranges.push_back({place, step.kind == FaultStep::Kind::DecodeError});
        break;
      case FaultStep::Kind::Silent:
        faults_.silent_queue = step.queue;
        break;
      case FaultStep::Kind::Hang:
        faults_.hang_after_bursts = step.after_bursts;
        break;
      case FaultStep::Kind::RingErrors:
        faults_.ring_errors = true;
        break;
    }
    engine_->device().set_faults(faults_);
  }
  void perform(const WriteStep& step) {
    const bool accepted = engine_->write_engine(step.address, step.value);
    if (step.accepted && *step.accepted != accepted) {
      problem(fmt::format("write: {:#05x} was {}", step.address, accepted ? "accepted" : "refused"));
    }
    collect();
  }
  void perform(const ReadStep& step) {
    const std::uint32_t value = engine_->read_engine(step.address);
    if (step.value && *step.value != value) {
      problem(fmt::format("read: {:#05x} holds {:#x}, expected {:#x}", step.address, value, *step.value));
    }
    collect();
  }
  void perform(const RecordStep& step) { record_left_ = step.cycles; }

  void until_idle(std::uint32_t queue) {
    for (std::uint64_t attempt = 0; attempt < kSettleCycles; ++attempt) {
      const bool idle = (engine_->read(ring::kQueueStatus, queue) & ring::kStatusIdle) != 0;
      collect();
      if (idle) return;
    }
    problem(fmt::format("queue {} does not become idle", queue));
  }

  void advance() {
    engine_->device().run_cycles(1);
    collect();
  }
  /// Takes what has come into the completion rings, and looks at the memory.
  void collect() {
    for (std::uint32_t q = 0; q < uncollected_.size(); ++q) {
      while (const auto completion = engine_->try_collect(q)) {
        ++uncollected_[q];
        take(q, *completion);
      }
      if (uncollected_[q] >= engine_->entries() / 2) release(q);
    }
  }
  void release() {
    for (std::uint32_t q = 0; q < uncollected_.size(); ++q) {
      if (uncollected_[q] > 0) release(q);
    }
  }
  void release(std::uint32_t q) {
    uncollected_[q] = 0;
    engine_->release_completions(q);
  }
  void take(std::uint32_t q, const RawEngine::Completion& completion) {
    PlayedJob* const job = find(q, completion.slot, completion.generation);
    if (job == nullptr || job->completion) {
      return problem(fmt::format("queue {} completed slot {}, generation {}, {}", q, completion.slot,
                                 completion.generation, job == nullptr ? "which is no job" : "a second time"));
    }
    --open_[q];
    job->completion = completion;
    job->ended = now();
    check(*job);
  }

  /// The memory of a job at its completion. Where jobs overlap nobody can say what it holds.
  void check(const PlayedJob& played) {
    const SubmitStep& job = played.job;
    const auto shared = std::any_of(result_.jobs.begin(), result_.jobs.end(), [&](const PlayedJob& other) {
      return &other != &played && writes(other.job) &&
             std::any_of(other.job.extents.begin(), other.job.extents.end(), [&](const auto& theirs) {
               return std::any_of(job.extents.begin(), job.extents.end(),
                                  [&](const auto& ours) { return overlap(ours, theirs); });
             });
    });
    // A fill-then-verify that failed in its second half counts what was read; all of it has been written.
    const bool exact = played.completion->cause == ring::kCauseNone;
    std::uint64_t left = played.completion->bytes;
    for (const RawEngine::Extent& extent : job.extents) {
      if (extent.offset >= scenario_.memory_bytes || extent.length > scenario_.memory_bytes - extent.offset) break;
      const std::uint64_t prefix = std::min(left, extent.length);
      left -= prefix;
      if (!shared) check_extent(played, extent, prefix, exact);
      std::copy_n(memory_.begin() + static_cast<std::ptrdiff_t>(extent.offset), extent.length,
                  expected_.begin() + static_cast<std::ptrdiff_t>(extent.offset));
    }
  }
  void check_extent(const PlayedJob& played, const RawEngine::Extent& extent, std::uint64_t prefix, bool exact) {
    const SubmitStep& job = played.job;
    for (std::uint64_t offset = extent.offset; offset < extent.offset + extent.length; ++offset) {
      const bool zeroed = offset < extent.offset + prefix;
      const auto pattern = static_cast<std::byte>(job.pattern >> (8 * (offset % 8)));
      const std::byte holds = memory_[offset];
      if (writes(job) ? (zeroed ? holds != pattern : exact && holds != expected_[offset])
                      : holds != expected_[offset] || (zeroed && holds != pattern)) {
        return problem(fmt::format("slot {} of queue {} completed {} bytes, but the byte at offset {:#x} is {:#04x}",
                                   job.slot, job.queue, played.completion->bytes, offset,
                                   static_cast<unsigned>(holds)));
      }
    }
  }
  void check_untouched() {
    // What has not ended, and what the watchdog has given up, may still be written: with the job's pattern.
    for (const PlayedJob& played : result_.jobs) {
      const bool given_up = played.completion && played.completion->cause == ring::kCauseTimeout;
      if ((played.completion && !given_up) || !writes(played.job)) continue;
      for (const RawEngine::Extent& extent : played.job.extents) {
        if (extent.offset >= scenario_.memory_bytes || extent.length > scenario_.memory_bytes - extent.offset) continue;
        for (std::uint64_t offset = extent.offset; offset < extent.offset + extent.length; ++offset) {
          const auto pattern = static_cast<std::byte>(played.job.pattern >> (8 * (offset % 8)));
          if (memory_[offset] == pattern) expected_[offset] = pattern;
        }
      }
    }
    const auto found = std::mismatch(expected_.begin(), expected_.end(), memory_.begin());
    if (found.first != expected_.end()) {
      result_.problems.push_back(fmt::format("the byte at offset {:#x} was written and belongs to no job under way",
                                             found.first - expected_.begin()));
    }
  }

  /// Lets the jobs that nobody waited for end, if they do.
  void settle() {
    const auto open = [this] {
      return std::any_of(result_.jobs.begin(), result_.jobs.end(), [](const auto& job) { return !job.completion; });
    };
    for (std::uint64_t cycle = 0; cycle < kSettleCycles && open(); ++cycle) advance();
    while (record_left_ > 0) advance();
  }
  void read_counters() {
    engine_->device().run_cycles(8 * (scenario_.queues.size() + 1) + 8);  // counters lag by so much
    for (const auto& [name, offset] : kEngineCounters) {
      result_.counters.push_back({fmt::format("engine: {}", name), engine_->engine_counter(offset)});
    }
    for (std::size_t q = 0; q < scenario_.queues.size(); ++q) {
      for (const auto& [name, offset] : kQueueCounters) {
        result_.counters.push_back({fmt::format("queue {}: {}", q, name), engine_->queue_counter(offset, q)});
      }
    }
  }

  const Scenario& scenario_;
  const std::string& name_;
  std::vector<std::byte> memory_;  // what the engine may touch
  std::vector<std::byte> expected_;
  std::vector<std::uint32_t> uncollected_;  // completions not given back yet, by queue
  std::vector<std::uint32_t> open_;         // jobs without a completion, by queue
  std::unique_ptr<RawEngine> engine_;
  BusFaults faults_;
  std::size_t list_bytes_ = 0;
  std::uint64_t record_left_ = 0;
  std::uint32_t line_ = 0;
  PlayResult result_;
};

}  // namespace

PlayResult play(const Scenario& scenario, const std::string& name) {
  try {
    return Player(scenario, name).play();
  } catch (const std::bad_alloc&) {
    throw ScenarioError(
        fmt::format("{}: {} bytes of memory cannot be had: lower 'memory'", name, scenario.memory_bytes));
  }
}

}  // namespace sluice::inline scenario
