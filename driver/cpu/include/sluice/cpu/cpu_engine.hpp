// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sluice/cpu/cpu_stores.hpp"
#include "sluice/engine/engine.hpp"
#include "sluice/engine/engine_registry.hpp"

namespace sluice::inline cpu {

struct CpuOptions {
  std::uint32_t max_jobs = 256;            ///< In flight at once; 1 to 65,536.
  std::uint32_t threads = 1;               ///< Workers; 1 to 64.
  std::optional<StoreKind> store;          ///< Empty: best_store().
  std::vector<std::uint32_t> cpus;         ///< Worker n runs on CPU cpus[n mod size] only; empty: see numa_node.
  std::optional<std::uint32_t> numa_node;  ///< All workers run on this node's CPUs; empty: anywhere. Not with cpus.
  ByteCount bytes_per_second{0};           ///< Of background jobs, all workers together; 0: no limit.
  ByteCount chunk{32ULL << 10};            ///< A cancel is noticed after at most so many bytes.
  ByteCount publish_bytes{256ULL << 10};   ///< One fence and one publication for so many bytes of small jobs.
  std::chrono::nanoseconds spin{20'000};   ///< A worker looks for work so long before it sleeps.
  std::chrono::nanoseconds stall_timeout{10'000'000'000};  ///< No chunk finished for so long: the engine failed.
  /// Memory that the kernel answers with SIGBUS (a file was cut, no huge page is left, the memory is broken) fails its
  /// job with SlaveError. For that the process gets a handler, once, which hands on every other SIGBUS.
  bool catch_bus_errors = true;
};

/// The CPUs of a NUMA node, as the kernel lists them. Errors: InvalidArgument for a node that is not there.
[[nodiscard]] Result<std::vector<std::uint32_t>> cpus_of_node(std::uint32_t node);

struct CpuHooks;  // of tests

/// Fills and verifies memory with worker threads of its own. All functions may be called from any thread.
/// The destructor cancels what is in flight and waits for the workers.
///
/// Whoever waits helps: when jobs are queued and no worker runs on a CPU beside the caller's, poll() does a piece of at
/// most 256 KiB itself. submit() does jobs of at most 8 KiB together at once, and while no worker is awake urgent ones
/// of at most 32 KiB. On a machine so busy that a wake-up took more than half a millisecond, for 200 ms submit()
/// accepts and does at most 256 KiB, or one job of at most 2 MiB. Background jobs with a rate are left to the workers.
/// Cancelling a job that submit() has done answers AlreadyFinished.
///
/// Workers block all signals but those that an instruction causes. After fork() a child may only exec or exit: there
/// submit() is refused with EngineFailed, poll() collects nothing, and the destructor leaves everything as it is.
class CpuEngine final : public Engine {
 public:
  /// Errors: InvalidArgument, NoResources.
  [[nodiscard]] static Result<std::unique_ptr<CpuEngine>> create(const CpuOptions& options,
                                                                 std::span<const MemorySpan> windows);
  [[nodiscard]] static Result<std::unique_ptr<CpuEngine>> create(const CpuOptions& options,
                                                                 std::span<const MemorySpan> windows,
                                                                 const CpuHooks& hooks);
  ~CpuEngine() override;

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override;
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override;
  [[nodiscard]] bool reaches(MemorySpan memory) const override;
  [[nodiscard]] int completion_fd() const noexcept override;
  [[nodiscard]] std::optional<Error> fault() const override;
  [[nodiscard]] std::chrono::nanoseconds now() const override;

 private:
  class Workers;
  explicit CpuEngine(std::unique_ptr<Workers> workers);
  std::unique_ptr<Workers> workers_;
};

/// "cpu": see CpuOptions.
[[nodiscard]] std::unique_ptr<EngineFactory> make_cpu_factory();

}  // namespace sluice::inline cpu
