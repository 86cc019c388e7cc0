// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "layout.hpp"
#include "memory_model.hpp"
#include "sluice/engine/engine.hpp"

namespace sluice::world {

/// What an engine can do that no engine may.
enum class Lie : std::uint8_t {
  None,
  ThrowsInSubmit,
  ThrowsInCancel,
  ThrowsInPoll,
  TakesTooMany,    ///< submit() says more than it was given.
  ReturnsTooMany,  ///< poll() says more than there is room for.
  TooManyBytes,    ///< A completion counts more than its job has.
  Twice,           ///< A job completes twice.
  UnknownJob,      ///< A job completes that there never was.
  CancelsUnasked,  ///< A job ends as Cancelled, and nobody cancelled it.
};
inline constexpr std::size_t kLies = 10;

struct EngineLimits {
  std::size_t max_jobs = 4;
  ByteCount max_job_length{1ULL << 40};
  std::size_t parallel_jobs = 1;
  std::vector<std::size_t> windows;  ///< Pages at which one window ends and the next one begins.
};

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
    bool verified = false;  ///< A failure is of the page where it stopped: whoever gave it tries the others again.
  };

  /// `base`: the first byte of the pool. `steps`: counts the steps of the story.
  WorldEngine(MemoryModel& memory, const Layout& layout, const std::byte* base, const std::uint64_t& steps,
              EngineLimits limits);

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override { return ended_; }
  [[nodiscard]] bool reaches(MemorySpan memory) const override;
  [[nodiscard]] std::optional<Error> fault() const override;
  /// Far from 0, and it stands still: no time is ever lost.
  [[nodiscard]] std::chrono::nanoseconds now() const override { return std::chrono::hours(2'000'000); }

  [[nodiscard]] const std::vector<Job>& jobs() const { return jobs_; }
  [[nodiscard]] std::size_t bytes(const Job& job) const { return layout_.bytes(job.first_page, job.pages); }
  [[nodiscard]] bool dead() const { return dead_; }
  [[nodiscard]] bool lied() const { return lied_; }
  /// How often it has refused a job for good.
  [[nodiscard]] std::uint64_t refusals() const { return refusals_; }
  /// Urgent and background jobs that it has taken.
  [[nodiscard]] std::uint64_t taken() const { return taken_; }
  /// Which of them was the last urgent one on this page; 0: none.
  [[nodiscard]] std::uint64_t urgent(std::size_t page) const { return urgent_[page]; }
  /// What the manager asked that it must not ask.
  [[nodiscard]] const std::string& misuse() const { return misuse_; }

  void set_busy(bool busy) { busy_ = busy; }
  /// Of the jobs of one submit().
  void take_at_most(std::size_t jobs) { most_at_once_ = jobs; }
  /// Jobs on these pages are refused for good. No pages: no job any more.
  void refuse(std::size_t first, std::size_t pages, bool outside);
  /// The next time that it can.
  void lie(Lie lie) { lie_ = lie; }
  /// It may be asked for nothing more, but that what it works on is cancelled.
  void close() { closed_ = true; }

  /// Ends a job: all of it is written, or `bytes` and it was cancelled, or it failed after `bytes` and the last
  /// `unaffected` have nothing to do with that.
  void end(std::size_t which, Outcome outcome, std::size_t bytes, std::size_t unaffected = 0);
  void die();
  /// The process is killed: what is under way stops somewhere.
  void stop_at(std::size_t bytes);

 private:
  [[nodiscard]] bool refuses(const ScrubJob& job) const;
  [[nodiscard]] Job job_of(const ScrubJob& job);
  void write(const Job& job, std::size_t bytes);
  [[nodiscard]] bool tells(Lie lie);
  void doubt(const Job& job);
  void distort(Completion& completion);

  MemoryModel& memory_;
  const Layout& layout_;
  const std::byte* base_;
  const std::uint64_t& steps_;
  std::vector<std::size_t> windows_;
  EngineCapabilities capabilities_;
  std::vector<Job> jobs_;
  std::vector<std::pair<Completion, Job>> done_;
  std::array<std::uint64_t, kPages> urgent_{};
  std::size_t most_at_once_ = ~std::size_t{0};
  std::size_t refused_page_ = 0;
  std::size_t refused_pages_ = 0;
  DriverErrc refused_as_ = DriverErrc::OutsideWindow;
  Lie lie_ = Lie::None;
  std::string misuse_;
  std::uint32_t next_ = 0;
  std::uint64_t ended_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t refusals_ = 0;
  bool dead_ = false;
  bool lied_ = false;
  bool busy_ = false;
  bool closed_ = false;
};

}  // namespace sluice::world
