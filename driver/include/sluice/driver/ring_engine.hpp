// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sluice/driver/engine.hpp"
#include "sluice/driver/ring_format.hpp"
#include "sluice/driver/transport.hpp"

namespace sluice {

class JobSlots;
class Windows;

struct RingOptions {
  std::uint32_t ring_entries = 64;                     ///< Power of two, 2 to the device's number of slots.
  std::chrono::nanoseconds stall_timeout{10'000'000};  ///< No beat and no completion for so long: the engine failed.
};

/// What the device has counted since its reset.
struct RingCounters {
  std::uint64_t cycles = 0;
  std::uint64_t data_beats = 0;
  std::uint64_t jobs = 0;
  std::uint64_t jobs_cancelled = 0;
};

/// Drives a scrub engine through a pair of rings in host memory (docs/RING.md). The same code for every transport.
/// Polled: poll() is what lets the device make progress where the device is simulated in this process.
class RingEngine final : public Engine {
 public:
  /// Sets the device up to write nothing but `windows`. Errors: DeviceMissing, InvalidArgument, NoResources.
  [[nodiscard]] static Result<std::unique_ptr<RingEngine>> create(std::unique_ptr<Transport> transport,
                                                                  const RingOptions& options,
                                                                  std::span<const MemorySpan> windows);
  /// Cancels what is in flight and waits until the device has answered for all of it, at most stall_timeout.
  ~RingEngine() override;

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::optional<Error> fault() const override { return fault_; }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return transport_->now(); }

  [[nodiscard]] RingCounters counters();
  [[nodiscard]] std::uint32_t data_bus_bytes() const { return data_bus_bytes_; }

 private:
  RingEngine(std::unique_ptr<Transport> transport, const RingOptions& options);

  [[nodiscard]] Result<void> identify();
  [[nodiscard]] Result<void> set_up(std::span<const MemorySpan> windows);
  [[nodiscard]] Result<void> write_checked(std::uint32_t queue_register, std::uint64_t value, bool wide);
  [[nodiscard]] std::uint64_t read_counter(std::uint32_t offset);
  void place_descriptor(std::uint32_t slot);
  std::size_t collect(std::span<Completion> out);
  std::size_t report_failed(std::span<Completion> out);
  void watch();
  void fail(FailureCause cause, const std::string& why);

  std::unique_ptr<Transport> transport_;
  RingOptions options_;
  EngineCapabilities capabilities_;
  std::unique_ptr<Windows> windows_;
  std::unique_ptr<JobSlots> slots_;
  std::vector<std::uint64_t> iova_of_slot_;
  ring::Descriptor* submission_ = nullptr;
  ring::CompletionEntry* completion_ = nullptr;
  std::uint32_t data_bus_bytes_ = 0;
  std::uint16_t sq_tail_ = 0;
  std::uint16_t cq_head_ = 0;
  std::chrono::nanoseconds last_progress_{0};
  std::uint64_t last_beats_ = 0;
  std::optional<Error> fault_;
  FailureCause fault_cause_ = FailureCause::None;
};

}  // namespace sluice
