// SPDX-License-Identifier: Apache-2.0
// The workers' side: takes jobs, does them, publishes what came of them.
#include "cpu_workers.hpp"

#include "cpu_affinity.hpp"
#include "signal_mask.hpp"
#include "sluice/cpu/bus_errors.hpp"

namespace sluice::inline cpu {
namespace {

constexpr std::size_t kMostJobsTaken = 64;         // by a worker at once, and published together
constexpr ByteCount kMostUnannounced{8ULL << 20};  // of background jobs, before whoever sleeps is woken up
constexpr std::size_t kLeastShare = 64 << 10;      // less work is not worth two workers who fight for its cache lines

}  // namespace

CpuEngine::Workers::Workers(const CpuOptions& options, CpuHooks hooks, Windows windows,
                            std::unique_ptr<CompletionSignal> signal)
    : options_(options),
      windows_(std::move(windows)),
      capabilities_{"cpu/" + (hooks.fill ? std::string("injected") : to_string(options.store.value_or(best_store()))),
                    options.max_jobs,
                    ByteCount(1ULL << 40),
                    true,
                    0.0,
                    true,
                    options.threads,
                    true},
      hooks_(std::move(hooks)),
      store_(options.store.value_or(best_store())),
      slots_(options.max_jobs),
      urgent_(options.max_jobs),
      background_(options.max_jobs),
      finished_(options.max_jobs),
      cancelled_(options.max_jobs),
      ended_(options.max_jobs),
      signal_(std::move(signal)),
      pulses_(options.threads + 1),
      streams_(options.threads + 1),
      rate_limit_(options.bytes_per_second) {
  if (options_.catch_bus_errors) catch_bus_errors();
  if (!hooks_.fence) hooks_.fence = store_fence;
  taken_here_.reserve(kMostJobsTaken);
  done_here_.completions.reserve(kMostJobsTaken);
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
}

Result<void> CpuEngine::Workers::start() {
  const SignalMask inherited(SignalMask::Of::Worker);
  for (std::uint32_t index = 0; index < options_.threads; ++index) {
    threads_.emplace_back([this, index] { work(pulses_[index]); });
    if (options_.cpus.empty()) continue;
    const auto cpus = options_.numa_node ? std::span(options_.cpus)
                                         : std::span(options_.cpus).subspan(index % options_.cpus.size(), 1);
    if (auto pinned = run_only_on(threads_.back().native_handle(), cpus); !pinned) return pinned;
  }
  return {};
}

void CpuEngine::Workers::work(Pulse& pulse) {
  std::vector<Piece> taken;
  taken.reserve(kMostJobsTaken);
  Batch batch;
  batch.completions.reserve(kMostJobsTaken);
  for (;;) {
    {
      std::unique_lock locked(queues_, std::defer_lock);
      wait_for_work(locked, pulse);
      if (queues_empty()) return;  // only when stopping
      take(taken);
    }
    for (Piece& next : taken) {
      run_into(batch, next, pulse);
      if (batch.completions.back().outcome != Outcome::Zeroed) publish(batch);  // somebody may wait for it
    }
    publish(batch);
  }
}

/// Spins for a while, since a sleeping worker takes long to wake up. With the lock, and work unless it is to stop.
void CpuEngine::Workers::wait_for_work(std::unique_lock<std::mutex>& locked, Pulse& pulse) {
  const auto awaited = [this] { return stopping_.load(std::memory_order_relaxed) || !queues_empty(); };
  beat(pulse);
  if (!awaited() && options_.spin.count() > 0) {
    const auto end = Pulse::Clock::now() + options_.spin;
    while (!awaited() && Pulse::Clock::now() < end) {
      for (int pause = 0; pause < 16; ++pause) __builtin_ia32_pause();
    }
  }
  locked.lock();
  if (awaited()) return;
  // Either this sees what a caller publishes, or the caller sees this sleeper: all four steps are in one order.
  pulse.rest();
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  work_.wait(locked, awaited);
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  beat(pulse);
  const auto now = Pulse::Clock::now();
  if (const auto woken_at = woken_at_.exchange(0, std::memory_order_relaxed); woken_at != 0) {
    crowd_.waited(now.time_since_epoch() - Pulse::Clock::duration(woken_at), now);
  }
}

/// A share of what waits, with the lock of queues_: what a caller has begun, then urgent jobs, then the others.
void CpuEngine::Workers::take(std::vector<Piece>& taken) {
  taken.clear();
  if (left_ && (left_->work.urgent || urgent_.empty())) {
    taken.push_back(*left_);
    left_.reset();
    has_left_.store(false, std::memory_order_relaxed);
    return;
  }
  take_from(urgent_.empty() ? background_ : urgent_, taken);
}

/// One job, or several of up to publish_bytes together; of small background jobs no less than kLeastShare. One at a
/// time where a job may wait for the rate, so that none waits behind it unpublished.
void CpuEngine::Workers::take_from(HandOver<Work>& queue, std::vector<Piece>& taken) {
  const bool background = &queue == &background_;
  const std::size_t waiting = queue.size();
  const std::size_t share = (waiting + options_.threads - 1) / options_.threads;
  const std::size_t most = std::min(waiting, background && rate_limit_.limits() ? 1 : kMostJobsTaken);
  const std::size_t most_bytes = std::min<std::size_t>(options_.publish_bytes.value(), kPiece);
  const std::size_t least_bytes = background ? kLeastShare : 0;
  std::size_t bytes = 0;
  std::uint64_t position = queue.head();
  for (; taken.size() < most; ++position) {
    const Work& work = queue.entry(position);
    bytes += work.memory.size();
    if (!taken.empty() && (bytes > most_bytes || (taken.size() >= share && bytes > least_bytes))) break;
    taken.push_back({work});
    taken.back().begin();
  }
  queue.claim_to(position);
}

/// Leaves a background job, between two chunks, for the urgent ones that have come.
void CpuEngine::Workers::serve_urgent(Pulse& pulse) {
  std::vector<Piece> taken;
  {
    const std::scoped_lock locked(queues_);
    take_from(urgent_, taken);
  }
  Batch batch;
  for (Piece& next : taken) run_into(batch, next, pulse);
  publish(batch);
}

void CpuEngine::Workers::run_into(Batch& batch, Piece& next, Pulse& pulse) {
  advance(next, batch.completions.emplace_back(), pulse, kNoBudget, true);
  batch.urgent = batch.urgent || next.work.urgent;
}

/// Does `budget` bytes of a job and perhaps a chunk more; false: there is more to do. A worker looks after urgent jobs
/// and the rate meanwhile.
bool CpuEngine::Workers::advance(Piece& piece, Done& done, Pulse& pulse, std::size_t budget, bool by_worker) {
  const Work& job = piece.work;
  const std::size_t size = job.memory.size();
  const auto ended = [&](Outcome outcome, FailureCause cause, std::size_t bytes) {
    done.generation = job.generation;
    done.slot = job.slot;
    done.outcome = outcome;
    done.cause = cause;
    done.bytes_zeroed = ByteCount(bytes);
    return true;
  };
  const auto chunk_of = [&](std::size_t from, std::size_t to) {
    return job.memory.subspan(from, std::min({options_.chunk.value(), to - from, budget}));
  };
  while (piece.filled < size || piece.verified < size) {
    if (budget == 0) return false;
    if (by_worker && !job.urgent && !urgent_.empty()) serve_urgent(pulse);
    const std::size_t next = std::min<std::size_t>(options_.chunk.value(), piece.rest());
    if (cancelled_.has(job.id()) || (by_worker && !wait_for_rate(job, next, pulse))) {
      return ended(Outcome::Cancelled, FailureCause::None,
                   job.operation == Operation::Verify ? piece.verified : piece.filled);
    }
    const std::size_t readable = piece.filled;  // a chunk behind the fill: by then it has left the CPU's buffers
    std::size_t worked = 0;
    if (piece.filled < size) {
      const MemorySpan chunk = chunk_of(piece.filled, size);
      const FailureCause cause = fill(job, chunk, pulse);
      if (cause != FailureCause::None) return ended(Outcome::Failed, cause, piece.filled);
      piece.filled += chunk.size();
      worked = chunk.size();
    }
    if (piece.verified < readable) {
      if (job.operation == Operation::FillVerify) store_fence();
      const MemorySpan chunk = chunk_of(piece.verified, readable);
      if (hooks_.before_verify) hooks_.before_verify(chunk);
      std::size_t equal = 0;
      if (!survives(chunk, [&] { equal = equal_prefix(chunk, job.pattern); })) {
        return ended(Outcome::Failed, FailureCause::SlaveError, piece.verified);
      }
      piece.verified += equal;
      if (equal < chunk.size()) return ended(Outcome::Failed, FailureCause::Mismatch, piece.verified);
      worked = std::max(worked, chunk.size());
    }
    budget -= std::min(budget, budget == kNoBudget ? 0 : worked);
    if (pulse.count(worked) && by_worker) beat(pulse);
  }
  return ended(Outcome::Zeroed, FailureCause::None, size);
}

/// None: the chunk is filled.
FailureCause CpuEngine::Workers::fill(const Work& job, MemorySpan chunk, const Pulse& pulse) {
  const bool random = job.operation == Operation::FillRandom;
  bool filled = true;
  if (job.read_soon && !random) {
    filled = survives(chunk, [&] { fill_temporal(chunk, job.pattern); });
  } else if (hooks_.fill && !job.read_soon) {
    filled = hooks_.fill(chunk, job.pattern);
  } else if (!random) {
    filled = survives(chunk, [&] { fill_nontemporal(store_, chunk, job.pattern); });
  }
  if (!filled) return FailureCause::SlaveError;
  return random ? fill_random(job, chunk, streams_[static_cast<std::size_t>(&pulse - pulses_.data())])
                : FailureCause::None;
}

/// Each chunk has a key of its own, so that whoever goes on with a job needs nothing from who began it.
FailureCause CpuEngine::Workers::fill_random(const Work& job, MemorySpan chunk, RandomStream& stream) {
  if (!stream.renew()) return FailureCause::EngineFault;
  while (!chunk.empty()) {
    const auto bytes = stream.next(chunk.size());
    if (bytes.empty()) return FailureCause::EngineFault;
    const MemorySpan part = chunk.first(bytes.size());
    const bool taken =
        survives(part, [&] { job.read_soon ? copy_temporal(part, bytes) : copy_nontemporal(part, bytes); });
    if (!taken) return FailureCause::SlaveError;
    chunk = chunk.subspan(bytes.size());
  }
  return FailureCause::None;
}

/// Waits until the limit lets a background job do its next chunk; false: it was cancelled meanwhile.
bool CpuEngine::Workers::wait_for_rate(const Work& job, std::size_t length, Pulse& pulse) {
  if (job.urgent || !rate_limit_.limits()) return true;
  const auto due = rate_limit_.reserve(ByteCount(length), Pulse::Clock::now());
  constexpr Pulse::Clock::duration kNap = std::chrono::milliseconds(1);  // and then looks for a cancel
  for (auto now = Pulse::Clock::now(); now < due; now = Pulse::Clock::now()) {
    if (cancelled_.has(job.id())) return false;
    if (!urgent_.empty()) serve_urgent(pulse);
    pulse.rest();
    std::this_thread::sleep_for(std::min(kNap, due - now));
    pulse.count(0);  // a job that waits for its time does not stand still
    beat(pulse);
  }
  return true;
}

void CpuEngine::Workers::beat(Pulse& pulse) {
  const auto now = Pulse::Clock::now();
  crowd_.waited(pulse.beat(now), now);
}

/// One fence makes the stores of the whole batch visible before anybody can learn of them. To wake somebody up takes
/// microseconds: background jobs wait for that until they are kMostUnannounced, or half of all, or no more are queued,
/// or the signal's own time is over.
void CpuEngine::Workers::publish(Batch& batch) {
  if (batch.completions.empty()) return;
  hooks_.fence();
  bool now = batch.urgent || rate_limit_.limits() || queues_empty();
  {
    const std::scoped_lock locked(done_);
    if (!given_up_) {
      std::uint64_t position = finished_.tail();
      for (const Done& completion : batch.completions) {
        finished_.entry(position++) = completion;
        ended_.set(completion.id());
        unannounced_ += completion.bytes_zeroed;
        now = now || completion.outcome != Outcome::Zeroed;
      }
      // Before the caller can see them: one that has collected all of them finds the descriptor as it left it.
      const std::uint64_t waiting = position - finished_.head();
      if (now || unannounced_ >= kMostUnannounced || 2 * waiting >= held_.load(std::memory_order_relaxed)) {
        unannounced_ = ByteCount(0);
        signal_->raise();
      } else {
        signal_->raise_soon();
      }
      finished_.publish_to(position);
    }
  }
  batch.completions.clear();
  batch.urgent = false;
}

}  // namespace sluice::inline cpu
