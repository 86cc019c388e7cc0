// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/engine/event_source.hpp"

namespace sluice::inline engine {
class JobSlots;
}  // namespace sluice::inline engine

namespace sluice::inline compose {

class CheckedEngine;

struct SplitterOptions {
  ByteCount piece_length{2ULL << 20};  ///< The longest piece: what one error on the bus puts in doubt.
  /// An engine that has pieces, or refuses all of them as Busy, and makes no progress for so long has failed. Longer
  /// than that of a FailoverEngine behind it, which knows another engine.
  std::chrono::nanoseconds stall_timeout{120'000'000'000};
};

/// Gives an engine jobs that it can take: pieces no longer than its max_job_length, cut where one of its windows ends
/// and another begins, and a long urgent job in as many as the engine works on at once. The pieces of a job are given
/// in order, those of urgent jobs first, and become one Completion. After a piece that failed no more of its job are
/// given, and what was never given is reported as unaffected. An engine that refuses a piece for another reason than
/// Busy fails that job alone. An engine that throws or says what cannot be is given up: fault().
///
/// One thread at a time.
class JobSplitter final : public Engine {
 public:
  /// Over an engine of somebody else's, which outlives it and takes jobs from nobody else. What is in flight when the
  /// splitter is destroyed is cancelled, and over when that engine is destroyed. Errors: InvalidArgument (a
  /// piece_length below 4096).
  [[nodiscard]] static Result<std::unique_ptr<JobSplitter>> create(Engine& engine, const SplitterOptions& options = {});
  [[nodiscard]] static Result<std::unique_ptr<JobSplitter>> create(std::unique_ptr<Engine> engine,
                                                                   const SplitterOptions& options = {});
  ~JobSplitter() override;

  /// Those of the engine, but for jobs of up to 2^48 bytes. What it can do may change with a failover behind it: as it
  /// was when submit() or poll() returned.
  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override;
  /// Also what lies in several windows that touch.
  [[nodiscard]] bool reaches(MemorySpan memory) const override;
  [[nodiscard]] int completion_fd() const noexcept override;
  [[nodiscard]] std::optional<Error> fault() const override;
  [[nodiscard]] std::chrono::nanoseconds now() const override;
  /// What the engine said when it refused a piece of this job, if that is why the job has failed. For jobs that were
  /// collected, until the next submit().
  [[nodiscard]] std::optional<Error> refusal(JobId id) const;

 private:
  /// How far a job has come.
  struct Progress {
    std::size_t given = 0;        // to the engine, from the start of the memory
    std::uint32_t in_flight = 0;  // pieces
    std::size_t prefix = 0;       // ends at the first byte of an ended piece that it did not write
    std::size_t doubt = 0;        // ends behind the last byte that a failed piece may have spoilt
    std::size_t failed_at = 0;    // offset of the first failed piece
    FailureCause cause = FailureCause::None;
    std::optional<Error> refusal;  // which is the cause
    bool cut_short = false;        // a piece was cancelled
    bool queued = false;
    bool finished = false;  // waits to be collected
  };
  struct Piece {
    std::uint32_t slot = 0;
    std::size_t offset = 0;
    std::size_t length = 0;
    JobId inner;
    bool in_flight = false;
  };

  JobSplitter(std::unique_ptr<CheckedEngine> engine, const SplitterOptions& options);
  [[nodiscard]] std::size_t reached(MemorySpan memory) const;
  [[nodiscard]] std::size_t piece_length(const ScrubJob& job, std::size_t offset) const;
  void give();
  void plan(const std::deque<std::uint32_t>& queue, std::size_t most_pieces);
  [[nodiscard]] bool give_batch();
  void take_back(std::size_t first);
  void refuse(std::uint32_t slot, const Error& error);
  void collect();
  void end_piece(const Completion& completion);
  void stop(std::uint32_t slot, std::size_t offset);
  void settle(std::uint32_t slot);
  [[nodiscard]] std::deque<std::uint32_t>& queue_of(std::uint32_t slot);
  void follow_offers();
  void notify();

  std::unique_ptr<CheckedEngine> engine_;
  SplitterOptions options_;
  EngineCapabilities capabilities_;
  std::unique_ptr<JobSlots> slots_;
  std::vector<Progress> progress_;  // by slot
  std::vector<Piece> pieces_;       // by cookie
  std::vector<std::uint32_t> free_pieces_;
  std::size_t background_pieces_ = 0;  // in flight
  std::deque<std::uint32_t> urgent_;   // jobs of which more is to be given, oldest first
  std::deque<std::uint32_t> background_;
  std::vector<std::uint32_t> batch_;  // pieces
  std::vector<ScrubJob> batch_jobs_;
  std::vector<JobId> batch_ids_;
  std::deque<Completion> finished_;
  EventSource events_;
  bool follows_ = false;  // the engine's descriptor
};

}  // namespace sluice::inline compose
