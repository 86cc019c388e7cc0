// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/engine/event_source.hpp"

namespace sluice::inline engine {
class JobSlots;
}  // namespace sluice::inline engine

namespace sluice::inline compose {

class CheckedEngine;

/// An engine that could be used: made when its turn comes.
struct EngineCandidate {
  std::string name;
  std::function<Result<std::unique_ptr<Engine>>()> make;
};

/// That an engine of the list was given up.
struct Failover {
  std::string from;
  std::string to;  ///< Empty: there is none left.
  std::string reason;
};

struct FailoverOptions {
  /// An engine that has jobs, or refuses all of them as Busy, and makes no progress for so long by its own clock has
  /// stopped. Time in which nobody polls counts little.
  std::chrono::nanoseconds stall_timeout{60'000'000'000};
  /// Called for each one as it happens, from within create(), submit() or poll().
  std::function<void(const Failover&)> on_failover;
};

/// The first engine of a list that works. Trusts none: one that says it has failed, throws, makes no progress,
/// completes a job twice or says what cannot be is given up, and the next takes over. What the old one had in flight
/// fails, with no byte reported as zeroed, since it may still be written; the old engine is kept until the end, and
/// asked nothing more. One thread at a time.
class FailoverEngine final : public Engine {
 public:
  /// Errors: InvalidArgument without candidates, and the last one's error if none can be made.
  [[nodiscard]] static Result<std::unique_ptr<FailoverEngine>> create(std::vector<EngineCandidate> candidates,
                                                                      const FailoverOptions& options);
  ~FailoverEngine() override;

  /// Those of the engine in use, but for the number of jobs, which stays.
  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override;
  [[nodiscard]] bool reaches(MemorySpan memory) const override;
  [[nodiscard]] int completion_fd() const noexcept override;
  /// Only when no engine is left.
  [[nodiscard]] std::optional<Error> fault() const override { return fault_; }
  /// Never goes back, though each engine may have a clock of its own.
  [[nodiscard]] std::chrono::nanoseconds now() const override;

  /// The engine in use.
  [[nodiscard]] Engine& current();
  [[nodiscard]] const std::vector<Failover>& failovers() const { return failovers_; }

 private:
  FailoverEngine(std::vector<EngineCandidate> candidates, FailoverOptions options);
  [[nodiscard]] Result<void> start_next(std::string from, std::string why);
  void adopt(const EngineCandidate& candidate, std::unique_ptr<Engine> engine);
  void report(const std::string& from, const std::string& to, const std::string& why);
  void collect();
  void leave_failed();
  void notify();

  std::vector<EngineCandidate> candidates_;
  FailoverOptions options_;
  std::size_t next_candidate_ = 0;
  std::string name_;
  std::vector<std::unique_ptr<CheckedEngine>> engines_;  // the last one is in use
  EngineCapabilities capabilities_;
  std::chrono::nanoseconds clock_offset_{0};
  mutable std::chrono::nanoseconds last_now_ = std::chrono::nanoseconds::min();
  std::unique_ptr<JobSlots> slots_;
  std::vector<JobId> inner_ids_;  // by slot: what the engine in use calls it
  std::vector<bool> finished_;    // by slot: waits to be collected
  std::vector<ScrubJob> given_;   // by one submit()
  std::vector<JobId> names_;
  std::uint64_t given_up_progress_ = 0;  // of the engines before this one
  std::deque<Completion> completions_;
  std::vector<Failover> failovers_;
  std::optional<Error> fault_;
  EventSource events_;
  bool follows_ = false;  // the descriptor of the engine in use
};

}  // namespace sluice::inline compose
