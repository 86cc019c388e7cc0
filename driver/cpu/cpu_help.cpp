// SPDX-License-Identifier: Apache-2.0
// Whoever waits helps: what callers do themselves when the scheduler does not let a worker run.
#include <algorithm>

#include "cpu_workers.hpp"
#include "signal_mask.hpp"

namespace sluice::inline cpu {
namespace {

constexpr std::size_t kLongestHere = 2 << 20;      // of one job, where a worker would wait for a scheduler's slice
constexpr std::size_t kUrgentInSubmit = 32 << 10;  // takes less time than to wake a worker up
constexpr std::size_t kSmallBatch = 8 << 10;       // takes less time than to hand it over

}  // namespace

/// A worker that rests, shares the caller's CPU, or has shown no sign of life for some time does not run. One that is
/// silent in the middle of its work waits for the scheduler.
bool CpuEngine::Workers::workers_run(Pulse::Clock::time_point now) {
  const int cpu = ::sched_getcpu();
  bool run = false;
  for (const Pulse& worker : std::span(pulses_).first(options_.threads)) {
    run = run || worker.runs_beside(cpu, now);
    crowd_.waited(worker.silent_for(now), now);
  }
  return run;
}

/// Does a bounded piece of what is queued; false: there was no need, or no piece.
bool CpuEngine::Workers::help(Pulse::Clock::time_point now) {
  if (!hooks_.callers_help || queues_empty()) return false;
  if (workers_run(now) && !crowd_.is_here(now)) return false;
  const std::unique_lock helping(helping_, std::try_to_lock);
  std::unique_lock locked(queues_, std::try_to_lock);
  if (!helping || !locked) return false;  // somebody is about to do it
  if (urgent_.empty() && rate_limit_.limits()) return false;
  take(taken_here_);
  locked.unlock();
  do_taken(kPiece);
  return true;
}

bool CpuEngine::Workers::is_small_batch(std::span<const ScrubJob> jobs) const {
  if (jobs.size() > taken_here_.capacity() || rate_limit_.limits()) return false;
  std::size_t bytes = 0;
  for (const ScrubJob& job : jobs) {
    if (job.memory.size() > kSmallBatch) return false;
    bytes += job.memory.size();
  }
  return bytes <= kSmallBatch;
}

/// How many of these a caller does within submit(): all of them if together they are a small batch, or urgent and short
/// while no worker is awake; as many as are a piece where no worker runs and a wake-up takes too long. 0: they are
/// queued.
std::size_t CpuEngine::Workers::count_done_here(std::span<const ScrubJob> jobs, Pulse::Clock::time_point now) {
  if (!hooks_.callers_help || !queues_empty()) return 0;
  if (is_small_batch(jobs)) return jobs.size();
  const bool asleep = sleepers_.load(std::memory_order_relaxed) == options_.threads;
  const bool crowded = !workers_run(now) && crowd_.is_here(now);
  if (!asleep && !crowded) return 0;
  const std::size_t most = crowded ? kPiece : kUrgentInSubmit;
  std::size_t count = 0;
  std::size_t bytes = 0;
  for (const ScrubJob& job : jobs.first(std::min(jobs.size(), taken_here_.capacity()))) {
    bytes += std::min(job.memory.size(), kLongestHere + 1);
    const bool urgent = job.urgency == Urgency::Urgent;
    if (!urgent && (!crowded || rate_limit_.limits())) break;
    if (bytes > most && (!crowded || count > 0 || bytes > kLongestHere)) break;
    ++count;
  }
  return crowded || count == jobs.size() ? count : 0;
}

/// Does what was taken, of a longer job no more than the budget. With the lock of helping_.
void CpuEngine::Workers::do_taken(std::size_t budget) {
  const SignalMask bus_errors_come(SignalMask::Of::Helper);
  for (Piece& piece : taken_here_) {
    if (advance(piece, done_here_.completions.emplace_back(), pulses_.back(), budget, false)) {
      done_here_.urgent = done_here_.urgent || piece.work.urgent;
      continue;
    }
    done_here_.completions.pop_back();
    const std::scoped_lock locked(queues_);
    left_ = piece;
    has_left_.store(true, std::memory_order_seq_cst);
  }
  publish(done_here_);
  if (has_left_.load(std::memory_order_relaxed)) wake(1, Pulse::Clock::now());
}

/// How many workers this number of new jobs needs.
void CpuEngine::Workers::wake(std::size_t jobs, Pulse::Clock::time_point now) {
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  Pulse::Clock::rep none = 0;
  woken_at_.compare_exchange_strong(none, now.time_since_epoch().count(), std::memory_order_relaxed);
  { const std::scoped_lock asleep(queues_); }  // none is between its last look and its sleep
  if (jobs == 1) {
    work_.notify_one();
  } else {
    work_.notify_all();
  }
}

}  // namespace sluice::inline cpu
