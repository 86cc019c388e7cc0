// SPDX-License-Identifier: Apache-2.0
// The callers' side: accepts jobs, hands back their completions, and notices workers that have stopped.
#include "sluice/cpu/cpu_engine.hpp"

#include <fmt/format.h>

#include <utility>

#include "cpu_options.hpp"
#include "cpu_workers.hpp"

namespace sluice::inline cpu {

Result<std::size_t> CpuEngine::Workers::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (auto room = check_room(jobs, ids); !room) return room.error();
  if (auto checked = windows_.check(jobs, capabilities_); !checked) return checked.error();
  if (in_another_process()) return foreign();
  std::unique_lock locked(callers_);
  if (fault_) return *fault_;
  std::size_t count = std::min<std::size_t>(jobs.size(), slots_.free_count());
  if (count == 0) return all_in_use(slots_.capacity());
  const auto now = Pulse::Clock::now();
  std::unique_lock helping(helping_, std::defer_lock);
  const std::size_t here = count_done_here(jobs.first(count), now);
  if (here > 0 && helping.try_lock()) count = here;
  // Where nothing was under way, nobody has been slow.
  if (slots_.held_count() == finished_.size()) last_progress_ = now;
  std::uint64_t urgent = urgent_.tail();
  std::uint64_t background = background_.tail();
  if (helping) taken_here_.clear();
  for (std::size_t index = 0; index < count; ++index) {
    ids[index] = slots_.take(jobs[index]);
    if (helping) {
      Piece& piece = taken_here_.emplace_back();
      piece.work.set(jobs[index], ids[index]);
      piece.begin();
      continue;
    }
    const bool is_urgent = jobs[index].urgency == Urgency::Urgent;
    (is_urgent ? urgent_.entry(urgent++) : background_.entry(background++)).set(jobs[index], ids[index]);
  }
  held_.store(slots_.held_count(), std::memory_order_relaxed);
  if (helping) {
    locked.unlock();
    do_taken(kNoBudget);
    return count;
  }
  if (urgent != urgent_.tail()) urgent_.publish_to(urgent);
  if (background != background_.tail()) background_.publish_to(background);
  wake(count, now);
  return count;
}

CancelResult CpuEngine::Workers::cancel(JobId id) {
  if (in_another_process()) return CancelResult::UnknownJob;
  const std::scoped_lock locked(callers_);
  if (!slots_.holds(id)) return slots_.knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  if (ended_.has(id)) return CancelResult::AlreadyFinished;
  cancelled_.set(id);
  return CancelResult::Requested;
}

std::size_t CpuEngine::Workers::poll(std::span<Completion> out) {
  // Who polls in vain looks only now and then at whether the workers still work.
  const auto now = Pulse::Clock::now();
  const bool look = now.time_since_epoch().count() >= next_look_.load(std::memory_order_relaxed);
  if (finished_.empty() && queues_empty() && !look) return 0;
  if (in_another_process()) return 0;
  if (finished_.empty() && !help(now) && !look) return 0;
  const std::scoped_lock locked(callers_);
  if (look) watch(now);
  const std::uint64_t head = finished_.head();
  const std::size_t count = std::min(out.size(), finished_.size());
  for (std::size_t index = 0; index < count; ++index) {
    const Done& done = finished_.entry(head + index);
    out[index] = {done.id(), slots_.job(done.slot).cookie, done.outcome, done.cause, done.bytes_zeroed, {}};
    slots_.give_back(done.slot);
  }
  finished_.claim_to(head + count);
  held_.store(slots_.held_count(), std::memory_order_relaxed);
  if (signal_->raised() || !finished_.empty()) settle_signal();
  return count;
}

/// Something to read on the descriptor as long as there are completions, and nothing after that.
void CpuEngine::Workers::settle_signal() {
  const std::scoped_lock locked(done_);
  if (finished_.empty()) {
    signal_->clear();
  } else {
    signal_->raise();
  }
}

/// From now on completions are signalled, those that wait already at once.
int CpuEngine::Workers::descriptor() {
  if (in_another_process()) return -1;
  const std::scoped_lock locked(done_);
  const int descriptor = signal_->descriptor();
  if (!finished_.empty()) signal_->raise();
  return descriptor;
}

Error CpuEngine::Workers::foreign() const {
  return {DriverErrc::EngineFailed,
          fmt::format("this engine and its workers belong to process {}: a child may only exec or exit; make an engine "
                      "of its own after fork()",
                      process_.id())};
}

