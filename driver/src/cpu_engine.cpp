// SPDX-License-Identifier: Apache-2.0
#include "sluice/driver/cpu_engine.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "cpu_affinity.hpp"
#include "cpu_options.hpp"
#include "job_slots.hpp"
#include "rate_limit.hpp"
#include "windows.hpp"

namespace sluice {
namespace {

constexpr std::size_t kMostJobsTaken = 64;    // by a worker at once, and published together
constexpr ByteCount kMostUntold{2ULL << 20};  // of background jobs, before whoever sleeps is woken up

}  // namespace

/// Everything that callers and worker threads share. One mutex guards the books, taken once for a batch; the cancel
/// flags and the progress counter are atomic so that a worker can look at them between chunks without it.
class CpuEngine::Workers {
 public:
  Workers(const CpuOptions& options, Windows windows, int event_fd)
      : options_(options),
        windows_(std::move(windows)),
        capabilities_{
            "cpu/" + (options.fill ? std::string("injected") : to_string(options.store.value_or(best_store()))),
            options.max_jobs,
            ByteCount(1ULL << 40),
            true,
            0.0,
            true},
        event_fd_(event_fd),
        slots_(options.max_jobs),
        states_(options.max_jobs),
        urgent_(options.max_jobs),
        background_(options.max_jobs),
        finished_(options.max_jobs),
        progress_(options.threads),
        rate_limit_(options.bytes_per_second) {
    if (!options_.fill) {
      options_.fill = [kind = options.store.value_or(best_store())](MemorySpan memory, std::uint64_t pattern) {
        fill_nontemporal(kind, memory, pattern);
        return true;
      };
    }
    threads_.reserve(options_.threads);
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  ~Workers() {
    {
      const auto locked = lock();
      stopping_ = true;
      for (State& state : states_) state.cancel.store(true, std::memory_order_relaxed);
    }
    work_.notify_all();
    threads_.clear();
    ::close(event_fd_);
  }

  /// Errors: InvalidArgument for a CPU that this process may not use. Throws std::system_error without a thread.
  Result<void> start() {
    for (std::uint32_t index = 0; index < options_.threads; ++index) {
      threads_.emplace_back([this, index] { work(progress_[index]); });
      if (options_.cpus.empty()) continue;
      const auto cpus = options_.numa_node ? std::span(options_.cpus)
                                           : std::span(options_.cpus).subspan(index % options_.cpus.size(), 1);
      if (auto pinned = run_only_on(threads_.back().native_handle(), cpus); !pinned) return pinned;
    }
    return {};
  }

  Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids);
  CancelResult cancel(JobId id);
  std::size_t poll(std::span<Completion> out);
  int event_fd();

  const EngineCapabilities& capabilities() const { return capabilities_; }
  std::optional<Error> fault() const {
    const auto locked = lock();
    return fault_;
  }

