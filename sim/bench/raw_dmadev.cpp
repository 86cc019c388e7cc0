// SPDX-License-Identifier: Apache-2.0
// rte_dma_copy as anybody would call it, from a page of zeros: a module of its own, so that only who asks loads DPDK.
#include <fmt/format.h>
#include <rte_dmadev.h>

#include <vector>

#include "sluice/bench/contenders.hpp"
#include "sluice/dmadev/rte_device.hpp"

namespace sluice::bench {
namespace {

constexpr const char* kDevice = "dma_skeleton";
constexpr std::size_t kChunk = 256 << 10;
constexpr std::size_t kInFlight = 2 << 20;    // bytes, as the dmadev engine has under way
constexpr std::size_t kMostOperations = 256;  // of the ring of 512

class RawDmadev final : public Contender {
 public:
  explicit RawDmadev(std::unique_ptr<DmaDevice> device) : device_(std::move(device)), zeros_(kChunk) {}

  [[nodiscard]] Result<std::chrono::nanoseconds> clear(std::span<const MemorySpan> blocks) override {
    const auto id = static_cast<std::int16_t>(::rte_dma_get_dev_id_by_name(kDevice));
    const auto from = reinterpret_cast<std::uintptr_t>(zeros_.data());
    std::size_t given = 0;
    std::size_t done = 0;
    const auto reap = [&] {
      std::uint16_t last = 0;
      bool failed = false;
      done += ::rte_dma_completed(id, 0, 64, &last, &failed);
      return !failed;
    };
    const auto start = std::chrono::steady_clock::now();
    for (const MemorySpan block : blocks) {
      for (std::size_t at = 0; at < block.size();) {
        if (!reap()) return Error{DriverErrc::EngineFailed, "rte_dma_completed reports an error"};
        const auto length = static_cast<std::uint32_t>(std::min(kChunk, block.size() - at));
        if (given - done >= std::min(kInFlight / length, kMostOperations)) continue;
        const auto to = reinterpret_cast<std::uintptr_t>(&block[at]);
        if (::rte_dma_copy(id, 0, from, to, length, RTE_DMA_OP_FLAG_SUBMIT) < 0) continue;
        ++given;
        at += length;
      }
    }
    while (done < given) {
      if (!reap()) return Error{DriverErrc::EngineFailed, "rte_dma_completed reports an error"};
    }
    return std::chrono::nanoseconds(std::chrono::steady_clock::now() - start);
  }

 private:
  std::unique_ptr<DmaDevice> device_;
  std::vector<std::byte> zeros_;
};

}  // namespace
}  // namespace sluice::bench

extern "C" sluice::bench::Contender* sluice_bench_contender(std::byte* /*memory*/, std::size_t /*length*/) {
  auto device = sluice::open_rte_device(sluice::bench::kDevice, {});
  return device ? new sluice::bench::RawDmadev(std::move(*device)) : nullptr;
}
