// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <stdexcept>
#include <vector>

#include "sluice/driver/ring_format.hpp"
#include "sluice/sim/simulated_device.hpp"
#include "support/memory.hpp"
#include "support/wave.hpp"

namespace sluice::test {

/// The engine as a driver author sees it: registers, rings and nothing in between. For tests that must say what the
/// ring driver never would.
class RawEngine {
 public:
  static constexpr std::uint32_t kRingLog2 = 4;
  static constexpr std::uint32_t kEntries = 1U << kRingLog2;

  struct Completion {
    std::uint16_t slot;
    std::uint32_t generation;
    std::uint8_t outcome;
    std::uint8_t cause;
    std::uint64_t bytes;
  };

  explicit RawEngine(sim::SimOptions options = {}, std::size_t data_bytes = 1 << 20) : data_(data_bytes) {
    options.wave_file = wave_file();
    auto made = sim::SimulatedDevice::create(options);
    if (!made) throw std::runtime_error(made.error().message);
    device_ = std::move(*made);
    data_iova_ = device_->map(data_.all())->value();
    submission_ = *device_->allocate_ring(ByteCount(sizeof(ring::Descriptor) * kEntries));
    completion_ = *device_->allocate_ring(ByteCount(sizeof(ring::CompletionEntry) * kEntries));
    write(ring::kQueueRingLog2, kRingLog2);
    write64(ring::kQueueSqBase, submission_.iova.value());
    write64(ring::kQueueCqBase, completion_.iova.value());
    write64(ring::kQueueWindowBase, data_iova_);
    write64(ring::kQueueWindowLimit, data_iova_ + data_bytes);
  }

  void start() {
    write(ring::kQueueCtrl, 1);
    device_->write_register(ring::kRegCtrl, 1);
  }

  void write(std::uint32_t queue_register, std::uint32_t value) {
    device_->write_register(ring::kRegQueues + queue_register, value);
  }
  void write64(std::uint32_t queue_register, std::uint64_t value) {
    write(queue_register, static_cast<std::uint32_t>(value));
    write(queue_register + 4, static_cast<std::uint32_t>(value >> 32));
  }
  std::uint32_t read(std::uint32_t queue_register) { return device_->read_register(ring::kRegQueues + queue_register); }

  /// A fill of the data window, offset and length in bytes.
  [[nodiscard]] ring::Descriptor fill(std::uint64_t offset, std::uint64_t length, std::uint16_t slot,
                                      std::uint32_t generation = 1) const {
    ring::Descriptor descriptor;
    descriptor.address = data_iova_ + offset;
    descriptor.length_bytes = length;
    descriptor.pattern = 0;
    descriptor.slot = slot;
    descriptor.operation = ring::kOpFill;
    descriptor.generation = generation;
    return descriptor;
  }

  void place(const ring::Descriptor& descriptor) {
    std::memcpy(submission_.memory.data() + (tail_++ % kEntries) * sizeof descriptor, &descriptor, sizeof descriptor);
  }
  void ring_doorbell() { write(ring::kQueueSqTail, tail_); }
  void submit(const ring::Descriptor& descriptor) {
    place(descriptor);
    ring_doorbell();
  }
  void cancel(std::uint32_t slot, std::uint32_t generation) {
    write(ring::kQueueCancelGeneration, generation);
    write(ring::kQueueCancelSlot, slot);
  }

  /// The completion at the head of the ring, if there is one. Does not move cq_head for the engine.
  std::optional<Completion> try_collect() {
    ring::CompletionEntry entry;
    std::memcpy(&entry, completion_.memory.data() + (head_ % kEntries) * sizeof entry, sizeof entry);
    if (ring::CompletionEntry::phase(entry.status) != ((head_ / kEntries) % 2 == 0)) return std::nullopt;
    ++head_;
    return Completion{ring::CompletionEntry::slot(entry.slot_and_bytes),
                      ring::CompletionEntry::generation(entry.status), ring::CompletionEntry::outcome(entry.status),
                      ring::CompletionEntry::cause(entry.status),
                      ring::CompletionEntry::bytes_zeroed(entry.slot_and_bytes)};
  }
  /// Waits for the next completion; throws if none comes.
  Completion collect(std::uint64_t max_cycles = 200'000) {
    for (std::uint64_t cycle = 0; cycle < max_cycles; ++cycle) {
      if (const auto completion = try_collect()) return *completion;
      device_->run_cycles(1);
    }
    throw std::runtime_error("no completion came");
  }
  void release_completions() { write(ring::kQueueCqHead, head_); }

  [[nodiscard]] sim::SimulatedDevice& device() { return *device_; }
  [[nodiscard]] const Memory& data() const { return data_; }
  [[nodiscard]] std::uint64_t data_iova() const { return data_iova_; }

 private:
  Memory data_;
  std::unique_ptr<sim::SimulatedDevice> device_;
  DmaBuffer submission_;
  DmaBuffer completion_;
  std::uint64_t data_iova_ = 0;
  std::uint16_t tail_ = 0;
  std::uint16_t head_ = 0;
};

}  // namespace sluice::test
