// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <span>

#include "sluice/engine/engine.hpp"

namespace sluice::inline manager {

/// An engine that is not taken at its word: what it throws, what it says that cannot be, and that it makes no progress
/// are errors here, and from then on it is not asked any more.
class WatchedEngine {
 public:
  WatchedEngine(Engine& engine, std::chrono::nanoseconds stall_timeout);

  /// How many it has accepted; 0: it is busy. An error: it has refused, or it is broken() and may have accepted any.
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids);
  void cancel(JobId id);
  [[nodiscard]] std::size_t poll(std::span<Completion> out);
  /// What cannot be true of a job that it had: the engine is broken from now on.
  void distrust(const std::string& reason);
  /// Looks for progress. `busy`: jobs are in flight or wait. `advanced`: it has accepted or ended some.
  void watch(bool busy, bool advanced);

  /// Why it is not believed any more: what it had in flight may still be written to.
  [[nodiscard]] const std::optional<Error>& broken() const { return broken_; }
  /// Why it takes no more jobs.
  [[nodiscard]] std::optional<Error> fault();
  [[nodiscard]] int completion_fd() const noexcept { return engine_.completion_fd(); }
  [[nodiscard]] std::chrono::nanoseconds now() const { return engine_.now(); }

 private:
  template <class Value, class Call>
  Value guarded(const char* name, Value otherwise, Call call);

  Engine& engine_;
  std::chrono::nanoseconds stall_timeout_;
  std::optional<Error> broken_;
  std::uint64_t progress_ = 0;
  std::chrono::nanoseconds last_look_{0};
  std::chrono::nanoseconds silence_{0};
};

}  // namespace sluice::inline manager
