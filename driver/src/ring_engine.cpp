// SPDX-License-Identifier: Apache-2.0
#include "sluice/driver/ring_engine.hpp"

#include <fmt/format.h>

#include <atomic>
#include <bit>

#include "job_slots.hpp"
#include "windows.hpp"

namespace sluice {
namespace {

constexpr std::uint32_t kQueue0 = ring::kRegQueues;

/// Outcome and cause of a completion entry, if they are ones that a device may post.
bool plausible(std::uint8_t outcome, std::uint8_t cause) {
  const bool failed = outcome == static_cast<std::uint8_t>(Outcome::Failed);
  const bool known_outcome =
      outcome >= static_cast<std::uint8_t>(Outcome::Zeroed) && outcome <= static_cast<std::uint8_t>(Outcome::Failed);
  const bool known_cause = cause <= static_cast<std::uint8_t>(FailureCause::DecodeError);
  return known_outcome && known_cause && (failed == (cause != static_cast<std::uint8_t>(FailureCause::None)));
}

}  // namespace

RingEngine::RingEngine(std::unique_ptr<Transport> transport, const RingOptions& options)
    : transport_(std::move(transport)), options_(options), windows_(std::make_unique<Windows>()) {}

Result<std::unique_ptr<RingEngine>> RingEngine::create(std::unique_ptr<Transport> transport, const RingOptions& options,
                                                       std::span<const MemorySpan> windows) {
  std::unique_ptr<RingEngine> engine(new RingEngine(std::move(transport), options));
  if (auto identified = engine->identify(); !identified) return identified.error();
  if (auto ready = engine->set_up(windows); !ready) return ready.error();
  return engine;
}

Result<void> RingEngine::identify() {
  const std::uint32_t id = transport_->read_register(ring::kRegId);
  const std::uint32_t version = transport_->read_register(ring::kRegVersion);
  if (id != ring::kIdValue || (version >> 16) != (ring::kVersionValue >> 16)) {
    return Error{DriverErrc::DeviceMissing,
                 fmt::format("the device identifies itself as {:#010x} version {:#010x}: expected {:#010x} version "
                             "{:#06x}xxxx; load the scrub engine of this release",
                             id, version, ring::kIdValue, ring::kVersionValue >> 16)};
  }
  const std::uint32_t capabilities = transport_->read_register(ring::kRegCapabilities);
  data_bus_bytes_ = 1U << (capabilities & 0xFF);
  const std::uint32_t slots = 1U << ((capabilities >> 16) & 0xFF);
  if (!std::has_single_bit(options_.ring_entries) || options_.ring_entries < 2 || options_.ring_entries > slots) {
    return Error{
        DriverErrc::InvalidArgument,
        fmt::format("{} ring entries were asked for: give a power of two from 2 to {}", options_.ring_entries, slots)};
  }
  capabilities_ = {fmt::format("ring/{}", data_bus_bytes_ * 8), options_.ring_entries, ByteCount(ring::kMaxLengthBytes),
                   false};
  return {};
}

Result<void> RingEngine::write_checked(std::uint32_t queue_register, std::uint64_t value, bool wide) {
  const std::uint32_t offset = kQueue0 + queue_register;
  transport_->write_register(offset, static_cast<std::uint32_t>(value));
  std::uint64_t seen = transport_->read_register(offset);
  if (wide) {
    transport_->write_register(offset + 4, static_cast<std::uint32_t>(value >> 32));
    seen |= static_cast<std::uint64_t>(transport_->read_register(offset + 4)) << 32;
  }
  if (seen == value) return {};
  return Error{
      DriverErrc::DeviceMissing,
      fmt::format("register {:#05x} holds {:#x} after {:#x} was written: the device is in use or broken; reset "
                  "it and try again",
                  offset, seen, value)};
}

Result<void> RingEngine::set_up(std::span<const MemorySpan> windows) {
  if (windows.empty()) {
    return Error{DriverErrc::InvalidArgument, "no window was given: name the memory that the engine may write"};
  }
  Iova lowest{~0ULL};
  Iova limit{0};
  for (const MemorySpan window : windows) {
    auto iova = transport_->map(window);
    if (!iova) return iova.error();
    if (auto added = windows_->add(window, *iova); !added) return added.error();
    lowest = std::min(lowest, *iova);
    limit = std::max(limit, *iova + length_of(window));
  }
  auto submission = transport_->allocate_ring(ByteCount(sizeof(ring::Descriptor) * options_.ring_entries));
  if (!submission) return submission.error();
  auto completion = transport_->allocate_ring(ByteCount(sizeof(ring::CompletionEntry) * options_.ring_entries));
  if (!completion) return completion.error();
  submission_ = reinterpret_cast<ring::Descriptor*>(submission->memory.data());
  completion_ = reinterpret_cast<ring::CompletionEntry*>(completion->memory.data());
  slots_ = std::make_unique<JobSlots>(options_.ring_entries);
  iova_of_slot_.resize(options_.ring_entries);

  struct Setting {
    std::uint32_t queue_register;
    std::uint64_t value;
    bool wide;
  };
  const Setting settings[] = {
      {ring::kQueueCtrl, 0, false},
      {ring::kQueueRingLog2, static_cast<std::uint64_t>(std::countr_zero(options_.ring_entries)), false},
      {ring::kQueueSqBase, submission->iova.value(), true},
      {ring::kQueueCqBase, completion->iova.value(), true},
      {ring::kQueueWindowBase, lowest.value(), true},
      {ring::kQueueWindowLimit, limit.value(), true},
      {ring::kQueueCtrl, 1, false},
  };
  for (const Setting& setting : settings) {
    if (auto written = write_checked(setting.queue_register, setting.value, setting.wide); !written) {
      return written.error();
    }
  }
  transport_->write_register(ring::kRegCtrl, 1);
  last_progress_ = transport_->now();
  return {};
}

RingEngine::~RingEngine() {
  if (slots_ == nullptr) return;
  for (std::uint32_t slot = 0; slot < slots_->capacity(); ++slot) {
    if (slots_->held(slot)) cancel(slots_->id(slot));
  }
  std::array<Completion, 32> collected;
  while (slots_->held_count() > 0) poll(collected);
  transport_->write_register(kQueue0 + ring::kQueueCtrl, 0);
  transport_->write_register(ring::kRegCtrl, 0);
}

Result<std::size_t> RingEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (fault_) return *fault_;
  if (jobs.empty() || ids.size() < jobs.size()) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("{} jobs with room for {} names: give at least one job, and room for all their names",
                             jobs.size(), ids.size())};
  }
  if (auto checked = windows_->check(jobs, capabilities_.max_job_length); !checked) return checked.error();
  const std::size_t count = std::min<std::size_t>(jobs.size(), slots_->free_count());
  if (count == 0) {
    return Error{DriverErrc::Busy,
                 fmt::format("all {} ring entries are in use: collect completions first", slots_->capacity())};
  }
  if (slots_->held_count() == 0) last_progress_ = transport_->now();
  for (std::size_t index = 0; index < count; ++index) {
    ids[index] = slots_->take(jobs[index]);
    place_descriptor(ids[index].slot);
  }
  transport_->write_register(kQueue0 + ring::kQueueSqTail, sq_tail_);
  return count;
}

