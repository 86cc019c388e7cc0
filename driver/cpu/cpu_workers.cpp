// SPDX-License-Identifier: Apache-2.0
// The workers' side: takes jobs, does them, publishes what came of them.
#include "cpu_workers.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include "cpu_affinity.hpp"
#include "sluice/cpu/bus_errors.hpp"

namespace sluice::inline cpu {
namespace {

constexpr std::size_t kMostJobsTaken = 64;    // by a worker at once, and published together
constexpr ByteCount kMostUntold{2ULL << 20};  // of background jobs, before whoever sleeps is woken up

}  // namespace

CpuEngine::Workers::Workers(const CpuOptions& options, Windows windows, int event_fd)
    : options_(options),
      windows_(std::move(windows)),
      capabilities_{"cpu/" + (options.fill ? std::string("injected") : to_string(options.store.value_or(best_store()))),
                    options.max_jobs,
                    ByteCount(1ULL << 40),
                    true,
                    0.0,
                    true,
                    options.threads},
      event_fd_(event_fd),
      slots_(options.max_jobs),
      urgent_(options.max_jobs),
      background_(options.max_jobs),
      finished_(options.max_jobs),
      cancelled_(options.max_jobs),
      told_(options.max_jobs),
      progress_(options.threads),
      rate_limit_(options.bytes_per_second) {
  if (options_.catch_bus_errors) catch_bus_errors();
  if (!options_.fill) {
    options_.fill = [kind = options.store.value_or(best_store())](MemorySpan memory, std::uint64_t pattern) {
      return survives(memory, [&] { fill_nontemporal(kind, memory, pattern); });
    };
  }
  threads_.reserve(options_.threads);
}

CpuEngine::Workers::~Workers() {
  {
    const std::scoped_lock locked(callers_, queues_);
    stopping_.store(true);
    for (std::uint32_t slot = 0; slot < slots_.capacity(); ++slot) {
      if (slots_.held(slot)) cancelled_.set(slots_.id(slot));
    }
  }
  work_.notify_all();
  threads_.clear();
  ::close(event_fd_);
}

Result<void> CpuEngine::Workers::start() {
  for (std::uint32_t index = 0; index < options_.threads; ++index) {
    threads_.emplace_back([this, index] { work(progress_[index]); });
    if (options_.cpus.empty()) continue;
    const auto cpus = options_.numa_node ? std::span(options_.cpus)
                                         : std::span(options_.cpus).subspan(index % options_.cpus.size(), 1);
    if (auto pinned = run_only_on(threads_.back().native_handle(), cpus); !pinned) return pinned;
  }
  return {};
}

void CpuEngine::Workers::work(Progress& progress) {
  std::vector<Work> taken;
  taken.reserve(kMostJobsTaken);
  Batch batch;
  batch.completions.reserve(kMostJobsTaken);
  for (;;) {
    {
      std::unique_lock locked(queues_, std::defer_lock);
      wait_for_work(locked);
      if (queues_empty()) return;  // only when stopping
      take(urgent_.empty() ? background_ : urgent_, taken);
    }
    for (const Work& next : taken) {
      // A long job does not hold back those before it; one that was cancelled or has failed is told at once.
      if (length_of(next.memory) > options_.publish_bytes) publish(batch);
      run_into(batch, next, progress);
      if (batch.completions.back().outcome != Outcome::Zeroed) publish(batch);
    }
    publish(batch);
  }
}

/// Spins for a while, since a sleeping worker takes long to wake up. With the lock, and work unless it is to stop.
void CpuEngine::Workers::wait_for_work(std::unique_lock<std::mutex>& locked) {
  const auto awaited = [this] { return stopping_.load(std::memory_order_relaxed) || !queues_empty(); };
  if (!awaited() && options_.spin.count() > 0) {
    const auto end = std::chrono::steady_clock::now() + options_.spin;
    while (!awaited() && std::chrono::steady_clock::now() < end) {
      for (int pause = 0; pause < 16; ++pause) __builtin_ia32_pause();
    }
  }
  locked.lock();
  if (awaited()) return;
  // Either this sees what a caller publishes, or the caller sees this sleeper: all four steps are in one order.
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  work_.wait(locked, awaited);
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
}

/// This worker's share of what waits, up to publish_bytes. One at a time where a job may wait for the rate, so that
/// none waits behind it unpublished.
void CpuEngine::Workers::take(HandOver<Work>& queue, std::vector<Work>& taken) {
  taken.clear();
  const std::size_t share = (queue.size() + options_.threads - 1) / options_.threads;
  const std::size_t most = std::min(share, &queue == &background_ && rate_limit_.limits() ? 1 : kMostJobsTaken);
  ByteCount bytes;
  std::uint64_t position = queue.head();
  for (; taken.size() < most && bytes < options_.publish_bytes; ++position) {
    taken.push_back(queue.entry(position));
    bytes += length_of(taken.back().memory);
  }
  queue.claim_to(position);
}

/// Leaves a background job, between two chunks, for the urgent ones that have come.
void CpuEngine::Workers::serve_urgent(Progress& progress) {
  std::vector<Work> taken;
  {
    const std::scoped_lock locked(queues_);
    take(urgent_, taken);
  }
  Batch batch;
  for (const Work& next : taken) run_into(batch, next, progress);
  publish(batch);
}

void CpuEngine::Workers::run_into(Batch& batch, const Work& next, Progress& progress) {
  batch.completions.push_back(run(next, progress));
  batch.urgent = batch.urgent || next.urgent;
}

CpuEngine::Workers::Done CpuEngine::Workers::run(const Work& job, Progress& progress) {
  const std::size_t size = job.memory.size();
  std::size_t filled = job.operation == Operation::Verify ? size : 0;
  std::size_t verified = job.operation == Operation::Fill ? size : 0;
  const auto ended = [&](Outcome outcome, FailureCause cause, std::size_t bytes) {
    return Done{job.generation, job.slot, outcome, cause, ByteCount(bytes)};
  };
  while (filled < size || verified < size) {
    if (!job.urgent && !urgent_.empty()) serve_urgent(progress);
    if (cancelled_.has(job.id()) || !wait_for_rate(job, progress)) {
      return ended(Outcome::Cancelled, FailureCause::None, job.operation == Operation::Verify ? verified : filled);
    }
    const std::size_t readable = filled;  // a chunk behind the fill: by then it has left the CPU's buffers
    if (filled < size) {
      const MemorySpan chunk = next_chunk(job.memory, filled, size);
      const bool done = job.read_soon ? survives(chunk, [&] { fill_temporal(chunk, job.pattern); })
                                      : options_.fill(chunk, job.pattern);
      if (!done) {
        return ended(Outcome::Failed, FailureCause::SlaveError, filled);
      }
      filled += chunk.size();
    }
    if (verified < readable) {
      if (job.operation == Operation::FillVerify) store_fence();
      const MemorySpan chunk = next_chunk(job.memory, verified, readable);
      std::size_t equal = 0;
      if (!survives(chunk, [&] { equal = equal_prefix(chunk, job.pattern); })) {
        return ended(Outcome::Failed, FailureCause::SlaveError, verified);
      }
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
bool CpuEngine::Workers::wait_for_rate(const Work& job, Progress& progress) {
  if (job.urgent || !rate_limit_.limits()) return true;
  const std::size_t length = std::min<std::size_t>(options_.chunk.value(), job.memory.size());
  const auto due = rate_limit_.reserve(ByteCount(length), std::chrono::steady_clock::now());
  constexpr std::chrono::steady_clock::duration kNap = std::chrono::milliseconds(1);  // and then looks for a cancel
  for (auto now = std::chrono::steady_clock::now(); now < due; now = std::chrono::steady_clock::now()) {
    if (cancelled_.has(job.id())) return false;
    if (!urgent_.empty()) serve_urgent(progress);
    std::this_thread::sleep_for(std::min(kNap, due - now));
    progress.count();
  }
  return true;
}

/// One fence makes the stores of the whole batch visible before anybody can learn of them. To wake somebody up takes
/// microseconds: background jobs wait for that until they are kMostUntold, or half of all, or no more are queued.
void CpuEngine::Workers::publish(Batch& batch) {
  if (batch.completions.empty()) return;
  store_fence();
  bool tell = batch.urgent || rate_limit_.limits() || queues_empty();
  {
    const std::scoped_lock locked(done_);
    if (!given_up_) {
      std::uint64_t position = finished_.tail();
      for (const Done& completion : batch.completions) {
        finished_.entry(position++) = completion;
        told_.set(completion.id());
        untold_ += completion.bytes_zeroed;
        tell = tell || completion.outcome != Outcome::Zeroed;
      }
      finished_.publish_to(position);
      if (tell || untold_ >= kMostUntold || 2 * finished_.size() >= held_.load(std::memory_order_relaxed)) signal();
    }
  }
  batch.completions.clear();
  batch.urgent = false;
}

/// With the lock of done_.
void CpuEngine::Workers::signal() {
  untold_ = ByteCount(0);
  if (!event_fd_used_ || signalled_.load(std::memory_order_relaxed)) return;
  signalled_.store(true, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto put = ::write(event_fd_, &one, sizeof one);
}

}  // namespace sluice::inline cpu
