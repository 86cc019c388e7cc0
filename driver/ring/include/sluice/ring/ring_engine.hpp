// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/ring/ring_format.hpp"
#include "sluice/ring/transport.hpp"

namespace sluice::inline engine {
class JobSlots;
class Windows;
}  // namespace sluice::inline engine

namespace sluice::inline ring {

struct RingOptions {
  std::uint32_t ring_entries = 64;                     ///< Power of two, 2 to the device's number of slots.
  std::chrono::nanoseconds stall_timeout{10'000'000};  ///< No beat and no completion for so long: the engine failed.
};

/// What the device has counted since its reset, over all queues.
struct RingCounters {
  std::uint64_t cycles = 0;
  std::uint64_t data_beats = 0;
  std::uint64_t jobs = 0;
  std::uint64_t jobs_cancelled = 0;
  std::uint64_t bytes_skipped = 0;  ///< by cancels
};

/// Drives a scrub engine through rings in host memory (docs/RING.md). The same code for every transport. Urgent and
/// background jobs go to queues of their own where the device has more than one; what the device can do is read from
/// it. It has a completion_fd() where the transport has interrupts. poll() is what lets the device make progress where
/// the device is simulated in this process, and what notices that it has stopped.
class RingEngine final : public Engine {
 public:
  /// Sets the device up to write nothing but `windows`. The device's own window spans from the first of them to the
  /// last and is locked; that no job lies in a gap between is checked here. Errors: DeviceMissing, InvalidArgument,
  /// NoResources.
  [[nodiscard]] static Result<std::unique_ptr<RingEngine>> create(std::unique_ptr<Transport> transport,
                                                                  const RingOptions& options,
                                                                  std::span<const MemorySpan> windows);
  /// Cancels what is in flight and waits until the device has answered for all of it, at most stall_timeout.
  ~RingEngine() override;

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override;
  [[nodiscard]] bool reaches(MemorySpan memory) const override;
  [[nodiscard]] int completion_fd() const noexcept override { return interrupt_fd_; }
  [[nodiscard]] std::optional<Error> fault() const override { return fault_; }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return transport_->now(); }

  [[nodiscard]] RingCounters counters();
  [[nodiscard]] std::uint32_t data_bus_bytes() const { return data_bus_bytes_; }
  [[nodiscard]] std::size_t queues() const { return queues_.size(); }

 private:
  /// One pair of rings. A queue that the device's watchdog has quarantined takes no more jobs.
  struct Queue {
    std::uint32_t registers = 0;
    ring::Descriptor* submission = nullptr;
    ring::CompletionEntry* completion = nullptr;
    std::uint16_t sq_tail = 0;
    std::uint16_t cq_head = 0;
    bool rung = true;  // the device knows of all descriptors
    bool quarantined = false;
    bool closed = false;  // quarantined, and the device completes nothing more
    std::chrono::nanoseconds quarantined_at{0};
  };

  RingEngine(std::unique_ptr<Transport> transport, const RingOptions& options);

  [[nodiscard]] Result<void> identify();
  [[nodiscard]] Result<void> quiesce();
  [[nodiscard]] Result<void> set_up(std::span<const MemorySpan> windows);
  [[nodiscard]] Result<void> set_up_queue(Queue& queue, std::uint32_t priority, Iova window_base, Iova window_limit);
  [[nodiscard]] Result<void> write_checked(std::uint32_t offset, std::uint64_t value, bool wide);
  [[nodiscard]] std::uint64_t read_counter(std::uint32_t offset);
  [[nodiscard]] std::size_t queue_for(Urgency urgency) const;
  void take_interrupt();
  void place_descriptor(std::uint32_t slot);
  std::size_t collect(Queue& queue, std::span<Completion> out);
  std::size_t collect_all(std::span<Completion> out);
  [[nodiscard]] bool possible(const ring::CompletionEntry& entry, const Queue& queue) const;
  std::size_t report_failed(std::span<Completion> out);
  std::size_t report_unfetched(Queue& queue, std::span<Completion> out);
  void quarantine(Queue& queue);
  [[nodiscard]] bool watch();
  void fail(FailureCause cause, const std::string& why);
  void come_to_rest();

  std::unique_ptr<Transport> transport_;
  RingOptions options_;
  EngineCapabilities capabilities_;
  std::unique_ptr<Windows> windows_;
  std::unique_ptr<JobSlots> slots_;
  std::vector<Queue> queues_;  // background first, then urgent
  std::vector<std::size_t> queue_of_slot_;
  std::uint32_t data_bus_bytes_ = 0;
  std::uint32_t device_queues_ = 0;
  int interrupt_fd_ = -1;
  std::chrono::nanoseconds last_progress_{0};
  std::chrono::nanoseconds next_look_{0};  // at the device's registers
  std::uint64_t last_beats_ = 0;
  std::optional<Error> fault_;
  FailureCause fault_cause_ = FailureCause::None;
};

}  // namespace sluice::inline ring
