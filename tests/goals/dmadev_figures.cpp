// SPDX-License-Identifier: Apache-2.0
#include "dmadev_figures.hpp"

#include <fmt/format.h>
#include <rte_dmadev.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

#include "sluice/dmadev/dmadev_engine.hpp"
#include "sluice/dmadev/rte_device.hpp"

namespace sluice::bench {
namespace {

constexpr const char* kDevice = "dma_skeleton";
constexpr std::size_t kChunk = 256 << 10;
constexpr std::size_t kRoundBytes = 128 << 20;
constexpr int kRounds = 9;
constexpr std::size_t kInFlight = 8;  // operations: the same 2 MiB for both

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Without Sluice: copies from one page of zeros, as many in flight as the engine has.
double raw_seconds(MemorySpan memory, const std::vector<std::byte>& zeros) {
  const auto id = static_cast<std::int16_t>(::rte_dma_get_dev_id_by_name(kDevice));
  const auto start = std::chrono::steady_clock::now();
  std::size_t given = 0;
  std::size_t done = 0;
  const std::size_t operations = memory.size() / kChunk;
  while (done < operations) {
    while (given < operations && given - done < kInFlight) {
      const auto to = reinterpret_cast<std::uintptr_t>(&memory[given * kChunk]);
      if (::rte_dma_copy(id, 0, reinterpret_cast<std::uintptr_t>(zeros.data()), to, kChunk, RTE_DMA_OP_FLAG_SUBMIT) < 0)
        break;
      ++given;
    }
    std::uint16_t last = 0;
    bool failed = false;
    done += ::rte_dma_completed(id, 0, 64, &last, &failed);
    if (failed) return 0.0;
  }
  return seconds_since(start);
}

double engine_seconds(DmadevEngine& engine, MemorySpan memory) {
  constexpr std::size_t kJob = 2 << 20;
  const auto start = std::chrono::steady_clock::now();
  std::array<Completion, 16> completions;
  const std::size_t jobs = memory.size() / kJob;
  std::size_t submitted = 0;
  for (std::size_t done = 0; done < jobs;) {
    if (submitted < jobs) {
      const ScrubJob job{memory.subspan(submitted * kJob, kJob)};
      JobId id;
      if (engine.submit({&job, 1}, {&id, 1})) ++submitted;
    }
    done += engine.poll(completions);
    if (engine.fault()) return 0.0;
  }
  return seconds_since(start);
}

}  // namespace

void print_dmadev_figures(MemorySpan arena) {
  auto device = open_rte_device(kDevice, {});
  if (!device) {
    fmt::print("\ndmadev: {}\n", device.error().message);
    return;
  }
  const MemorySpan windows[] = {arena};
  auto engine = DmadevEngine::create(std::move(*device), {}, windows);
  if (!engine) {
    fmt::print("\ndmadev: {}\n", engine.error().message);
    return;
  }
  const std::vector<std::byte> zeros(kChunk);
  std::vector<double> ratios;
  for (int round = 0; round < kRounds; ++round) {
    const std::size_t at = static_cast<std::size_t>(round) * 2 * kRoundBytes % (arena.size() - 2 * kRoundBytes + 1);
    const double raw = raw_seconds(arena.subspan(at, kRoundBytes), zeros);
    ratios.push_back(raw / engine_seconds(**engine, arena.subspan(at + kRoundBytes, kRoundBytes)));
  }
  std::sort(ratios.begin(), ratios.end());
  const double median = ratios[ratios.size() / 2];
  fmt::print("\ndmadev over {}, jobs of 2 MiB: times rte_dma_copy without Sluice {:>21.2f} x >= 0.95 {}\n", kDevice,
             median, median >= 0.95 ? "" : "MISSED");
}

}  // namespace sluice::bench
