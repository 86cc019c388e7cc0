// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>

#include "sluice/engine/engine.hpp"
#include "sluice/engine/event_source.hpp"

namespace sluice::inline workload {

/// Puts an engine on the clock of a trace. The engine really does each job, but its Completion is shown only when an
/// engine of `bytes_per_second` would have finished it by the trace's clock; until then the job counts as running and
/// can be cancelled. So a replay takes the same decisions whatever the speed of the engine behind it. Background jobs
/// are done one after the other, urgent ones at once beside them.
///
/// A job that is cancelled before that time counts as Cancelled, with the bytes that were really written. One thread at
/// a time.
class PacedEngine final : public Engine {
 public:
  PacedEngine(Engine& engine, double bytes_per_second);

  /// The trace's clock never runs backwards.
  void set_time(std::chrono::nanoseconds time);
  [[nodiscard]] std::chrono::nanoseconds time() const { return time_; }
  /// When the next job is done; nullopt: none is in flight.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_due() const;

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override { return engine_.progress(); }
  [[nodiscard]] bool reaches(MemorySpan memory) const override { return engine_.reaches(memory); }
  /// Readable when a completion is due by the trace's clock, or the engine behind has something.
  [[nodiscard]] int completion_fd() const noexcept override;
  [[nodiscard]] std::optional<Error> fault() const override { return engine_.fault(); }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return engine_.now(); }

 private:
  struct Job {
    std::chrono::nanoseconds due;
    std::uint64_t order;  ///< among jobs due at the same time
    bool cancelled = false;
    std::optional<Completion> result;
  };
  using Key = std::pair<std::chrono::nanoseconds, std::uint64_t>;

  [[nodiscard]] bool has_due() const;
  void collect();

  Engine& engine_;
  EngineCapabilities capabilities_;
  double bytes_per_second_;
  std::chrono::nanoseconds time_{0};
  std::chrono::nanoseconds background_free_{0};
  std::uint64_t next_order_ = 1;
  std::map<JobId, Job> jobs_;
  std::map<Key, JobId> by_due_;
  EventSource events_;
  bool follows_;
};

}  // namespace sluice::inline workload
