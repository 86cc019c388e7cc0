// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sluice/engine/engine.hpp"

namespace sluice::inline engine {
class JobSlots;
}  // namespace sluice::inline engine

namespace sluice::inline compose {

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
  /// Nothing that is in flight has ended for so long, by the engine's own clock: it has stopped. The longest job must
  /// take less.
  std::chrono::nanoseconds stall_timeout{60'000'000'000};
  /// Called for each one as it happens, from within create(), submit() or poll().
  std::function<void(const Failover&)> on_failover;
};

/// The first engine of a list that works. Trusts none: one that says it has failed, loses a job, completes one twice or
/// says what cannot be is given up, and the next takes over. What the old one had in flight fails, with no byte
/// reported as zeroed, since it may still be written; the old engine is kept until the end, and given nothing more.
/// One thread at a time.
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
  [[nodiscard]] std::uint64_t progress() override { return given_up_progress_ + current().progress(); }
  [[nodiscard]] bool reaches(MemorySpan memory) const override { return engines_.back()->reaches(memory); }
  /// Only when no engine is left.
  [[nodiscard]] std::optional<Error> fault() const override { return fault_; }
  /// Never goes back, though each engine may have a clock of its own.
  [[nodiscard]] std::chrono::nanoseconds now() const override;

  /// The engine in use.
  [[nodiscard]] Engine& current() { return *engines_.back(); }
  [[nodiscard]] const std::vector<Failover>& failovers() const { return failovers_; }

 private:
  struct InFlight {
    JobId inner;               // what the engine in use calls it
    std::uint64_t before = 0;  // jobs of its urgency that had ended when it was submitted
    bool cancelled = false;
    bool finished = false;  // waits to be collected
  };

  FailoverEngine(std::vector<EngineCandidate> candidates, FailoverOptions options);
  [[nodiscard]] Result<void> start_next(const std::string& from, const std::string& reason);
  void give_up(FailureCause cause, const std::string& reason);
  void collect();
  /// Why this cannot be; empty: it can.
  [[nodiscard]] std::string impossible(const Completion& completion) const;
  void watch();

  std::vector<EngineCandidate> candidates_;
  FailoverOptions options_;
  std::size_t next_candidate_ = 0;
  std::string name_;
  std::vector<std::unique_ptr<Engine>> engines_;  // the last one is in use
  EngineCapabilities capabilities_;
  std::chrono::nanoseconds clock_offset_{0};
  std::unique_ptr<JobSlots> slots_;
  std::vector<InFlight> in_flight_;  // by slot
  std::vector<ScrubJob> given_;      // by one submit()
  std::vector<JobId> inner_ids_;
  std::array<std::uint64_t, 2> ended_{};  // jobs of each urgency
  std::chrono::nanoseconds last_end_{0};
  std::chrono::nanoseconds last_look_{0};
  std::uint64_t given_up_progress_ = 0;  // of the engines before this one
  std::deque<Completion> finished_;
  std::vector<Failover> failovers_;
  std::optional<Error> fault_;
};

}  // namespace sluice::inline compose