std::optional<Error> CpuEngine::Workers::fault() const {
  if (in_another_process()) return foreign();
  const std::scoped_lock locked(callers_);
  return fault_;
}

std::uint64_t CpuEngine::Workers::progress() const {
  std::uint64_t chunks = 0;
  for (const Pulse& pulse : pulses_) chunks += pulse.chunks();
  return chunks;
}

/// Notices workers that have stopped: fails everything that is in flight. What a worker that wakes up later finishes is
/// dropped.
void CpuEngine::Workers::watch(Pulse::Clock::time_point now) {
  const auto look_after = std::chrono::duration_cast<Pulse::Clock::duration>(options_.stall_timeout / 16);
  next_look_.store((now + look_after).time_since_epoch().count(), std::memory_order_relaxed);
  if (const std::uint64_t chunks = progress(); chunks != seen_progress_) {
    seen_progress_ = chunks;
    last_progress_ = now;
    return;
  }
  const std::size_t unfinished = slots_.held_count() - finished_.size();
  if (fault_ || unfinished == 0 || now - last_progress_ < options_.stall_timeout) return;
  fault_ =
      Error{DriverErrc::EngineFailed,
            fmt::format("no worker has finished a chunk for {} ms with {} jobs in flight; the engine is out of use, "
                        "its memory in flight must stay quarantined",
                        options_.stall_timeout.count() / 1'000'000, unfinished)};
  const std::scoped_lock locked(queues_, done_);
  urgent_.claim_to(urgent_.tail());
  background_.claim_to(background_.tail());
  given_up_ = true;
  std::uint64_t position = finished_.tail();
  for (std::uint32_t slot = 0; slot < slots_.capacity(); ++slot) {
    const JobId id = slots_.id(slot);
    if (!slots_.held(slot) || ended_.has(id)) continue;
    ended_.set(id);
    cancelled_.set(id);
    finished_.entry(position++) = {id.generation, static_cast<std::uint16_t>(slot), Outcome::Failed,
                                   FailureCause::Timeout, ByteCount(0)};
  }
  finished_.publish_to(position);
}

Result<std::unique_ptr<CpuEngine>> CpuEngine::create(const CpuOptions& options, std::span<const MemorySpan> windows) {
  return create(options, windows, {.callers_help = true});
}

Result<std::unique_ptr<CpuEngine>> CpuEngine::create(const CpuOptions& given, std::span<const MemorySpan> windows,
                                                     const CpuHooks& hooks) {
  auto checked = check_options(given);
  if (!checked) return checked.error();
  const CpuOptions& options = *checked;
  Windows opened;
  for (const MemorySpan window : windows) {
    if (auto added = opened.add(window, Iova(reinterpret_cast<std::uintptr_t>(window.data()))); !added) {
      return added.error();
    }
  }
  auto signal = CompletionSignal::create();
  if (!signal) return signal.error();
  auto workers = std::make_unique<Workers>(options, hooks, std::move(opened), std::move(*signal));
  try {
    if (auto started = workers->start(); !started) return started.error();
  } catch (const std::system_error& error) {
    return Error{DriverErrc::NoResources,
                 fmt::format("cannot start {} worker threads: {}; ask for fewer", options.threads, error.what())};
  }
  return std::unique_ptr<CpuEngine>(new CpuEngine(std::move(workers)));
}

CpuEngine::CpuEngine(std::unique_ptr<Workers> workers) : workers_(std::move(workers)) {}
CpuEngine::~CpuEngine() {
  if (workers_->in_another_process()) static_cast<void>(workers_.release());
}

const EngineCapabilities& CpuEngine::capabilities() const noexcept { return workers_->capabilities(); }
Result<std::size_t> CpuEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  return workers_->submit(jobs, ids);
}
CancelResult CpuEngine::cancel(JobId id) { return workers_->cancel(id); }
std::size_t CpuEngine::poll(std::span<Completion> out) { return workers_->poll(out); }
std::uint64_t CpuEngine::progress() { return workers_->progress(); }
bool CpuEngine::reaches(MemorySpan memory) const { return workers_->reaches(memory); }
int CpuEngine::completion_fd() const noexcept { return workers_->descriptor(); }
std::optional<Error> CpuEngine::fault() const { return workers_->fault(); }
std::chrono::nanoseconds CpuEngine::now() const { return std::chrono::steady_clock::now().time_since_epoch(); }

}  // namespace sluice::inline cpu
