// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/paced_engine.hpp"

#include <array>

#include "sluice/base/saturating.hpp"

namespace sluice::inline workload {

PacedEngine::PacedEngine(Engine& engine, double bytes_per_second)
    : engine_(engine),
      capabilities_(engine.capabilities()),
      bytes_per_second_(bytes_per_second),
      follows_(events_.follow(engine.completion_fd())) {
  capabilities_.concurrent_calls = false;
}

void PacedEngine::set_time(std::chrono::nanoseconds time) {
  time_ = std::max(time_, time);
  events_.set_readable(has_due());
}

int PacedEngine::completion_fd() const noexcept { return follows_ && engine_.completion_fd() >= 0 ? events_.fd() : -1; }

std::optional<std::chrono::nanoseconds> PacedEngine::next_due() const {
  if (by_due_.empty()) return std::nullopt;
  return by_due_.begin()->first.first;
}

Result<std::size_t> PacedEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  Result<std::size_t> accepted = engine_.submit(jobs, ids);
  if (!accepted) return accepted;
  for (std::size_t index = 0; index < *accepted; ++index) {
    const ScrubJob& job = jobs[index];
    const double seconds = static_cast<double>(job.memory.size()) / bytes_per_second_;
    const std::chrono::nanoseconds length = nanoseconds_of(seconds);
    std::chrono::nanoseconds due = add_saturating(time_, length);
    if (job.urgency == Urgency::Background) {
      background_free_ = add_saturating(std::max(time_, background_free_), length);
      due = background_free_;
    }
    jobs_[ids[index]] = {due, next_order_, false, std::nullopt};
    by_due_.emplace(Key{due, next_order_++}, ids[index]);
  }
  return accepted;
}

CancelResult PacedEngine::cancel(JobId id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return engine_.cancel(id);
  Job& job = found->second;
  if (!job.cancelled) {
    job.cancelled = true;
    by_due_.erase({job.due, job.order});
    job.due = time_;
    job.order = next_order_++;
    by_due_.emplace(Key{job.due, job.order}, id);
  }
  static_cast<void>(engine_.cancel(id));  // it may have finished already: on the trace's clock it has not
  events_.set_readable(has_due());
  return CancelResult::Requested;
}

/// Whether the next completion can be shown. After a fault there is no order to keep. Before, the order is that of the
/// trace's clock.
bool PacedEngine::has_due() const {
  if (by_due_.empty()) return false;
  const auto& [key, id] = *by_due_.begin();
  return jobs_.at(id).result && (key.first <= time_ || engine_.fault());
}

void PacedEngine::collect() {
  std::array<Completion, 32> some;
  for (std::size_t got = some.size(); got == some.size();) {
    got = engine_.poll(some);
    for (const Completion& completion : std::span(some).first(got)) {
      auto [job, foreign] = jobs_.try_emplace(completion.id, Job{time_, next_order_, false, std::nullopt});
      // Of a job that was never submitted: whoever submits judges what to think of the engine.
      if (foreign) by_due_.emplace(Key{time_, next_order_++}, completion.id);
      job->second.result = completion;
    }
  }
}

std::size_t PacedEngine::poll(std::span<Completion> out) {
  collect();
  std::size_t count = 0;
  while (count < out.size() && has_due()) {
    const JobId id = by_due_.begin()->second;
    const Job& job = jobs_.at(id);
    out[count] = *job.result;
    if (job.cancelled && out[count].outcome == Outcome::Zeroed) out[count].outcome = Outcome::Cancelled;
    ++count;
    by_due_.erase(by_due_.begin());
    jobs_.erase(id);
  }
  events_.set_readable(has_due());
  return count;
}

}  // namespace sluice::inline workload
