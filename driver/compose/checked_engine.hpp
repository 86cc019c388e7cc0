// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/engine/job_slots.hpp"
#include "sluice/engine/stall_watch.hpp"

namespace sluice::inline compose {

/// An engine that nobody trusts, for those that are made of others. One that throws, that says what cannot be, that
/// stops, or that refuses everything as Busy while it holds nothing, is not asked again: what it has in flight fails,
/// with no byte reported as zeroed, since it may still be written. Every other promise of an Engine is kept. Throws
/// nothing.
class CheckedEngine {
 public:
  CheckedEngine(std::unique_ptr<Engine> engine, std::chrono::nanoseconds stall_timeout);
  /// Somebody else's, which is then given nothing by anybody else.
  CheckedEngine(Engine& engine, std::chrono::nanoseconds stall_timeout);
  void own(std::unique_ptr<Engine> engine) { owned_ = std::move(engine); }

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept { return engine_.capabilities(); }
  [[nodiscard]] std::uint32_t max_jobs() const { return slots_.capacity(); }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids);
  CancelResult cancel(JobId id);
  std::size_t poll(std::span<Completion> out);
  [[nodiscard]] std::uint64_t progress();
  [[nodiscard]] bool reaches(MemorySpan memory) const;
  [[nodiscard]] std::optional<Error> fault() const;
  [[nodiscard]] std::chrono::nanoseconds now() const;

  [[nodiscard]] int completion_fd() const noexcept { return engine_.completion_fd(); }
  /// poll() has something to say of which the engine's descriptor knows nothing.
  [[nodiscard]] bool has_own_news() const { return given_up_ && slots_.held_count() > 0; }
  [[nodiscard]] bool given_up() const { return given_up_.has_value(); }
  [[nodiscard]] bool idle() const { return slots_.held_count() == 0; }
  [[nodiscard]] Engine& engine() { return engine_; }

 private:
  struct InFlight {
    JobId inner;  // what the engine calls it
    bool cancelled = false;
  };

  template <class Function>
  void ask(const char* what, Function function) const;
  void give_up(FailureCause cause, const std::string& why) const;
  std::size_t take(std::span<Completion> some);
  std::size_t fail_all(std::span<Completion> out);
  [[nodiscard]] std::string impossible(const Completion& completion) const;
  void watch();

  std::unique_ptr<Engine> owned_;
  Engine& engine_;
  JobSlots slots_;
  std::vector<InFlight> in_flight_;  // by slot
  std::vector<ScrubJob> given_;      // by one submit()
  std::vector<JobId> names_;
  std::chrono::nanoseconds stall_timeout_;
  StallWatch watch_;
  bool refuses_ = false;  // as Busy, and holds nothing
  std::uint64_t progress_ = 0;
  std::uint64_t completed_ = 0;
  mutable std::chrono::nanoseconds time_{0};  // when it was asked last
  mutable std::optional<Error> given_up_;
  mutable FailureCause cause_ = FailureCause::EngineFault;
};

}  // namespace sluice::inline compose
