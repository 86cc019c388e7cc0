// SPDX-License-Identifier: Apache-2.0
#include "sluice/ring/ring_engine.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <exception>

#include "sluice/engine/job_slots.hpp"
#include "sluice/engine/windows.hpp"

namespace sluice::inline ring {
namespace {

constexpr std::uint32_t kNothingThere = 0xFFFFFFFF;  // what PCIe reads where no device is
constexpr std::uint32_t kEveryCause =
    ring::kIrqCauseCompletion | ring::kIrqCauseFault | ring::kIrqCauseQuarantine | ring::kIrqCauseDrained;
constexpr std::uint32_t kPriorities[] = {0, 3};  // background, urgent
constexpr std::uint32_t kMostQueues = 16;

std::uint8_t ring_operation(Operation operation) {
  switch (operation) {
    case Operation::Fill:
      return ring::kOpFill;
    case Operation::Verify:
      return ring::kOpVerify;
    case Operation::FillVerify:
      return ring::kOpFillVerify;
    case Operation::FillRandom:
      break;  // refused before: the device has no generator
  }
  return ring::kOpNoop;
}

/// Whether a device may post this outcome with this cause for such an operation.
bool plausible(std::uint8_t outcome, std::uint8_t cause, Operation operation) {
  const bool known_outcome = outcome >= ring::kOutcomeZeroed && outcome <= ring::kOutcomeFailed;
  const bool known_cause = cause <= ring::kCauseTimeout || (cause == ring::kCauseMismatch && reads_back(operation));
  return known_outcome && known_cause && ((outcome == ring::kOutcomeFailed) == (cause != ring::kCauseNone));
}

}  // namespace

RingEngine::RingEngine(std::unique_ptr<Transport> transport, const RingOptions& options)
    : transport_(std::move(transport)), options_(options), windows_(std::make_unique<Windows>()) {}

Result<std::unique_ptr<RingEngine>> RingEngine::create(std::unique_ptr<Transport> transport, const RingOptions& options,
                                                       std::span<const MemorySpan> windows) {
  std::unique_ptr<RingEngine> engine(new RingEngine(std::move(transport), options));
  if (auto identified = engine->identify(); !identified) return identified.error();
  if (auto resting = engine->quiesce(); !resting) return resting.error();
  if (auto ready = engine->set_up(windows); !ready) return ready.error();
  return engine;
}

/// A process that was killed may have left jobs to the device. Its reset aborts them and waits for the bus. A
/// completion ring that the process left full would hold the reset back for ever: its entries are given back.
Result<void> RingEngine::quiesce() {
  transport_->write_register(ring::kRegCtrl, ring::kEngineCtrlReset);
  const std::chrono::nanoseconds start = transport_->now();
  while ((transport_->read_register(ring::kRegCtrl) & ring::kEngineCtrlReset) != 0) {
    for (std::uint32_t queue = 0; queue < device_queues_; ++queue) {
      const std::uint32_t registers = ring::kQueueBase + queue * ring::kQueueStride;
      transport_->write_register(registers + ring::kQueueCqHead,
                                 transport_->read_register(registers + ring::kQueueCqTail));
    }
    if (transport_->now() - start >= options_.stall_timeout) {
      return Error{DriverErrc::EngineFailed,
                   fmt::format("the device did not come to rest within {} ms of its reset: something may still be "
                               "written, reset the card",
                               std::chrono::duration_cast<std::chrono::milliseconds>(options_.stall_timeout).count())};
    }
    transport_->advance();
  }
  return {};
}

Result<void> RingEngine::identify() {
  const std::uint32_t id = transport_->read_register(ring::kRegId);
  const std::uint32_t version = transport_->read_register(ring::kRegVersion);
  if (id != ring::kId || (version >> 16) != (ring::kVersion >> 16)) {
    return Error{DriverErrc::DeviceMissing,
                 fmt::format("the device identifies itself as {:#010x} version {:#010x}: expected {:#010x} version "
                             "{:#06x}xxxx; load the scrub engine of this release",
                             id, version, ring::kId, ring::kVersion >> 16)};
  }
  const std::uint32_t capabilities = transport_->read_register(ring::kRegCapabilities);
  data_bus_bytes_ = 1U << (capabilities & 0xFF);
  const std::uint32_t slots = 1U << ((capabilities >> 16) & 0xFF);
  device_queues_ = (capabilities >> 8) & 0xFF;
  if (device_queues_ == 0 || device_queues_ > kMostQueues) {
    return Error{
        DriverErrc::DeviceMissing,
        fmt::format("the device says that it has {} queues (capabilities {:#010x}), expected 1 to {}: reset it",
                    device_queues_, capabilities, kMostQueues)};
  }
  queues_.resize(std::min<std::size_t>(device_queues_, std::size(kPriorities)));
  if (!std::has_single_bit(options_.ring_entries) || options_.ring_entries < 2 || options_.ring_entries > slots) {
    return Error{
        DriverErrc::InvalidArgument,
        fmt::format("{} ring entries were asked for: give a power of two from 2 to {}", options_.ring_entries, slots)};
  }
  capabilities_ = {fmt::format("ring/{}", data_bus_bytes_ * 8),
                   options_.ring_entries,
                   ByteCount(ring::kMaxLengthBytes),
                   false,
                   transport_->simulated_clock_mhz(),
                   true};
  return {};
}

Result<void> RingEngine::write_checked(std::uint32_t offset, std::uint64_t value, bool wide) {
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
  Iova highest{0};
  for (const MemorySpan window : windows) {
    auto iova = transport_->map(window);
    if (!iova) return iova.error();
    if (auto added = windows_->add(window, *iova); !added) return added.error();
    lowest = std::min(lowest, *iova);
    highest = std::max(highest, *iova + ByteCount(window.size() - 1));
  }
  for (std::size_t index = 0; index < queues_.size(); ++index) {
    Queue& queue = queues_[index];
    queue.registers = ring::kQueueBase + static_cast<std::uint32_t>(index) * ring::kQueueStride;
    if (auto ready = set_up_queue(queue, kPriorities[index], lowest, highest); !ready) return ready.error();
  }
  slots_ = std::make_unique<JobSlots>(options_.ring_entries);
  queue_of_slot_.resize(options_.ring_entries);
  interrupt_fd_ = transport_->interrupt_fd();
  if (interrupt_fd_ >= 0) {
    transport_->write_register(ring::kRegIer, (1U << queues_.size()) - 1);
    transport_->write_register(ring::kRegGie, 1);
  }
  transport_->write_register(ring::kRegCtrl, ring::kEngineCtrlEnable);
  last_progress_ = transport_->now();
  return {};
}

Result<void> RingEngine::set_up_queue(Queue& queue, std::uint32_t priority, Iova window_base, Iova window_limit) {
  auto submission = transport_->allocate_ring(ByteCount(sizeof(ring::Descriptor) * options_.ring_entries));
  if (!submission) return submission.error();
  auto completion = transport_->allocate_ring(ByteCount(sizeof(ring::CompletionEntry) * options_.ring_entries));
  if (!completion) return completion.error();
  queue.submission = reinterpret_cast<ring::Descriptor*>(submission->memory.data());
  queue.completion = reinterpret_cast<ring::CompletionEntry*>(completion->memory.data());

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
      {ring::kQueueWindowBase, window_base.value(), true},
      {ring::kQueueWindowLimit, window_limit.value(), true},
      {ring::kQueueLock, 1, false},
      {ring::kQueueQos, priority | 1U << 8, false},
      {ring::kQueueCtrl, ring::kQueueCtrlBitEnable, false},
  };
  for (const Setting& setting : settings) {
    auto written = write_checked(queue.registers + setting.queue_register, setting.value, setting.wide);
    if (!written) return written.error();
  }
  return {};
}

