// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sluice/engine/engine_registry.hpp"

namespace sluice::bench {

/// A way to get zeros into memory.
class Contender {
 public:
  Contender() = default;
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;
  virtual ~Contender() = default;

  /// What these blocks need before they can be cleared and nobody counts: mappings. Errors: the machine has none.
  [[nodiscard]] virtual Result<void> prepare(std::span<const MemorySpan> /*blocks*/) { return {}; }
  /// All blocks, which were prepared for this, are zeros afterwards. Returns how long that took, by the contender's
  /// clock: this machine's, or that of a simulated engine. Errors: of an engine that fails.
  [[nodiscard]] virtual Result<std::chrono::nanoseconds> clear(std::span<const MemorySpan> blocks) = 0;

  [[nodiscard]] Result<std::chrono::nanoseconds> prepare_and_clear(std::span<const MemorySpan> blocks) {
    if (auto prepared = prepare(blocks); !prepared) return prepared.error();
    return clear(blocks);
  }
};

/// A contender before it is made; it is made anew for each measurement, and two of them never stand at the same time.
struct Entry {
  std::string name;
  /// For blocks of this memory. Errors: the machine has no such thing, and why.
  std::function<Result<std::unique_ptr<Contender>>(MemorySpan memory)> make;
  bool simulated = false;      ///< Its clock is that of a simulation: exact, and projected.
  ByteCount least{1};          ///< Shortest block that it can clear.
  ByteCount most{1ULL << 40};  ///< Longest block that is worth the wait.
};

/// How an engine is driven.
struct Drive {
  std::size_t depth = 256;  ///< Jobs in flight, at most.
  std::size_t batch = 32;   ///< Jobs in one submit(), at most.
  /// Whoever waits for completions leaves the CPU to others, where the engine can wake it. false: it looks for them all
  /// the time, on a CPU of its own.
  bool sleeps = true;
};

/// What this machine's CPUs can do without Sluice: libc memset, rep stosb, page by page past the caches as Xen does.
[[nodiscard]] std::vector<Entry> cpu_peers();
/// What the kernel does for fresh memory: populating it with small, transparent huge and reserved huge pages, and
/// punching a hole into a file and populating that again. Of the blocks only the lengths count.
[[nodiscard]] std::vector<Entry> kernel_peers();
/// rte_dma_copy without Sluice, where the module is there.
[[nodiscard]] std::vector<Entry> raw_dmadev();
/// An engine by its name. The registry outlives the entry.
[[nodiscard]] Entry engine_entry(const EngineRegistry& registry, const EngineName& name, const Drive& drive = {});

/// Whether an engine runs on cycles instead of time, and how many of them are a second. MHz; 0: on time.
[[nodiscard]] double simulated_mhz(Engine& engine);
/// What a simulated engine's times are: its clock and its bus. Empty: the engine runs on time, or cannot be made.
[[nodiscard]] std::string projection(const EngineRegistry& registry, const EngineName& name, MemorySpan memory);

}  // namespace sluice::bench

/// What a module with one more contender exports. The caller deletes it. nullptr: the machine has no such thing.
extern "C" sluice::bench::Contender* sluice_bench_contender(std::byte* memory, std::size_t length);
