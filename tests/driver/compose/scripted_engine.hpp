// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>

#include <deque>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/engine/event_source.hpp"

namespace sluice::test {

/// Whether a descriptor is readable now.
inline bool is_readable(int fd) {
  pollfd asked{fd, POLLIN, 0};
  return ::poll(&asked, 1, 0) == 1;
}

/// An engine that does as its test says, behind a composed engine: what it takes, refuses and ends, when, and where it
/// throws. Nothing is written.
class ScriptedEngine final : public Engine {
 public:
  struct Job {
    JobId id;
    ScrubJob job;
    bool cancel_requested = false;
  };

  EngineCapabilities offers{"scripted", 32, ByteCount(1ULL << 40), false, 0.0, true, 1};
  std::vector<MemorySpan> windows;  ///< Empty: all memory.
  std::size_t most_taken = 1000;    ///< Jobs in one submit().
  std::optional<Error> refusal;     ///< Of every job that `refuses` names; without it of all.
  std::function<bool(const ScrubJob&)> refuses;
  std::optional<Error> broken;
  std::string throws_in;
  std::uint64_t done = 0;  ///< Progress.
  std::chrono::nanoseconds time{0};
  bool has_descriptor = true;
  std::deque<Job> running;
  std::vector<Job> taken;  ///< All of them, in order.
  std::size_t submits = 0;

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return offers; }

  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override {
    enter("submit");
    ++submits;
    if (broken) return *broken;
    for (const ScrubJob& job : jobs) {
      if (refusal && (!refuses || refuses(job))) return *refusal;
    }
    const std::size_t count = std::min({jobs.size(), most_taken, offers.max_jobs_in_flight - held()});
    if (count == 0) return Error{DriverErrc::Busy, "full"};
    for (std::size_t index = 0; index < count; ++index) {
      ids[index] = {7, ++last_};
      running.push_back({ids[index], jobs[index]});
      taken.push_back(running.back());
    }
    return count;
  }
  CancelResult cancel(JobId id) override {
    enter("cancel");
    for (Job& job : running) {
      if (job.id != id) continue;
      job.cancel_requested = true;
      return CancelResult::Requested;
    }
    return CancelResult::AlreadyFinished;
  }
  std::size_t poll(std::span<Completion> out) override {
    enter("poll");
    std::size_t count = 0;
    while (count < out.size() && !ended_.empty()) {
      out[count++] = ended_.front();
      ended_.pop_front();
    }
    events_.set_readable(!ended_.empty());
    return count;
  }
  [[nodiscard]] std::uint64_t progress() override {
    enter("progress");
    return done;
  }
  [[nodiscard]] bool reaches(MemorySpan memory) const override {
    enter("reaches");
    if (windows.empty()) return true;
    for (const MemorySpan window : windows) {
      if (memory.data() >= window.data() && memory.data() + memory.size() <= window.data() + window.size()) return true;
    }
    return false;
  }
  [[nodiscard]] int completion_fd() const noexcept override { return has_descriptor ? events_.fd() : -1; }
  [[nodiscard]] std::optional<Error> fault() const override {
    enter("fault");
    return broken;
  }
  [[nodiscard]] std::chrono::nanoseconds now() const override {
    enter("now");
    return time;
  }

  void end(std::size_t index, Outcome outcome, std::uint64_t bytes, FailureCause cause = FailureCause::None,
           std::uint64_t unaffected = 0) {
    const Job job = running.at(index);
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(index));
    ended_.push_back({job.id, job.job.cookie, outcome, cause, ByteCount(bytes), ByteCount(unaffected)});
    events_.set_readable(true);
  }
  void zero(std::size_t index) { end(index, Outcome::Zeroed, running.at(index).job.memory.size()); }
  /// Ends all that runs: Cancelled with nothing written where that was asked for, else Zeroed.
  void end_all() {
    while (!running.empty()) {
      if (running.front().cancel_requested) {
        end(0, Outcome::Cancelled, 0);
      } else {
        zero(0);
      }
    }
  }
  void say(const Completion& completion) { ended_.push_back(completion); }

 private:
  void enter(const std::string& function) const {
    if (throws_in == function) throw std::runtime_error("thrown by the script");
  }
  [[nodiscard]] std::size_t held() const { return running.size() + ended_.size(); }

  std::deque<Completion> ended_;
  std::uint32_t last_ = 0;
  EventSource events_;
};

}  // namespace sluice::test
