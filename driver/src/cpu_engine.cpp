// SPDX-License-Identifier: Apache-2.0
#include "sluice/driver/cpu_engine.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "job_slots.hpp"
#include "windows.hpp"

namespace sluice {

/// Everything that callers and worker threads share. One mutex guards the books; the cancel flags and the progress
/// counter are atomic so that a worker can look at them between chunks without it.
class CpuEngine::Workers {
 public:
  Workers(const CpuOptions& options, Windows windows, int event_fd)
      : options_(options),
        windows_(std::move(windows)),
        capabilities_{"cpu/" + (options.fill ? std::string("injected") : to_string(best_store())), options.max_jobs,
                      ByteCount(1ULL << 40), true},
        event_fd_(event_fd),
        slots_(options.max_jobs),
        states_(options.max_jobs) {
    if (!options_.fill) {
      options_.fill = [kind = best_store()](MemorySpan memory, std::uint64_t pattern) {
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
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      for (State& state : states_) state.cancel.store(true, std::memory_order_relaxed);
    }
    work_.notify_all();
    threads_.clear();
    ::close(event_fd_);
  }

  void start() {
    for (std::uint32_t index = 0; index < options_.threads; ++index) threads_.emplace_back([this] { work(); });
  }

  Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids);
  CancelResult cancel(JobId id);
  std::size_t poll(std::span<Completion> out);

  const CpuOptions& options() const { return options_; }
  const EngineCapabilities& capabilities() const { return capabilities_; }
  int event_fd() const { return event_fd_; }
  std::optional<Error> fault() const {
    const std::lock_guard lock(mutex_);
    return fault_;
  }

 private:
  enum class Phase : std::uint8_t { Queued, Running, Finished };
  struct State {
    Phase phase = Phase::Queued;
    std::atomic<bool> cancel{false};
  };

  void work();
  Completion run(std::uint32_t slot, const ScrubJob& job, JobId id);
  void publish(std::vector<Completion>& batch);
  void watch();
  bool queues_empty() const { return urgent_.empty() && background_.empty(); }

  CpuOptions options_;
  Windows windows_;
  EngineCapabilities capabilities_;
  int event_fd_;

  mutable std::mutex mutex_;
  std::condition_variable work_;
  JobSlots slots_;
  std::vector<State> states_;
  std::deque<std::uint32_t> urgent_;  // never longer than slots_
  std::deque<std::uint32_t> background_;
  std::deque<Completion> finished_;
  std::optional<Error> fault_;
  bool stopping_ = false;

  std::atomic<std::uint64_t> progress_{0};
  std::uint64_t seen_progress_ = 0;
  std::chrono::steady_clock::time_point last_progress_;
  std::vector<std::jthread> threads_;
};

Result<std::size_t> CpuEngine::Workers::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (jobs.empty() || ids.size() < jobs.size()) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("{} jobs with room for {} names: give at least one job, and room for all their names",
                             jobs.size(), ids.size())};
  }
  if (auto checked = windows_.check(jobs, capabilities_.max_job_length); !checked) return checked.error();
  const std::lock_guard lock(mutex_);
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
    (jobs[index].urgency == Urgency::Urgent ? urgent_ : background_).push_back(ids[index].slot);
  }
  if (count == 1) {
    work_.notify_one();
  } else {
    work_.notify_all();
  }
  return count;
}

CancelResult CpuEngine::Workers::cancel(JobId id) {
  const std::lock_guard lock(mutex_);
  if (!slots_.holds(id)) return slots_.knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  State& state = states_[id.slot];
  if (state.phase == Phase::Finished) return CancelResult::AlreadyFinished;
  state.cancel.store(true, std::memory_order_relaxed);
  return CancelResult::Requested;
}

std::size_t CpuEngine::Workers::poll(std::span<Completion> out) {
  const std::lock_guard lock(mutex_);
  if (finished_.empty() && slots_.held_count() > 0 && !fault_) watch();
  std::size_t count = 0;
  while (count < out.size() && !finished_.empty()) {
    out[count++] = finished_.front();
    slots_.give_back(finished_.front().id.slot);
    finished_.pop_front();
  }
  if (finished_.empty() && count > 0) {
    std::uint64_t drained = 0;
    [[maybe_unused]] const auto got = ::read(event_fd_, &drained, sizeof drained);
  }
  return count;
}