RingEngine::~RingEngine() {
  if (slots_ == nullptr) return;
  try {
    come_to_rest();
  } catch (const std::exception&) {  // a simulated device that has broken its own rules: it does nothing any more
  }
}

void RingEngine::come_to_rest() {
  for (std::uint32_t slot = 0; slot < slots_->capacity(); ++slot) {
    if (slots_->held(slot)) cancel(slots_->id(slot));
  }
  std::array<Completion, 32> collected;
  while (slots_->held_count() > 0) poll(collected);
  for (const Queue& queue : queues_) transport_->write_register(queue.registers + ring::kQueueCtrl, 0);
  if (interrupt_fd_ >= 0) transport_->write_register(ring::kRegGie, 0);
  transport_->write_register(ring::kRegCtrl, 0);
}

/// The queue of this urgency, or one that still works. There is one while there is no fault.
std::size_t RingEngine::queue_for(Urgency urgency) const {
  const std::size_t wanted = urgency == Urgency::Urgent ? queues_.size() - 1 : 0;
  return queues_[wanted].quarantined ? queues_.size() - 1 - wanted : wanted;
}

Result<std::size_t> RingEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (fault_) return *fault_;
  if (auto room = check_room(jobs, ids); !room) return room.error();
  if (auto checked = windows_->check(jobs, capabilities_); !checked) return checked.error();
  const std::size_t count = std::min<std::size_t>(jobs.size(), slots_->free_count());
  if (count == 0) return all_in_use(slots_->capacity());
  if (slots_->held_count() == 0) {
    last_progress_ = transport_->now();
    next_look_ = last_progress_ + options_.stall_timeout / 4;
  }
  for (std::size_t index = 0; index < count; ++index) {
    ids[index] = slots_->take(jobs[index]);
    place_descriptor(ids[index].slot);
  }
  for (Queue& queue : queues_) {
    if (!queue.rung) transport_->write_register(queue.registers + ring::kQueueSqTail, queue.sq_tail);
    queue.rung = true;
  }
  return count;
}

