// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "sluice/dmadev/dma_device.hpp"
#include "sluice/engine/engine.hpp"
#include "sluice/engine/stall_watch.hpp"

namespace sluice::inline engine {
class JobSlots;
template <class T>
class Ring;
class Windows;
}  // namespace sluice::inline engine

namespace sluice::inline dmadev {

struct DmadevOptions {
  std::uint32_t max_jobs = 256;     ///< In flight at once; 1 to 65,536.
  ByteCount chunk{256ULL << 10};    ///< Longest operation: 4 KiB to DmaLimits::longest. Devices do not tell their own.
  ByteCount in_flight{2ULL << 20};  ///< Given to the device at once, which a cancel waits for: a chunk to 1 TiB.
  bool copy = false;                ///< Copy from a zero page even if the device can fill.
  std::chrono::nanoseconds stall_timeout{2'000'000'000};  ///< Jobs, and no operation ended for so long: it failed.
};

/// Fills memory with a DMA channel. What the channel cannot fill it copies from a buffer that holds the pattern. It
/// cannot verify. A cancel drops what the device was not yet given. Polled, one thread at a time: the device is given
/// more work by submit() and poll() only.
class DmadevEngine final : public Engine {
 public:
  /// Errors: InvalidArgument, DeviceMissing (a channel that can neither fill nor copy), NoResources.
  [[nodiscard]] static Result<std::unique_ptr<DmadevEngine>> create(std::unique_ptr<DmaDevice> device,
                                                                    const DmadevOptions& options,
                                                                    std::span<const MemorySpan> windows);
  /// Cancels what is in flight and waits for what the device was given, at most stall_timeout.
  ~DmadevEngine() override;

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override { return chunks_ended_; }
  [[nodiscard]] bool reaches(MemorySpan memory) const override;
  [[nodiscard]] std::optional<Error> fault() const override { return fault_; }
  [[nodiscard]] std::chrono::nanoseconds now() const override;

 private:
  /// How far a job has come. Chunks end in order, so that `done` is a prefix.
  struct Progress {
    std::size_t given = 0;  // to the device, from the start of the memory
    std::size_t done = 0;
    std::uint32_t in_flight = 0;  // chunks
    bool queued = false;          // stands in a queue: more is to be given
    bool cancelled = false;
    bool again = false;  // a chunk was not attempted, or missed a page: goes on from `done` when nothing is in flight
    std::size_t faults_brought_in = 0;  // one more than the `done` at which a page was missing and was brought in
    FailureCause cause = FailureCause::None;
  };
  struct Chunk {
    std::uint32_t slot;
    std::size_t length;
    bool from_pattern_page;
  };
  /// Memory that copies read from.
  struct SourcePage {
    MemorySpan memory;
    std::uint64_t pattern = 0;
    std::uint32_t in_flight = 0;  // copies that read it
  };

  DmadevEngine(std::unique_ptr<DmaDevice> device, const DmadevOptions& options);
  [[nodiscard]] static Result<void> check(const DmadevOptions& options, const DmaLimits& limits);
  [[nodiscard]] Result<void> set_up(std::span<const MemorySpan> windows);
  [[nodiscard]] Result<void> make_source(SourcePage& page);
  void enqueue(std::uint32_t slot);
  void give();
  bool give_chunk(std::uint32_t slot);
  bool give_copy(MemorySpan to, std::uint64_t pattern, bool& from_pattern_page);
  void reap();
  [[nodiscard]] bool bring_in(const Chunk& chunk);
  void settle(std::uint32_t slot);
  [[nodiscard]] ByteCount never_given(std::uint32_t slot) const;
  void watch();
  void fail(FailureCause cause, const std::string& why);

  std::unique_ptr<DmaDevice> device_;
  DmadevOptions options_;
  EngineCapabilities capabilities_;
  bool copies_ = false;
  std::unique_ptr<Windows> windows_;
  std::unique_ptr<JobSlots> slots_;
  std::vector<Progress> progress_;
  std::unique_ptr<Ring<std::uint32_t>> urgent_;
  std::unique_ptr<Ring<std::uint32_t>> background_;
  std::deque<Chunk> chunks_;  // given to the device, oldest first
  std::uint64_t chunks_ended_ = 0;
  std::size_t bytes_in_flight_ = 0;
  SourcePage zero_page_;
  SourcePage pattern_page_;
  std::deque<Completion> finished_;
  StallWatch watch_;
  std::optional<Error> fault_;
};

}  // namespace sluice::inline dmadev
