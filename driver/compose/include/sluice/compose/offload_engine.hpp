// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "sluice/engine/engine.hpp"

namespace sluice::inline compose {

/// From what length on a job is worth an engine beside the CPU. Between the two lengths a job goes where the last one
/// went, so that lengths around the break-even do not bounce from one to the other.
struct OffloadLengths {
  ByteCount below;  ///< A shorter job goes to the CPU.
  ByteCount above;  ///< A longer one goes to the engine; not less than `below`.
};

/// Two engines as one: short jobs to the CPU, long ones to the engine. A name carries in its lowest bit whose job it
/// is. Threading as of the two: concurrent only if both are.
class OffloadEngine final : public Engine {
 public:
  /// Errors: InvalidArgument (`above` is less than `below`).
  [[nodiscard]] static Result<std::unique_ptr<OffloadEngine>> create(std::unique_ptr<Engine> cpu,
                                                                     std::unique_ptr<Engine> engine,
                                                                     const OffloadLengths& lengths);

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override { return sides_[0]->progress() + sides_[1]->progress(); }
  [[nodiscard]] bool reaches(MemorySpan memory) const override {
    return sides_[0]->reaches(memory) && sides_[1]->reaches(memory);
  }
  [[nodiscard]] std::optional<Error> fault() const override;
  [[nodiscard]] std::chrono::nanoseconds now() const override { return sides_[0]->now(); }

  /// Which of both did the last job: for tests and reports.
  [[nodiscard]] bool last_was_offloaded() const { return offloads_; }

 private:
  OffloadEngine(std::unique_ptr<Engine> cpu, std::unique_ptr<Engine> engine, const OffloadLengths& lengths);
  [[nodiscard]] bool offloads(ByteCount length) const;
  [[nodiscard]] static JobId outer(JobId id, bool offloaded) {
    return {id.slot * 2 + (offloaded ? 1 : 0), id.generation};
  }

  std::unique_ptr<Engine> sides_[2];  // the CPU, the engine
  OffloadLengths lengths_;
  EngineCapabilities capabilities_;
  bool offloads_ = false;      // the last job
  bool polled_first_ = false;  // the engine, last time
};

}  // namespace sluice::inline compose