void RingEngine::place_descriptor(std::uint32_t slot) {
  const ScrubJob& job = slots_->job(slot);
  queue_of_slot_[slot] = queue_for(job.urgency);
  Queue& queue = queues_[queue_of_slot_[slot]];
  ring::Descriptor descriptor;
  descriptor.address = windows_->find(job.memory)->value();
  descriptor.length_bytes = job.memory.size();
  descriptor.pattern = job.pattern;
  descriptor.slot = static_cast<std::uint16_t>(slot);
  descriptor.operation = ring_operation(job.operation);
  descriptor.generation = slots_->id(slot).generation;
  queue.submission[queue.sq_tail & (options_.ring_entries - 1)] = descriptor;
  ++queue.sq_tail;
  queue.rung = false;
}

CancelResult RingEngine::cancel(JobId id) {
  if (!slots_->holds(id)) return slots_->knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  if (fault_) return CancelResult::AlreadyFinished;
  const std::uint32_t registers = queues_[queue_of_slot_[id.slot]].registers;
  transport_->write_register(registers + ring::kQueueCancelGeneration, id.generation);
  transport_->write_register(registers + ring::kQueueCancelSlot, id.slot);
  return CancelResult::Requested;
}

/// Before the rings are read: what comes after that interrupts again. The pin is a level, so it is lowered before the
/// last of what it has caused is forgotten.
void RingEngine::take_interrupt() {
  std::uint64_t raised = 0;
  if (::read(interrupt_fd_, &raised, sizeof raised) != sizeof raised) return;
  next_look_ = transport_->now();  // it may be that the watchdog has fired
  for (const Queue& queue : queues_) {
    transport_->write_register(queue.registers + ring::kQueueCause, kEveryCause);
  }
  if (::read(interrupt_fd_, &raised, sizeof raised) < 0) return;  // none came meanwhile
}