void RingEngine::place_descriptor(std::uint32_t slot) {
  const ScrubJob& job = slots_->job(slot);
  ring::Descriptor descriptor;
  descriptor.address = windows_->find(job.memory)->value();
  descriptor.length_bytes = job.memory.size();
  descriptor.pattern = job.pattern;
  descriptor.slot = static_cast<std::uint16_t>(slot);
  descriptor.operation = ring::kOpFill;
  descriptor.generation = slots_->id(slot).generation;
  submission_[sq_tail_ & (options_.ring_entries - 1)] = descriptor;
  ++sq_tail_;
}

CancelResult RingEngine::cancel(JobId id) {
  if (!slots_->holds(id)) return slots_->knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  if (fault_) return CancelResult::AlreadyFinished;
  transport_->write_register(kQueue0 + ring::kQueueCancelGeneration, id.generation);
  transport_->write_register(kQueue0 + ring::kQueueCancelSlot, id.slot);
  return CancelResult::Requested;
}

std::size_t RingEngine::poll(std::span<Completion> out) {
  if (fault_) return report_failed(out);
  std::size_t count = collect(out);
  if (count == 0 && slots_->held_count() > 0) {
    transport_->advance();
    count = collect(out);
    if (count == 0) watch();
  }
  if (fault_) count += report_failed(out.subspan(count));
  return count;
}

