// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "memory_model.hpp"
#include "sluice/engine/engine.hpp"

namespace sluice::world {

/// An engine whose jobs end when and how the story says. What it writes, the memory model holds.
class WorldEngine final : public Engine {
 public:
  struct Job {
    JobId id;
    std::uint64_t cookie = 0;
    std::size_t first_page = 0;
    std::size_t pages = 0;
    std::uint64_t pattern = 0;
    bool cancel_requested = false;
  };

  /// `base`: the first byte of the pool. `steps`: counts the steps of the story.
  WorldEngine(MemoryModel& memory, const std::byte* base, const std::uint64_t& steps, std::size_t max_jobs)
      : memory_(memory), base_(base), steps_(steps), capabilities_{"world", max_jobs, ByteCount(1ULL << 40), false} {}

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }

  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override {
    if (dead_) return Error{DriverErrc::EngineFailed, "the engine is dead"};
    const std::size_t room = capabilities_.max_jobs_in_flight - jobs_.size() - done_.size();
    const std::size_t count = busy_ ? 0 : std::min(jobs.size(), room);
    if (count == 0) return Error{DriverErrc::Busy, "the engine is busy"};
    for (std::size_t index = 0; index < count; ++index) {
      const MemorySpan memory = jobs[index].memory;
      ids[index] = {0, ++next_};
      jobs_.push_back({ids[index], jobs[index].cookie, static_cast<std::size_t>(memory.data() - base_) / 4096,
                       memory.size() / 4096, jobs[index].pattern, false});
    }
    return count;
  }
  CancelResult cancel(JobId id) override {
    for (Job& job : jobs_) {
      if (job.id != id) continue;
      job.cancel_requested = true;
      return CancelResult::Requested;
    }
    return CancelResult::AlreadyFinished;
  }
  std::size_t poll(std::span<Completion> out) override {
    const std::size_t count = std::min(out.size(), done_.size());
    for (std::size_t index = 0; index < count; ++index) {
      const auto& [completion, job] = done_[index];
      out[index] = completion;
      for (std::size_t page = job.first_page; page < job.first_page + job.pages; ++page) {
        memory_.reported(page, steps_);
        if (completion.outcome == Outcome::Failed) memory_.set_bad(page);
      }
    }
    done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
  }
  [[nodiscard]] std::uint64_t progress() override { return ended_; }
  [[nodiscard]] bool reaches(MemorySpan /*memory*/) const override { return true; }
  [[nodiscard]] std::optional<Error> fault() const override {
    if (dead_) return Error{DriverErrc::EngineFailed, "the engine is dead"};
    return std::nullopt;
  }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return std::chrono::nanoseconds(0); }

  [[nodiscard]] const std::vector<Job>& jobs() const { return jobs_; }
  [[nodiscard]] bool dead() const { return dead_; }
  void set_busy(bool busy) { busy_ = busy; }

  /// Ends a job: all of it is written, or `bytes` and it was cancelled, or it failed after `bytes`.
  void end(std::size_t which, Outcome outcome, std::size_t bytes) {
    const Job job = jobs_[which];
    ++ended_;
    jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(which));
    write(job, outcome == Outcome::Zeroed ? job.pages * 4096 : bytes);
    const auto cause = outcome == Outcome::Failed ? FailureCause::SlaveError : FailureCause::None;
    const ByteCount written(outcome == Outcome::Zeroed ? job.pages * 4096 : bytes);
    done_.emplace_back(Completion{job.id, job.cookie, outcome, cause, written}, job);
  }
  void die() {
    dead_ = true;
    while (!jobs_.empty()) end(0, Outcome::Failed, 0);
  }
  /// The process is killed: what is under way stops somewhere.
  void stop_at(std::size_t bytes) {
    for (const Job& job : jobs_) write(job, bytes % (job.pages * 4096));
    jobs_.clear();
  }

 private:
  void write(const Job& job, std::size_t bytes) {
    for (std::size_t page = 0; page * 4096 < bytes; ++page) {
      memory_.fill(job.first_page + page, job.pattern, (page + 1) * 4096 <= bytes);
    }
  }

  MemoryModel& memory_;
  const std::byte* base_;
  const std::uint64_t& steps_;
  EngineCapabilities capabilities_;
  std::vector<Job> jobs_;
  std::vector<std::pair<Completion, Job>> done_;
  std::uint32_t next_ = 0;
  std::uint64_t ended_ = 0;
  bool dead_ = false;
  bool busy_ = false;
};

}  // namespace sluice::world