std::size_t RingEngine::poll(std::span<Completion> out) {
  std::size_t count = 0;
  if (!fault_) {
    if (interrupt_fd_ >= 0) take_interrupt();
    count = collect_all(out);
    if (count == 0 && slots_->held_count() > 0) {
      transport_->advance();
      count = collect_all(out);
    }
    if (slots_->held_count() > 0 && watch()) count += collect_all(out.subspan(count));
  }
  if (fault_) count += report_failed(out.subspan(count));
  // There may be more, which has interrupted already.
  if (interrupt_fd_ >= 0 && count == out.size() && slots_->held_count() > 0) ::eventfd_write(interrupt_fd_, 1);
  return count;
}

/// Urgent completions first: somebody waits for them.
std::size_t RingEngine::collect_all(std::span<Completion> out) {
  std::size_t count = 0;
  for (auto queue = queues_.rbegin(); queue != queues_.rend(); ++queue) {
    count += collect(*queue, out.subspan(count));
    if (queue->quarantined) count += report_unfetched(*queue, out.subspan(count));
  }
  return count;
}

/// What a quarantined queue has taken the device completes; the rest it will never take, and so never writes. Where the
/// bus does not let completions through either, nothing more is expected of the queue after stall_timeout.
std::size_t RingEngine::report_unfetched(Queue& queue, std::span<Completion> out) {
  const std::uint32_t taken = transport_->read_register(queue.registers + ring::kQueueSqHead);
  const bool overdue = transport_->now() - queue.quarantined_at >= options_.stall_timeout;
  queue.closed = queue.closed || overdue || static_cast<std::uint16_t>(taken) == queue.cq_head;
  if (!queue.closed) return 0;
  std::size_t count = 0;
  for (std::uint32_t slot = 0; slot < slots_->capacity() && count < out.size(); ++slot) {
    if (!slots_->held(slot) || &queues_[queue_of_slot_[slot]] != &queue) continue;
    out[count++] = {slots_->id(slot), slots_->job(slot).cookie, Outcome::Failed, FailureCause::Timeout, ByteCount(0)};
    slots_->give_back(slot);
  }
  return count;
}

bool RingEngine::possible(const ring::CompletionEntry& entry, const Queue& queue) const {
  const JobId id{entry.slot(), entry.generation()};
  if (!slots_->holds(id) || &queues_[queue_of_slot_[id.slot]] != &queue) return false;
  const ScrubJob& job = slots_->job(id.slot);
  const std::uint64_t length = job.memory.size();
  return plausible(entry.outcome(), entry.cause(), job.operation) && entry.bytes_zeroed() <= length &&
         (entry.outcome() != ring::kOutcomeZeroed || entry.bytes_zeroed() == length);
}

std::size_t RingEngine::collect(Queue& queue, std::span<Completion> out) {
  std::size_t count = 0;
  while (count < out.size() && !fault_ && !queue.closed) {
    ring::CompletionEntry& in_ring = queue.completion[queue.cq_head & (options_.ring_entries - 1)];
    const bool expected_phase = (queue.cq_head & options_.ring_entries) == 0;
    ring::CompletionEntry entry;
    entry.high = std::atomic_ref(in_ring.high).load(std::memory_order_acquire);
    if (entry.phase() != expected_phase) break;
    entry.low = in_ring.low;
    if (!possible(entry, queue)) {
      fail(FailureCause::EngineFault,
           fmt::format("the device posted a completion that no job can have (slot {}, generation {}, outcome {}, cause "
                       "{}, {} bytes)",
                       entry.slot(), entry.generation(), entry.outcome(), entry.cause(), entry.bytes_zeroed()));
      break;
    }
    const std::uint32_t slot = entry.slot();
    out[count++] = {slots_->id(slot), slots_->job(slot).cookie, static_cast<Outcome>(entry.outcome()),
                    static_cast<FailureCause>(entry.cause()), ByteCount(entry.bytes_zeroed())};
    slots_->give_back(slot);
    ++queue.cq_head;
    if (entry.cause() == ring::kCauseTimeout && !queue.quarantined) quarantine(queue);
  }
  if (count > 0) {
    transport_->write_register(queue.registers + ring::kQueueCqHead, queue.cq_head);
    last_progress_ = transport_->now();
  }
  return count;
}

