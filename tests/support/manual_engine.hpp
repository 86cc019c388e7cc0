// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <deque>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "support/memory.hpp"

namespace sluice::test {

/// An engine whose test decides when a job ends, and how. It really fills the memory.
class ManualEngine final : public Engine {
 public:
  struct Job {
    JobId id;
    ScrubJob job;
    bool cancel_requested = false;
  };

  explicit ManualEngine(std::size_t max_jobs = 32, ByteCount max_job_length = ByteCount(1ULL << 40))
      : capabilities_{"manual", max_jobs, max_job_length, false} {}

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }

  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override {
    if (fault_) return *fault_;
    if (refusal_) return *refusal_;
    if (busy_) return Error{DriverErrc::Busy, "busy"};
    if (throws_from_submit_) throw std::runtime_error("the engine is confused by jobs");
    const std::size_t room = std::min(capabilities_.max_jobs_in_flight - running_.size(), most_at_once_);
    const std::size_t count = std::min(jobs.size(), room);
    if (count == 0) return Error{DriverErrc::Busy, "full"};
    for (std::size_t index = 0; index < count; ++index) {
      ids[index] = {0, ++next_};
      running_.push_back({ids[index], jobs[index]});
    }
    return count;
  }

  CancelResult cancel(JobId id) override {
    if (throws_from_cancel_) throw std::runtime_error("the engine is confused by a cancel");
    for (Job& job : running_) {
      if (job.id != id) continue;
      job.cancel_requested = true;
      return CancelResult::Requested;
    }
    return CancelResult::AlreadyFinished;
  }

  std::size_t poll(std::span<Completion> out) override {
    if (throws_) throw std::runtime_error("the engine is confused");
    const std::size_t count = std::min(out.size(), completions_.size());
    std::copy_n(completions_.begin(), count, out.begin());
    completions_.erase(completions_.begin(), completions_.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
  }

  [[nodiscard]] std::uint64_t progress() override { return ended_; }
  [[nodiscard]] bool reaches(MemorySpan memory) const override {
    return !window_ ||
           (memory.data() >= window_->data() && memory.data() + memory.size() <= window_->data() + window_->size());
  }
  [[nodiscard]] std::optional<Error> fault() const override { return fault_; }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return time_; }
  void offer(bool verifies, bool fills_random) {
    capabilities_.verifies = verifies;
    capabilities_.fills_random = fills_random;
  }
  void set_busy(bool busy) { busy_ = busy; }
  /// Nothing else is reached from now on.
  void set_window(MemorySpan window) { window_ = window; }
  /// Every job from now on.
  void refuse_with(Error refusal) { refusal_ = std::move(refusal); }
  /// Of the jobs of one submit().
  void take_at_most(std::size_t jobs) { most_at_once_ = jobs; }
  void throw_from_poll() { throws_ = true; }
  void throw_from_submit() { throws_from_submit_ = true; }
  void throw_from_cancel() { throws_from_cancel_ = true; }
  /// From now on this bit of the memory is 1 after every write.
  void stick(std::byte* at, std::byte bit) { stuck_.emplace_back(at, bit); }
  /// Says this, whatever is true.
  void complete(const Completion& completion) { completions_.push_back(completion); }
  void set_time(std::chrono::nanoseconds time) { time_ = time; }

  [[nodiscard]] const std::deque<Job>& running() const { return running_; }

  /// Ends the index-th running job. A prefix of `bytes` is really written, and read back if that was asked for.
  void end(std::size_t index, Outcome outcome, std::uint64_t bytes, FailureCause cause = FailureCause::None,
           std::uint64_t unaffected = 0) {
    const Job job = running_.at(index);
    ++ended_;
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
    for (std::byte& byte : job.job.memory.first(bytes)) {
      byte = static_cast<std::byte>(job.job.pattern >> (reinterpret_cast<std::uintptr_t>(&byte) % 8 * 8));
    }
    for (const auto& [at, bit] : stuck_) {
      if (at >= job.job.memory.data() && at < job.job.memory.data() + bytes) *at |= bit;
    }
    if (const std::size_t held = held_by(job.job); outcome == Outcome::Zeroed && held < bytes) {
      outcome = Outcome::Failed;
      cause = FailureCause::Mismatch;
      bytes = held;
    }
    completions_.push_back({job.id, job.job.cookie, outcome, cause, ByteCount(bytes), ByteCount(unaffected)});
  }
  /// Ends every running job: Cancelled with nothing written if it was asked to stop, else Zeroed.
  void end_all() {
    while (!running_.empty()) {
      if (running_.front().cancel_requested) {
        end(0, Outcome::Cancelled, 0);
      } else {
        end(0, Outcome::Zeroed, running_.front().job.memory.size());
      }
    }
  }
  /// The engine stops: everything that runs fails.
  void break_down() {
    fault_ = Error{DriverErrc::EngineFailed, "the engine broke down"};
    while (!running_.empty()) end(0, Outcome::Failed, 0, FailureCause::Timeout);
  }

 private:
  /// What a look at the memory finds; all of it for a job that is not to be read back.
  [[nodiscard]] static std::size_t held_by(const ScrubJob& job) {
    if (!reads_back(job.operation)) return job.memory.size();
    return first_not_pattern(job.memory, job.pattern).value_or(job.memory.size());
  }

  EngineCapabilities capabilities_;
  std::deque<Job> running_;
  std::vector<std::pair<std::byte*, std::byte>> stuck_;
  std::vector<Completion> completions_;
  std::optional<Error> fault_;
  std::optional<MemorySpan> window_;
  std::optional<Error> refusal_;
  std::size_t most_at_once_ = ~std::size_t{0};
  bool throws_ = false;
  bool throws_from_submit_ = false;
  bool throws_from_cancel_ = false;
  bool busy_ = false;
  std::uint32_t next_ = 0;
  std::uint64_t ended_ = 0;
  std::chrono::nanoseconds time_{0};
};

}  // namespace sluice::test
