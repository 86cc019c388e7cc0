// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>

#include "sluice/engine/engine.hpp"
#include "sluice/engine/event_source.hpp"

namespace sluice::inline compose {

class CheckedEngine;

/// From what length on a job is worth an engine beside the CPU. Between the two lengths a job goes where the last one
/// went, so that lengths around the break-even do not bounce from one to the other.
struct OffloadLengths {
  ByteCount below;  ///< A shorter job goes to the CPU.
  ByteCount above;  ///< A longer one goes to the engine; not less than `below`.
};

/// Two engines as one: short jobs to the CPU, long ones to the engine. When one of them has failed, or throws, or says
/// what cannot be, or makes no progress for `stall_timeout`, what it has in flight fails, and every later job goes to
/// the other one. A name carries in its lowest bit whose job it is. One thread at a time.
class OffloadEngine final : public Engine {
 public:
  /// Errors: InvalidArgument (`above` is less than `below`).
  [[nodiscard]] static Result<std::unique_ptr<OffloadEngine>> create(
      std::unique_ptr<Engine> cpu, std::unique_ptr<Engine> engine, const OffloadLengths& lengths,
      std::chrono::nanoseconds stall_timeout = std::chrono::seconds(30));
  ~OffloadEngine() override;

  /// What both can do.
  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override;
  /// What both reach, of those that have not failed.
  [[nodiscard]] bool reaches(MemorySpan memory) const override;
  [[nodiscard]] int completion_fd() const noexcept override { return follows_ ? events_.fd() : -1; }
  /// Only when both have failed: the CPU's.
  [[nodiscard]] std::optional<Error> fault() const override;
  [[nodiscard]] std::chrono::nanoseconds now() const override;

  /// Which of both did the last job: for tests and reports.
  [[nodiscard]] bool last_was_offloaded() const { return offloads_; }

 private:
  OffloadEngine(std::unique_ptr<CheckedEngine> cpu, std::unique_ptr<CheckedEngine> engine,
                const OffloadLengths& lengths, std::chrono::nanoseconds stall_timeout);
  [[nodiscard]] bool offloads(ByteCount length) const;
  [[nodiscard]] static JobId outer(JobId id, bool offloaded) {
    return {id.slot * 2 + (offloaded ? 1 : 0), id.generation};
  }
  void notify();

  std::unique_ptr<CheckedEngine> sides_[2];  // the CPU, the engine
  OffloadLengths lengths_;
  EngineCapabilities capabilities_;
  bool offloads_ = false;      // the last job
  bool polled_first_ = false;  // the engine, last time
  EventSource events_;
  bool follows_ = false;  // the descriptors of both
};

}  // namespace sluice::inline compose
