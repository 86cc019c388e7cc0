// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sluice/manager/memory_manager.hpp"
#include "sluice/policy/policy_book.hpp"
#include "sluice/workload/oracle.hpp"
#include "sluice/workload/paced_engine.hpp"
#include "sluice/workload/trace.hpp"

namespace sluice::inline workload {

struct ReplayOptions {
  std::uint64_t memory_scale = 1024;             ///< Sizes of the trace are divided by it, and so is scrub_rate.
  double scrub_rate = 4.0 * 1024 * 1024 * 1024;  ///< Bytes a second of trace time, before scaling.
  ByteCount job_length = kMiB;                   ///< Longest background scrub, in the pool.
  ByteCount clean_target{~0ULL};                 ///< See ScrubberConfig; in the pool.
  std::chrono::nanoseconds idle_after{std::chrono::seconds(1)};  ///< See there; of trace time.
  bool vms_write = true;  ///< VMs fill their memory and the oracle reads it. false: only for what a replay costs.
  PolicyBook policies;    ///< What holds for each VM from its birth. Fills are zeros.
};

/// How a replay ended.
enum class ReplayEnd : std::uint8_t { Finished, Leak, EngineFailed, OutOfMemory, Interrupted };

enum class GrantKind : std::uint8_t {
  Skipped,   ///< At least a part was recycled.
  Clean,     ///< All clean when it was asked for.
  Scrubbed,  ///< Nothing recycled, and a scrub had to be waited for.
};
inline constexpr std::size_t kGrantKinds = 3;

/// A grant, in the sizes of the trace.
struct GrantFacts {
  ByteCount vm;        ///< All that the VM has with it.
  ByteCount length;    ///< Of the grant.
  ByteCount recycled;  ///< Of that.
  bool reboot = false;
  std::chrono::nanoseconds wait{0};  ///< By the trace's clock.
};

/// How much memory was clean, by the trace's clock.
struct CleanLevel {
  std::chrono::nanoseconds time{0};
  ByteCount clean;
};

struct ReplayResult {
  ReplayEnd end = ReplayEnd::Finished;
  std::string message;  ///< Unless Finished: what happened.
  std::size_t events_done = 0;
  Statistics statistics;
  std::array<std::vector<std::chrono::nanoseconds>, kGrantKinds> latencies;  ///< By the engine's clock.
  std::vector<GrantFacts> grants;                                            ///< All of them.
  std::vector<CleanLevel> levels;                                            ///< After each event.
  std::chrono::nanoseconds initial_scrub{0};  ///< How long the engine took for the whole pool, by its clock.
  std::uint64_t leaks = 0;
  ByteCount oracle_read;
  ByteCount oracle_written;
  ByteCount quarantined_at_start;  ///< By the scrub of the whole pool before the first event.
  ByteCount in_flight_at_stop;
};

/// Lets the VMs of a trace live on real memory: each fills what it is given with its canaries, and the oracle reads
/// what it is given first.
class Replay {
 public:
  Replay(const Trace& trace, const BackingMemory& memory, Engine& engine, const ReplayOptions& options);

  /// Runs all events, or until `stop` is set or something goes wrong. `progress` is called with the events done, at
  /// least once for each.
  ReplayResult run(const std::atomic<bool>& stop, const std::function<void(std::size_t)>& progress);

 private:
  struct Vm {
    CustomerId customer;
    std::vector<MemorySpan> memory;
    ByteCount length;
  };

  void scrub_everything(const std::atomic<bool>& stop);
  void advance_to(std::chrono::nanoseconds time);
  void drain_due();
  void handle(const TraceEvent& event);
  [[nodiscard]] bool know_group(TrustGroupId group, CustomerId customer);
  void handle_create(const TraceEvent& event);
  void handle_create_pool(const TraceEvent& event);
  void handle_balloon_down(const TraceEvent& event);
  void handle_reboot(const TraceEvent& event);
  void give(VmId vm, ByteCount length, bool reboot);
  struct Asked {
    std::chrono::nanoseconds engine_time;
    std::chrono::nanoseconds trace_time;
    bool reboot = false;
  };
  void receive(VmId vm, const Grant& grant, const Asked& asked);
  [[nodiscard]] ByteCount scaled_bytes(const TraceEvent& event) const;
  /// Returns early when the run is stopped: what waits is then answered later, or not at all.
  void wait_until(const bool& done);
  void interrupt();
  void fail(const Error& error);
  [[nodiscard]] MemoryManager& manager() { return **made_; }
  [[nodiscard]] bool failed() const { return result_.end != ReplayEnd::Finished; }

  const Trace& trace_;
  ReplayOptions options_;
  PacedEngine engine_;
  Result<std::unique_ptr<MemoryManager>> made_;
  Oracle oracle_;
  std::unordered_map<VmId, Vm> vms_;
  std::unordered_set<TrustGroupId> groups_;
  std::chrono::nanoseconds trace_start_{0};
  ByteCount page_;                           ///< Of the pool's memory.
  const std::atomic<bool>* stop_ = nullptr;  ///< As long as run() runs.
  ReplayResult result_;
};

}  // namespace sluice::inline workload