 private:
  enum class Phase : std::uint8_t { Queued, Running, Finished };
  struct State {
    Phase phase = Phase::Queued;
    std::atomic<bool> cancel{false};
  };
  /// Chunks that a worker has finished. Not a counter of all workers: a locked instruction would wait, chunk by chunk,
  /// until the stores past the caches have left the CPU.
  struct alignas(64) Progress {
    std::atomic<std::uint64_t> chunks{0};
    void count() { chunks.store(chunks.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  };
  struct Taken {
    ScrubJob job;
    JobId id;
  };

  /// The lock is held for a microsecond at most: to sleep for it would cost more.
  std::unique_lock<std::mutex> lock() const {
    for (int attempt = 0; attempt < 200; ++attempt) {
      if (std::unique_lock taken(mutex_, std::try_to_lock); taken) return taken;
      __builtin_ia32_pause();
    }
    return std::unique_lock(mutex_);
  }
  void work(Progress& progress);
  void wait_for_work(std::unique_lock<std::mutex>& locked);
  void take(Ring<std::uint32_t>& queue, std::vector<Taken>& taken);
  void serve_urgent(Progress& progress);
  Completion run(const ScrubJob& job, JobId id, Progress& progress);
  MemorySpan next_chunk(MemorySpan memory, std::size_t from, std::size_t to) const;
  bool wait_for_rate(const ScrubJob& job, JobId id, Progress& progress);
  void publish(std::vector<Completion>& batch);
  void watch();
  void signal();
  bool queues_empty() const { return urgent_.empty() && background_.empty(); }

  CpuOptions options_;
  Windows windows_;
  EngineCapabilities capabilities_;
  int event_fd_;

  mutable std::mutex mutex_;
  std::condition_variable work_;
  JobSlots slots_;
  std::vector<State> states_;
  Ring<std::uint32_t> urgent_;
  Ring<std::uint32_t> background_;
  Ring<Completion> finished_;
  std::optional<Error> fault_;
  bool stopping_ = false;
  bool event_fd_used_ = false;  // nobody pays for an eventfd that nobody reads
  bool signalled_ = false;
  ByteCount untold_;  // published since the last signal

  std::atomic<bool> any_finished_{false};
  std::atomic<bool> urgent_waits_{false};
  std::atomic<std::chrono::steady_clock::rep> next_look_{0};
  std::atomic<std::uint64_t> submitted_{0};  // so that a worker that spins need not lock
  std::vector<Progress> progress_;           // by worker
  std::uint64_t seen_progress_ = 0;
  std::chrono::steady_clock::time_point last_progress_;
  RateLimit rate_limit_;
  std::vector<std::jthread> threads_;
};

Result<std::size_t> CpuEngine::Workers::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (auto room = check_room(jobs, ids); !room) return room.error();
  if (auto checked = windows_.check(jobs, capabilities_.max_job_length); !checked) return checked.error();
  const auto locked = lock();
  if (fault_) return *fault_;
  const std::size_t count = std::min<std::size_t>(jobs.size(), slots_.free_count());
  if (count == 0) {
    return Error{DriverErrc::Busy, fmt::format("all {} jobs are in use: collect completions first", slots_.capacity())};
  }
  if (slots_.held_count() == 0) last_progress_ = std::chrono::steady_clock::now();
  for (std::size_t index = 0; index < count; ++index) {
    ids[index] = slots_.take(jobs[index]);
    State& state = states_[ids[index].slot];
    state.phase = Phase::Queued;
    state.cancel.store(false, std::memory_order_relaxed);
    (jobs[index].urgency == Urgency::Urgent ? urgent_ : background_).push(ids[index].slot);
  }
  urgent_waits_.store(!urgent_.empty(), std::memory_order_relaxed);
  submitted_.fetch_add(count, std::memory_order_relaxed);
  if (count == 1) {
    work_.notify_one();
  } else {
    work_.notify_all();
  }
  return count;
}

CancelResult CpuEngine::Workers::cancel(JobId id) {
  const auto locked = lock();
  if (!slots_.holds(id)) return slots_.knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  State& state = states_[id.slot];
  if (state.phase == Phase::Finished) return CancelResult::AlreadyFinished;
  state.cancel.store(true, std::memory_order_relaxed);
  return CancelResult::Requested;
}

std::size_t CpuEngine::Workers::poll(std::span<Completion> out) {
  // Who polls in vain does not take the lock from the workers, but for a look now and then at whether they still work.
  const auto now = std::chrono::steady_clock::now();
  if (!any_finished_.load(std::memory_order_acquire) &&
      now.time_since_epoch().count() < next_look_.load(std::memory_order_relaxed)) {
    return 0;
  }
  const auto look_after = std::chrono::duration_cast<std::chrono::steady_clock::duration>(options_.stall_timeout / 16);
  next_look_.store((now + look_after).time_since_epoch().count(), std::memory_order_relaxed);
  const auto locked = lock();
  if (finished_.empty() && slots_.held_count() > 0 && !fault_) watch();
  std::size_t count = 0;
  while (count < out.size() && !finished_.empty()) {
    out[count++] = finished_.front();
    slots_.give_back(finished_.front().id.slot);
    finished_.pop();
  }
  any_finished_.store(!finished_.empty(), std::memory_order_relaxed);
  if (finished_.empty() && signalled_) {
    signalled_ = false;
    std::uint64_t drained = 0;
    [[maybe_unused]] const auto got = ::read(event_fd_, &drained, sizeof drained);
  }
  return count;
}

/// From now on completions are signalled, those that wait already at once.
int CpuEngine::Workers::event_fd() {
  const auto locked = lock();
  event_fd_used_ = true;
  if (!finished_.empty()) signal();
  return event_fd_;
}

void CpuEngine::Workers::signal() {
  untold_ = ByteCount(0);
  if (!event_fd_used_ || signalled_) return;
  signalled_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto put = ::write(event_fd_, &one, sizeof one);
}

/// Notices workers that have stopped: fails everything that is in flight. A worker that wakes up later finds its job
/// finished and drops it.
void CpuEngine::Workers::watch() {
  const auto now = std::chrono::steady_clock::now();
  std::uint64_t progress = 0;
  for (const Progress& worker : progress_) progress += worker.chunks.load(std::memory_order_relaxed);
  if (progress != seen_progress_) {
    seen_progress_ = progress;
    last_progress_ = now;
    return;
  }
  if (now - last_progress_ < options_.stall_timeout) return;
  fault_ =
      Error{DriverErrc::EngineFailed,
            fmt::format("no worker has finished a chunk for {} ms with {} jobs in flight; the engine is out of use, "
                        "its memory in flight must stay quarantined",
                        options_.stall_timeout.count() / 1'000'000, slots_.held_count())};
  urgent_.clear();
  background_.clear();
  urgent_waits_.store(false, std::memory_order_relaxed);
  for (std::uint32_t slot = 0; slot < slots_.capacity(); ++slot) {
    if (!slots_.held(slot) || states_[slot].phase == Phase::Finished) continue;
    states_[slot].phase = Phase::Finished;
    states_[slot].cancel.store(true, std::memory_order_relaxed);
    finished_.push({slots_.id(slot), slots_.job(slot).cookie, Outcome::Failed, FailureCause::Timeout, ByteCount(0)});
  }
  any_finished_.store(!finished_.empty(), std::memory_order_release);
}

void CpuEngine::Workers::work(Progress& progress) {
  std::vector<Taken> taken;
  std::vector<Completion> batch;
  taken.reserve(kMostJobsTaken);
  batch.reserve(kMostJobsTaken);
  for (;;) {
    {
      auto locked = lock();
      wait_for_work(locked);
      if (queues_empty()) return;  // only when stopping
      take(urgent_.empty() ? background_ : urgent_, taken);
    }
    for (const Taken& next : taken) {
      // A long job does not hold back those before it; one that was cancelled or has failed is told at once.
      if (length_of(next.job.memory) > options_.publish_bytes && !batch.empty()) publish(batch);
      batch.push_back(run(next.job, next.id, progress));
      if (batch.back().outcome != Outcome::Zeroed) publish(batch);
    }
    if (!batch.empty()) publish(batch);
  }
}

/// Spins for a while, since a sleeping worker takes long to wake up.
void CpuEngine::Workers::wait_for_work(std::unique_lock<std::mutex>& locked) {
  if (queues_empty() && !stopping_ && options_.spin.count() > 0) {
    const std::uint64_t seen = submitted_.load(std::memory_order_relaxed);
    locked.unlock();
    const auto end = std::chrono::steady_clock::now() + options_.spin;
    while (submitted_.load(std::memory_order_relaxed) == seen && std::chrono::steady_clock::now() < end) {
      for (int pause = 0; pause < 16; ++pause) __builtin_ia32_pause();
    }
    locked = lock();
  }
  work_.wait(locked, [this] { return stopping_ || !queues_empty(); });
}

/// This worker's share of what waits, up to publish_bytes. One at a time where a job may wait for the rate, so that
/// none waits behind it unpublished.
void CpuEngine::Workers::take(Ring<std::uint32_t>& queue, std::vector<Taken>& taken) {
  taken.clear();
  const std::size_t share = (queue.size() + options_.threads - 1) / options_.threads;
  const std::size_t most = &queue == &background_ && rate_limit_.limits() ? 1 : kMostJobsTaken;
  ByteCount bytes;
  while (taken.size() < std::min(share, most) && bytes < options_.publish_bytes) {
    const std::uint32_t slot = queue.front();
    queue.pop();
    states_[slot].phase = Phase::Running;
    taken.push_back({slots_.job(slot), slots_.id(slot)});
    bytes += length_of(taken.back().job.memory);
  }
  urgent_waits_.store(!urgent_.empty(), std::memory_order_relaxed);
}

/// Leaves a background job, between two chunks, for the urgent ones that have come.
void CpuEngine::Workers::serve_urgent(Progress& progress) {
  std::vector<Taken> taken;
  {
    const auto locked = lock();
    take(urgent_, taken);
  }
  std::vector<Completion> batch;
  batch.reserve(taken.size());
  for (const Taken& next : taken) batch.push_back(run(next.job, next.id, progress));
  if (!batch.empty()) publish(batch);
}

Completion CpuEngine::Workers::run(const ScrubJob& job, JobId id, Progress& progress) {
  const std::size_t size = job.memory.size();
  std::size_t filled = job.operation == Operation::Verify ? size : 0;
  std::size_t verified = job.operation == Operation::Fill ? size : 0;
  const auto ended = [&](Outcome outcome, FailureCause cause, std::size_t bytes) {
    return Completion{id, job.cookie, outcome, cause, ByteCount(bytes)};
  };
  while (filled < size || verified < size) {
    if (job.urgency == Urgency::Background && urgent_waits_.load(std::memory_order_relaxed)) serve_urgent(progress);
    if (states_[id.slot].cancel.load(std::memory_order_relaxed) || !wait_for_rate(job, id, progress)) {
      return ended(Outcome::Cancelled, FailureCause::None, job.operation == Operation::Verify ? verified : filled);
    }
    const std::size_t readable = filled;  // a chunk behind the fill: by then it has left the CPU's buffers
    if (filled < size) {
      const MemorySpan chunk = next_chunk(job.memory, filled, size);
      if (job.read_soon) {
        fill_temporal(chunk, job.pattern);
      } else if (!options_.fill(chunk, job.pattern)) {
        return ended(Outcome::Failed, FailureCause::SlaveError, filled);
      }
      filled += chunk.size();
    }
    if (verified < readable) {
      if (job.operation == Operation::FillVerify) store_fence();
      const MemorySpan chunk = next_chunk(job.memory, verified, readable);
      const std::size_t equal = equal_prefix(chunk, job.pattern);
      verified += equal;
      if (equal < chunk.size()) return ended(Outcome::Failed, FailureCause::Mismatch, verified);
    }
    progress.count();
  }
  return ended(Outcome::Zeroed, FailureCause::None, size);
}

MemorySpan CpuEngine::Workers::next_chunk(MemorySpan memory, std::size_t from, std::size_t to) const {
  return memory.subspan(from, std::min<std::size_t>(options_.chunk.value(), to - from));
}

/// Waits until the limit lets a background job do its next chunk; false: it was cancelled meanwhile.
bool CpuEngine::Workers::wait_for_rate(const ScrubJob& job, JobId id, Progress& progress) {
  if (job.urgency == Urgency::Urgent || !rate_limit_.limits()) return true;
  const std::size_t length = std::min<std::size_t>(options_.chunk.value(), job.memory.size());
  const auto due = rate_limit_.reserve(ByteCount(length), std::chrono::steady_clock::now());
  constexpr std::chrono::steady_clock::duration kNap = std::chrono::milliseconds(1);  // and then looks for a cancel
  for (auto now = std::chrono::steady_clock::now(); now < due; now = std::chrono::steady_clock::now()) {
    if (states_[id.slot].cancel.load(std::memory_order_relaxed)) return false;
    if (urgent_waits_.load(std::memory_order_relaxed)) serve_urgent(progress);
    std::this_thread::sleep_for(std::min(kNap, due - now));
    progress.count();
  }
  return true;
}

/// One fence makes the stores of the whole batch visible before anybody can learn of them. To wake somebody up takes
/// microseconds: background jobs wait for that until they are kMostUntold, or half of all, or no more are queued.
void CpuEngine::Workers::publish(std::vector<Completion>& batch) {
  store_fence();
  {
    const auto locked = lock();
    bool tell = rate_limit_.limits() || queues_empty();
    for (const Completion& completion : batch) {
      if (!slots_.holds(completion.id)) continue;  // failed by watch() and collected
      State& state = states_[completion.id.slot];
      if (state.phase == Phase::Finished) continue;  // failed by watch()
      state.phase = Phase::Finished;
      untold_ += completion.bytes_zeroed;
      tell = tell || completion.outcome != Outcome::Zeroed || slots_.job(completion.id.slot).urgency == Urgency::Urgent;
      finished_.push(completion);
    }
    any_finished_.store(!finished_.empty(), std::memory_order_release);
    if (tell || untold_ >= kMostUntold || 2 * finished_.size() >= slots_.held_count()) signal();
  }
  batch.clear();
}

Result<std::unique_ptr<CpuEngine>> CpuEngine::create(const CpuOptions& given, std::span<const MemorySpan> windows) {
  auto checked = check_options(given);
  if (!checked) return checked.error();
  const CpuOptions& options = *checked;
  Windows opened;
  for (const MemorySpan window : windows) {
    if (auto added = opened.add(window, Iova(reinterpret_cast<std::uintptr_t>(window.data()))); !added) {
      return added.error();
    }
  }
  const int event_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_fd < 0) {
    return Error{DriverErrc::NoResources,
                 fmt::format("eventfd failed: {}; raise the limit of open files (ulimit -n)", std::strerror(errno))};
  }
  auto workers = std::make_unique<Workers>(options, std::move(opened), event_fd);
  try {
    if (auto started = workers->start(); !started) return started.error();
  } catch (const std::system_error& error) {
    return Error{DriverErrc::NoResources,
                 fmt::format("cannot start {} worker threads: {}; ask for fewer", options.threads, error.what())};
  }
  return std::unique_ptr<CpuEngine>(new CpuEngine(std::move(workers)));
}

CpuEngine::CpuEngine(std::unique_ptr<Workers> workers) : workers_(std::move(workers)) {}
CpuEngine::~CpuEngine() = default;

const EngineCapabilities& CpuEngine::capabilities() const noexcept { return workers_->capabilities(); }
Result<std::size_t> CpuEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  return workers_->submit(jobs, ids);
}
CancelResult CpuEngine::cancel(JobId id) { return workers_->cancel(id); }
std::size_t CpuEngine::poll(std::span<Completion> out) { return workers_->poll(out); }
int CpuEngine::completion_fd() const noexcept { return workers_->event_fd(); }
std::optional<Error> CpuEngine::fault() const { return workers_->fault(); }
std::chrono::nanoseconds CpuEngine::now() const { return std::chrono::steady_clock::now().time_since_epoch(); }

}  // namespace sluice
