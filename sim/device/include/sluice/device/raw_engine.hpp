// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "sluice/device/simulated_device.hpp"
#include "sluice/ring/ring_format.hpp"

namespace sluice::inline device {

/// The engine as a driver author sees it: registers, rings and nothing in between, over one window of data. For
/// scenarios and tests that must say what the ring driver never would. Throws std::runtime_error.
class RawEngine {
 public:
  struct Completion {
    std::uint16_t slot;
    std::uint32_t generation;
    std::uint8_t outcome;
    std::uint8_t cause;
    std::uint64_t bytes;
  };

  static constexpr std::size_t kListBytes = 64 << 10;  ///< memory for extent lists

  /// All queues with rings of 2^ring_log2 entries each; they may touch `data`, which must outlive the engine. The
  /// functions without a queue number mean queue 0.
  RawEngine(const SimOptions& options, MemorySpan data, std::uint32_t ring_log2 = 4)
      : data_bytes_(data.size()), ring_log2_(ring_log2) {
    auto made = SimulatedDevice::create(options);
    if (!made) throw std::runtime_error(made.error().message);
    device_ = std::move(*made);
    data_iova_ = device_->map(data)->value();
    queues_.resize(device_->build().queues);
    for (std::size_t q = 0; q < queues_.size(); ++q) {
      queues_[q].submission = *device_->allocate_ring(ByteCount(sizeof(ring::Descriptor) * entries()));
      queues_[q].completion = *device_->allocate_ring(ByteCount(sizeof(ring::CompletionEntry) * entries()));
      set_up(q);
    }
    lists_ = *device_->allocate_ring(ByteCount(kListBytes));
  }

  [[nodiscard]] std::uint32_t entries() const { return 1U << ring_log2_; }
  [[nodiscard]] std::size_t queues() const { return queues_.size(); }

  /// Writes the set-up of a queue, and forgets what was in its rings.
  void set_up(std::size_t q) {
    Queue& queue = queues_[q];
    queue.tail = queue.head = 0;
    std::memset(queue.completion.memory.data(), 0, queue.completion.memory.size());
    write(ring::kQueueRingLog2, ring_log2_, q);
    write64(ring::kQueueSqBase, queue.submission.iova.value(), q);
    write64(ring::kQueueCqBase, queue.completion.iova.value(), q);
    write64(ring::kQueueWindowBase, data_iova_, q);
    write64(ring::kQueueWindowLimit, data_iova_ + data_bytes_ - 1, q);
  }
  /// Enables all queues and the engine.
  void start() {
    for (std::size_t q = 0; q < queues_.size(); ++q) write(ring::kQueueCtrl, ring::kQueueCtrlBitEnable, q);
    write_engine(ring::kRegCtrl, ring::kEngineCtrlEnable);
  }

  bool write_engine(std::uint32_t offset, std::uint32_t value) {
    device_->write_register(offset, value);
    return device_->last_write_accepted();
  }
  std::uint32_t read_engine(std::uint32_t offset) { return device_->read_register(offset); }
  /// Whether the engine took it.
  bool write(std::uint32_t queue_register, std::uint32_t value, std::size_t q = 0) {
    return write_engine(of_queue(queue_register, q), value);
  }
  void write64(std::uint32_t queue_register, std::uint64_t value, std::size_t q = 0) {
    write(queue_register, static_cast<std::uint32_t>(value), q);
    write(queue_register + 4, static_cast<std::uint32_t>(value >> 32), q);
  }
  std::uint32_t read(std::uint32_t queue_register, std::size_t q = 0) {
    return device_->read_register(of_queue(queue_register, q));
  }
  std::uint64_t engine_counter(std::uint32_t offset) {
    const std::uint64_t low = device_->read_register(offset);
    return low | static_cast<std::uint64_t>(device_->read_register(offset + 4)) << 32;
  }
  std::uint64_t queue_counter(std::uint32_t offset, std::size_t q = 0) {
    return engine_counter(ring::kQueueCounterBase + static_cast<std::uint32_t>(q) * ring::kQueueCounterStride + offset);
  }