/// The device's watchdog has given a queue up. The device completes what the queue holds; the other queue goes on.
void RingEngine::quarantine(Queue& queue) {
  queue.quarantined = true;
  queue.quarantined_at = transport_->now();
  for (const Queue& other : queues_) {
    if (!other.quarantined) return;
  }
  fault_cause_ = FailureCause::Timeout;
  fault_ = Error{DriverErrc::EngineFailed,
                 "the bus behind the device does not answer, all queues are quarantined; the memory of their failed "
                 "jobs must stay quarantined: reset the device"};
}

/// Notices a device that has stopped: a fault that it reports, a queue that it has given up, whatever the other one
/// does, or no beat and no completion for stall_timeout. Returns whether a queue has been given up since the last look.
bool RingEngine::watch() {
  const std::chrono::nanoseconds now = transport_->now();
  if (now < next_look_) return false;
  next_look_ = now + options_.stall_timeout / 4;
  bool given_up = false;
  for (Queue& queue : queues_) {
    const std::uint32_t status = transport_->read_register(queue.registers + ring::kQueueStatus);
    if (status == kNothingThere) {
      fail(FailureCause::EngineFault, "the device is gone: its registers read as ones");
      return false;
    }
    if ((status & (ring::kStatusFetchFault | ring::kStatusCompletionFault)) != 0) {
      fail(FailureCause::EngineFault, fmt::format("the device could not reach its rings (queue status {:#x})", status));
      return false;
    }
    if ((status & ring::kStatusQuarantined) != 0 && !queue.quarantined) {
      quarantine(queue);
      given_up = true;
    }
  }
  if (const std::uint64_t beats = progress(); beats != last_beats_) {
    last_beats_ = beats;
    last_progress_ = now;
  } else if (now - last_progress_ >= options_.stall_timeout && !fault_) {
    fail(FailureCause::Timeout, fmt::format("the device has moved nothing for {} us with {} jobs in flight",
                                            (now - last_progress_).count() / 1000, slots_->held_count()));
  }
  return given_up;
}

/// Beats that the device has moved.
std::uint64_t RingEngine::progress() { return read_counter(ring::kRegWriteBeats) + read_counter(ring::kRegReadBeats); }

bool RingEngine::reaches(MemorySpan memory) const { return windows_->find(memory).has_value(); }

void RingEngine::fail(FailureCause cause, const std::string& why) {
  fault_cause_ = cause;
  fault_ = Error{DriverErrc::EngineFailed,
                 why + "; the engine is out of use, its memory in flight must stay quarantined: reset the device"};
  for (const Queue& queue : queues_) {
    transport_->write_register(queue.registers + ring::kQueueCtrl, ring::kQueueCtrlBitAbort);
  }
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
  RingCounters counters{read_counter(ring::kRegCycles), read_counter(ring::kRegWriteBeats)};
  for (std::size_t index = 0; index < queues_.size(); ++index) {
    const std::uint32_t base = ring::kQueueCounterBase + static_cast<std::uint32_t>(index) * ring::kQueueCounterStride;
    counters.jobs += read_counter(base + ring::kQueueCounterJobs);
    counters.jobs_cancelled += read_counter(base + ring::kQueueCounterCancelled);
    counters.bytes_skipped += read_counter(base + ring::kQueueCounterSkippedBytes);
  }
  return counters;
}

}  // namespace sluice::inline ring