std::size_t RingEngine::collect(std::span<Completion> out) {
  std::size_t count = 0;
  while (count < out.size() && !fault_) {
    ring::CompletionEntry& entry = completion_[cq_head_ & (options_.ring_entries - 1)];
    const bool expected_phase = (cq_head_ & options_.ring_entries) == 0;
    const std::uint64_t status = std::atomic_ref(entry.status).load(std::memory_order_acquire);
    if (ring::CompletionEntry::phase(status) != expected_phase) break;
    const std::uint64_t first = entry.slot_and_bytes;
    const JobId id{ring::CompletionEntry::slot(first), ring::CompletionEntry::generation(status)};
    const std::uint64_t bytes = ring::CompletionEntry::bytes_zeroed(first);
    const std::uint8_t outcome = ring::CompletionEntry::outcome(status);
    const std::uint8_t cause = ring::CompletionEntry::cause(status);
    if (!slots_->holds(id) || !plausible(outcome, cause) || bytes > slots_->job(id.slot).memory.size() ||
        (outcome == static_cast<std::uint8_t>(Outcome::Zeroed) && bytes != slots_->job(id.slot).memory.size())) {
      fail(FailureCause::EngineFault,
           fmt::format("the device posted a completion that no job can have (slot {}, generation {}, outcome {}, cause "
                       "{}, {} bytes)",
                       id.slot, id.generation, outcome, cause, bytes));
      break;
    }
    out[count++] = {id, slots_->job(id.slot).cookie, static_cast<Outcome>(outcome), static_cast<FailureCause>(cause),
                    ByteCount(bytes)};
    slots_->give_back(id.slot);
    ++cq_head_;
  }
  if (count > 0) {
    transport_->write_register(kQueue0 + ring::kQueueCqHead, cq_head_);
    last_progress_ = transport_->now();
  }
  return count;
}

/// Notices a device that has stopped: a fault that it reports, or no beat and no completion for stall_timeout.
void RingEngine::watch() {
  const std::chrono::nanoseconds silence = transport_->now() - last_progress_;
  if (silence < options_.stall_timeout / 4) return;
  const std::uint32_t status = transport_->read_register(kQueue0 + ring::kQueueStatus);
  if ((status & (ring::kStatusFetchFault | ring::kStatusCompletionFault)) != 0) {
    fail(FailureCause::EngineFault, fmt::format("the device could not reach its rings (queue status {:#x})", status));
    return;
  }
  const std::uint64_t beats = read_counter(ring::kRegDataBeats);
  if (beats != last_beats_) {
    last_beats_ = beats;
    last_progress_ = transport_->now();
  } else if (silence >= options_.stall_timeout) {
    fail(FailureCause::Timeout, fmt::format("the device has moved nothing for {} us with {} jobs in flight",
                                            silence.count() / 1000, slots_->held_count()));
  }
}

void RingEngine::fail(FailureCause cause, const std::string& why) {
  fault_cause_ = cause;
  fault_ = Error{DriverErrc::EngineFailed,
                 why + "; the engine is out of use, its memory in flight must stay quarantined: reset the device"};
  transport_->write_register(kQueue0 + ring::kQueueCtrl, 0);
}

/// After a fault nothing is known about what was in flight: every job fails, with no byte reported as zeroed.
std::size_t RingEngine::report_failed(std::span<Completion> out) {
  std::size_t count = 0;
  for (std::uint32_t slot = 0; slot < slots_->capacity() && count < out.size(); ++slot) {
    if (!slots_->held(slot)) continue;
    out[count++] = {slots_->id(slot), slots_->job(slot).cookie, Outcome::Failed, fault_cause_, ByteCount(0)};
    slots_->give_back(slot);
  }
  return count;
}

std::uint64_t RingEngine::read_counter(std::uint32_t offset) {
  const std::uint64_t low = transport_->read_register(offset);
  return low | static_cast<std::uint64_t>(transport_->read_register(offset + 4)) << 32;
}

RingCounters RingEngine::counters() {
  return {read_counter(ring::kRegCycles), read_counter(ring::kRegDataBeats), read_counter(ring::kRegJobs),
          read_counter(ring::kRegJobsCancelled)};
}

}  // namespace sluice