  /// A job on the data window, offset and length in bytes.
  [[nodiscard]] ring::Descriptor job(std::uint8_t operation, std::uint64_t offset, std::uint64_t length,
                                     std::uint16_t slot, std::uint32_t generation = 1) const {
    ring::Descriptor descriptor;
    descriptor.address = data_iova_ + offset;
    descriptor.length_bytes = length;
    descriptor.pattern = 0;
    descriptor.slot = slot;
    descriptor.operation = operation;
    descriptor.generation = generation;
    return descriptor;
  }
  [[nodiscard]] ring::Descriptor fill(std::uint64_t offset, std::uint64_t length, std::uint16_t slot,
                                      std::uint32_t generation = 1) const {
    return job(ring::kOpFill, offset, length, slot, generation);
  }
  /// A fence or a no-op.
  [[nodiscard]] static ring::Descriptor marker(std::uint8_t operation, std::uint16_t slot,
                                               std::uint32_t generation = 1) {
    ring::Descriptor descriptor;
    descriptor.operation = operation;
    descriptor.slot = slot;
    descriptor.generation = generation;
    return descriptor;
  }
  struct Extent {
    std::uint64_t offset;  ///< in the data window
    std::uint64_t length;
  };
  /// Makes of `descriptor` a job over a list of extents, which is placed in memory `list_offset` bytes into the lists.
  void use_list(ring::Descriptor& descriptor, std::span<const Extent> extents, std::size_t list_offset = 0) {
    if (list_offset + extents.size() * sizeof(Extent) > kListBytes) {
      throw std::runtime_error("the extent lists need more memory than there is");
    }
    descriptor.flags = ring::kDescriptorFlagList;
    descriptor.address = lists_.iova.value() + list_offset;
    descriptor.length_bytes = 0;
    std::byte* at = lists_.memory.data() + list_offset;
    for (const Extent& extent : extents) {
      const std::uint64_t words[] = {data_iova_ + extent.offset, extent.length};
      std::memcpy(at, words, sizeof words);
      at += sizeof words;
      descriptor.length_bytes += extent.length;
    }
  }

  void place(const ring::Descriptor& descriptor, std::size_t q = 0) {
    Queue& queue = queues_[q];
    std::memcpy(queue.submission.memory.data() + (queue.tail++ % entries()) * sizeof descriptor, &descriptor,
                sizeof descriptor);
  }
  void ring_doorbell(std::size_t q = 0) { write(ring::kQueueSqTail, queues_[q].tail, q); }
  void submit(const ring::Descriptor& descriptor, std::size_t q = 0) {
    place(descriptor, q);
    ring_doorbell(q);
  }
  void cancel(std::uint32_t slot, std::uint32_t generation, std::size_t q = 0) {
    write(ring::kQueueCancelGeneration, generation, q);
    write(ring::kQueueCancelSlot, slot, q);
  }

  /// The completion at the head of the ring, if there is one. Does not move cq_head for the engine.
  std::optional<Completion> try_collect(std::size_t q = 0) {
    Queue& queue = queues_[q];
    ring::CompletionEntry entry;
    std::memcpy(&entry, queue.completion.memory.data() + (queue.head % entries()) * sizeof entry, sizeof entry);
    if (entry.phase() != ((queue.head / entries()) % 2 == 0)) return std::nullopt;
    ++queue.head;
    return Completion{entry.slot(), entry.generation(), entry.outcome(), entry.cause(), entry.bytes_zeroed()};
  }
  /// Waits for the next completion; throws if none comes.
  Completion collect(std::size_t q = 0, std::uint64_t max_cycles = 200'000) {
    for (std::uint64_t cycle = 0; cycle < max_cycles; ++cycle) {
      if (const auto completion = try_collect(q)) return *completion;
      device_->run_cycles(1);
    }
    throw std::runtime_error("no completion came");
  }
  void release_completions(std::size_t q = 0) { write(ring::kQueueCqHead, queues_[q].head, q); }
  /// The memory of a completion ring.
  [[nodiscard]] MemorySpan completions(std::size_t q = 0) { return queues_[q].completion.memory; }
  /// Submits, waits and gives the ring entry back.
  Completion run(const ring::Descriptor& descriptor, std::size_t q = 0) {
    submit(descriptor, q);
    const Completion completion = collect(q);
    release_completions(q);
    return completion;
  }
  void wait_idle(std::size_t q = 0) {
    for (int attempt = 0; attempt < 100'000; ++attempt) {
      if ((read(ring::kQueueStatus, q) & ring::kStatusIdle) != 0) return;
    }
    throw std::runtime_error("the queue does not become idle");
  }

  [[nodiscard]] SimulatedDevice& device() { return *device_; }
  [[nodiscard]] std::uint64_t data_iova() const { return data_iova_; }

 private:
  struct Queue {
    DmaBuffer submission;
    DmaBuffer completion;
    std::uint16_t tail = 0;
    std::uint16_t head = 0;
  };

  static std::uint32_t of_queue(std::uint32_t queue_register, std::size_t q) {
    return ring::kQueueBase + static_cast<std::uint32_t>(q) * ring::kQueueStride + queue_register;
  }

  std::size_t data_bytes_;
  std::uint32_t ring_log2_;
  std::unique_ptr<SimulatedDevice> device_;
  std::vector<Queue> queues_;
  DmaBuffer lists_;
  std::uint64_t data_iova_ = 0;
};

}  // namespace sluice::inline device
