// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "completion_signal.hpp"
#include "cpu_hooks.hpp"
#include "hand_over.hpp"
#include "own_process.hpp"
#include "pulse.hpp"
#include "random_stream.hpp"
#include "rate_limit.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/engine/job_slots.hpp"
#include "sluice/engine/windows.hpp"

namespace sluice::inline cpu {

/// Everything that callers and worker threads share. Callers and workers stand on the two sides of queues, each side
/// with a lock of its own, so that neither waits for the other. What goes over is small: for a small job, to move a
/// cache line from CPU to CPU costs more than all else. Where locks nest: callers_, helping_, then queues_ or done_.
class CpuEngine::Workers {
 public:
  Workers(const CpuOptions& options, CpuHooks hooks, Windows windows, std::unique_ptr<CompletionSignal> signal);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers();

  /// Errors: InvalidArgument for a CPU that this process may not use. Throws std::system_error without a thread.
  Result<void> start();

  Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids);
  CancelResult cancel(JobId id);
  std::size_t poll(std::span<Completion> out);
  int descriptor();

  const EngineCapabilities& capabilities() const { return capabilities_; }
  std::optional<Error> fault() const;
  [[nodiscard]] std::uint64_t progress() const;
  [[nodiscard]] bool reaches(MemorySpan memory) const { return windows_.find(memory).has_value(); }
  /// A process made by fork() has neither the workers nor a way to know in what state they left the locks.
  [[nodiscard]] bool in_another_process() const { return !process_.is_this(); }

 private:
  /// Filled in field by field where it stays: to copy what was just written would make the CPU wait until all stores
  /// before it have left, those past the caches too. The same holds for Done.
  struct alignas(32) Work {
    void set(const ScrubJob& job, JobId id) {
      memory = job.memory;
      pattern = job.pattern;
      generation = id.generation;
      slot = static_cast<std::uint16_t>(id.slot);
      operation = job.operation;
      urgent = job.urgency == Urgency::Urgent;
      read_soon = job.read_soon;
    }
    [[nodiscard]] JobId id() const { return {slot, generation}; }

    MemorySpan memory;
    std::uint64_t pattern = 0;
    std::uint32_t generation = 0;
    std::uint16_t slot = 0;
    Operation operation = Operation::Fill;
    bool urgent : 1 = false;
    bool read_soon : 1 = false;
  };
  struct Done {
    std::uint32_t generation = 0;
    std::uint16_t slot = 0;
    Outcome outcome = Outcome::Failed;
    FailureCause cause = FailureCause::None;
    ByteCount bytes_zeroed;
    [[nodiscard]] JobId id() const { return {slot, generation}; }
  };
  /// By generation, so that nobody resets them: a slot's job is cancelled, or finished, when its generation is here.
  struct Marks {
    explicit Marks(std::uint32_t slots) : generations(slots) {}
    void set(JobId id) { generations[id.slot].store(id.generation, std::memory_order_relaxed); }
    [[nodiscard]] bool has(JobId id) const {
      return generations[id.slot].load(std::memory_order_relaxed) == id.generation;
    }
    std::vector<std::atomic<std::uint32_t>> generations;
  };
  /// A job that was taken from its queue, and how far it is.
  struct Piece {
    Work work;
    std::size_t filled = 0;
    std::size_t verified = 0;

    /// From the beginning.
    void begin() {
      filled = work.operation == Operation::Verify ? work.memory.size() : 0;
      verified = reads_back(work.operation) ? 0 : work.memory.size();
    }
    [[nodiscard]] std::size_t rest() const { return work.memory.size() - std::min(filled, verified); }
  };
  static constexpr std::size_t kNoBudget = ~std::size_t{0};
  static constexpr std::size_t kPiece = 256 << 10;  // that is taken at once; one long job is taken in whole
  struct Batch {
    std::vector<Done> completions;
    bool urgent = false;  // one of them is
  };

  void watch(Pulse::Clock::time_point now);
  void settle_signal();
  [[nodiscard]] Error foreign() const;

  bool help(Pulse::Clock::time_point now);
  [[nodiscard]] bool is_small_batch(std::span<const ScrubJob> jobs) const;
  std::size_t count_done_here(std::span<const ScrubJob> jobs, Pulse::Clock::time_point now);
  bool workers_run(Pulse::Clock::time_point now);
  void do_taken(std::size_t budget);
  void wake(std::size_t jobs, Pulse::Clock::time_point now);

  void work(Pulse& pulse);
  void wait_for_work(std::unique_lock<std::mutex>& locked, Pulse& pulse);
  void take(std::vector<Piece>& taken);
  void take_from(HandOver<Work>& queue, std::vector<Piece>& taken);
  void serve_urgent(Pulse& pulse);
  void run_into(Batch& batch, Piece& next, Pulse& pulse);
  bool advance(Piece& piece, Done& done, Pulse& pulse, std::size_t budget, bool by_worker);
  FailureCause fill(const Work& job, MemorySpan chunk, const Pulse& pulse);
  FailureCause fill_random(const Work& job, MemorySpan chunk, RandomStream& stream);
  bool wait_for_rate(const Work& job, std::size_t length, Pulse& pulse);
  void beat(Pulse& pulse);
  void publish(Batch& batch);
  bool queues_empty() const {
    return urgent_.empty() && background_.empty() && !has_left_.load(std::memory_order_relaxed);
  }

  CpuOptions options_;
  Windows windows_;
  EngineCapabilities capabilities_;
  CpuHooks hooks_;
  StoreKind store_;
  OwnProcess process_;

  mutable std::mutex callers_;
  JobSlots slots_;
  std::optional<Error> fault_;
  std::uint64_t seen_progress_ = 0;
  std::chrono::steady_clock::time_point last_progress_;
  std::atomic<std::chrono::steady_clock::rep> next_look_{0};

  HandOver<Work> urgent_;
  HandOver<Work> background_;
  HandOver<Done> finished_;
  Marks cancelled_;
  Marks ended_;                       // whose completion is in finished_ or was collected
  std::atomic<std::size_t> held_{0};  // slots_.held_count() for the workers

  std::mutex queues_;          // the workers' side of the jobs
  std::optional<Piece> left_;  // begun by a caller; the next to be taken
  std::atomic<bool> has_left_{false};
  std::condition_variable work_;
  std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<Pulse::Clock::rep> woken_at_{0};  // who was woken up has not answered since; 0: all have
  std::atomic<bool> stopping_{false};

  std::mutex done_;        // the workers' side of finished_
  bool given_up_ = false;  // by watch(): nobody learns of what workers still finish
  ByteCount unannounced_;  // published since signal_ was raised
  std::unique_ptr<CompletionSignal> signal_;

  std::mutex helping_;  // one caller at a time works
  std::vector<Piece> taken_here_;
  Batch done_here_;

  std::vector<Pulse> pulses_;          // by worker, then that of the callers
  std::vector<RandomStream> streams_;  // in the same order
  Crowd crowd_;
  RateLimit rate_limit_;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice::inline cpu