/// Notices workers that have stopped: fails everything that is in flight. A worker that wakes up later finds its job
/// finished and drops it.
void CpuEngine::Workers::watch() {
  const auto now = std::chrono::steady_clock::now();
  const std::uint64_t progress = progress_.load(std::memory_order_relaxed);
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
  for (std::uint32_t slot = 0; slot < slots_.capacity(); ++slot) {
    if (!slots_.held(slot) || states_[slot].phase == Phase::Finished) continue;
    states_[slot].phase = Phase::Finished;
    states_[slot].cancel.store(true, std::memory_order_relaxed);
    finished_.push_back(
        {slots_.id(slot), slots_.job(slot).cookie, Outcome::Failed, FailureCause::Timeout, ByteCount(0)});
  }
}

void CpuEngine::Workers::work() {
  std::vector<Completion> batch;
  ByteCount batch_bytes;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (queues_empty() && !batch.empty()) {
      lock.unlock();
      publish(batch);
      batch_bytes = ByteCount(0);
      lock.lock();
      continue;
    }
    work_.wait(lock, [this] { return stopping_ || !queues_empty(); });
    if (queues_empty()) return;  // only when stopping
    std::deque<std::uint32_t>& queue = urgent_.empty() ? background_ : urgent_;
    const std::uint32_t slot = queue.front();
    queue.pop_front();
    states_[slot].phase = Phase::Running;
    const ScrubJob job = slots_.job(slot);
    const JobId id = slots_.id(slot);
    lock.unlock();
    batch.push_back(run(slot, job, id));
    batch_bytes += length_of(job.memory);
    const bool awaited = job.urgency == Urgency::Urgent || batch.back().outcome != Outcome::Zeroed;
    if (awaited || batch_bytes >= options_.publish_bytes) {
      publish(batch);
      batch_bytes = ByteCount(0);
    }
    lock.lock();
  }
}

Completion CpuEngine::Workers::run(std::uint32_t slot, const ScrubJob& job, JobId id) {
  Completion completion{id, job.cookie, Outcome::Zeroed, FailureCause::None, ByteCount(0)};
  std::size_t done = 0;
  while (done < job.memory.size()) {
    if (states_[slot].cancel.load(std::memory_order_relaxed)) {
      completion.outcome = Outcome::Cancelled;
      break;
    }
    const std::size_t length = std::min<std::size_t>(options_.chunk.value(), job.memory.size() - done);
    if (!options_.fill(job.memory.subspan(done, length), job.pattern)) {
      completion.outcome = Outcome::Failed;
      completion.cause = FailureCause::SlaveError;
      break;
    }
    done += length;
    progress_.fetch_add(1, std::memory_order_relaxed);
  }
  completion.bytes_zeroed = ByteCount(done);
  return completion;
}

/// One fence makes the stores of the whole batch visible before anybody can learn of them.
void CpuEngine::Workers::publish(std::vector<Completion>& batch) {
  store_fence();
  {
    const std::lock_guard lock(mutex_);
    for (const Completion& completion : batch) {
      if (!slots_.holds(completion.id)) continue;  // failed by watch() and collected
      State& state = states_[completion.id.slot];
      if (state.phase == Phase::Finished) continue;  // failed by watch()
      state.phase = Phase::Finished;
      finished_.push_back(completion);
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto put = ::write(event_fd_, &one, sizeof one);
  }
  batch.clear();
}

Result<std::unique_ptr<CpuEngine>> CpuEngine::create(const CpuOptions& options, std::span<const MemorySpan> windows) {
  if (options.max_jobs < 1 || options.max_jobs > 65'536 || options.threads < 1 || options.threads > 64 ||
      options.chunk == ByteCount(0)) {
    return Error{
        DriverErrc::InvalidArgument,
        fmt::format("{} jobs, {} threads, chunks of {} bytes: give 1 to 65536 jobs, 1 to 64 threads and chunks "
                    "of at least 1 byte",
                    options.max_jobs, options.threads, options.chunk.value())};
  }
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
    workers->start();
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
