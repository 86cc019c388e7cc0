// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "hand_over.hpp"
#include "rate_limit.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/engine/job_slots.hpp"
#include "sluice/engine/windows.hpp"

namespace sluice::inline cpu {

/// Everything that callers and worker threads share. Callers and workers stand on the two sides of queues, each side
/// with a lock of its own, so that neither waits for the other. What goes over is small: for a small job, to move a
/// cache line from CPU to CPU costs more than all else. Where locks nest: callers_, then queues_ or done_.
class CpuEngine::Workers {
 public:
  Workers(const CpuOptions& options, Windows windows, int event_fd);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers();

  /// Errors: InvalidArgument for a CPU that this process may not use. Throws std::system_error without a thread.
  Result<void> start();

  Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids);
  CancelResult cancel(JobId id);
  std::size_t poll(std::span<Completion> out);
  int event_fd();

  const EngineCapabilities& capabilities() const { return capabilities_; }
  std::optional<Error> fault() const;
  [[nodiscard]] std::uint64_t progress() const;
  [[nodiscard]] bool reaches(MemorySpan memory) const { return windows_.find(memory).has_value(); }

 private:
  struct alignas(32) Work {
    MemorySpan memory;
    std::uint64_t pattern = 0;
    std::uint32_t generation = 0;
    std::uint16_t slot = 0;
    Operation operation = Operation::Fill;
    bool urgent : 1 = false;
    bool read_soon : 1 = false;
    [[nodiscard]] JobId id() const { return {slot, generation}; }
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
  /// Chunks that a worker has finished. Not a counter of all workers: a locked instruction would wait, chunk by chunk,
  /// until the stores past the caches have left the CPU.
  struct alignas(64) Progress {
    std::atomic<std::uint64_t> chunks{0};
    void count() { chunks.store(chunks.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  };
  struct Batch {
    std::vector<Done> completions;
    bool urgent = false;  // one of them is
  };

  void watch();
  void signal();
  void quiet();

  void work(Progress& progress);
  void wait_for_work(std::unique_lock<std::mutex>& locked);
  void take(HandOver<Work>& queue, std::vector<Work>& taken);
  void serve_urgent(Progress& progress);
  void run_into(Batch& batch, const Work& next, Progress& progress);
  Done run(const Work& job, Progress& progress);
  MemorySpan next_chunk(MemorySpan memory, std::size_t from, std::size_t to) const;
  bool wait_for_rate(const Work& job, Progress& progress);
  void publish(Batch& batch);
  bool queues_empty() const { return urgent_.empty() && background_.empty(); }

  CpuOptions options_;
  Windows windows_;
  EngineCapabilities capabilities_;
  int event_fd_;

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
  Marks told_;                        // whose completion is in finished_ or was collected
  std::atomic<std::size_t> held_{0};  // slots_.held_count() for the workers

  std::mutex queues_;  // the workers' side of the jobs
  std::condition_variable work_;
  std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<bool> stopping_{false};

  std::mutex done_;             // the workers' side of finished_
  bool given_up_ = false;       // by watch(): what workers still finish is not told
  bool event_fd_used_ = false;  // nobody pays for an eventfd that nobody reads
  std::atomic<bool> signalled_{false};
  ByteCount untold_;  // published since the last signal

  std::vector<Progress> progress_;  // by worker
  RateLimit rate_limit_;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice::inline cpu
