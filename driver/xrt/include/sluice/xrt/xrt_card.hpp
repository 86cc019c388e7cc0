// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sluice/ring/transport.hpp"

namespace sluice::inline xrt {

struct XrtOptions {
  std::uint32_t device = 0;  ///< XRT's number of the card.
  std::string xclbin;        ///< File that holds the scrub engine.
  std::string instance = "scrub:{scrub_1}";
  bool interrupts = true;  ///< Where the card has them; else it is polled.
  /// Whether the device process behind XRT's emulation still runs; empty for a card. See XrtEmulation.
  std::function<bool()> alive;
};

/// A card with a scrub engine, opened through XRT for this process alone. It reaches host memory only if XRT has
/// allocated it (host_only buffers). Threading: one thread at a time.
class XrtCard {
 public:
  /// Errors: DeviceMissing, with what XRT says.
  [[nodiscard]] static Result<std::unique_ptr<XrtCard>> open(const XrtOptions& options);
  XrtCard() = default;
  XrtCard(const XrtCard&) = delete;
  XrtCard& operator=(const XrtCard&) = delete;
  virtual ~XrtCard() = default;

  /// Zeroed host memory that the card reaches, whole pages; lives as long as the card. Errors: NoResources.
  [[nodiscard]] virtual Result<DmaBuffer> allocate(ByteCount length) = 0;
  /// Lets a later allocate() have the memory again.
  virtual void give_back(const DmaBuffer& buffer) = 0;
  /// Where the card sees memory that lies in one piece that allocate() gave. Errors: InvalidArgument.
  [[nodiscard]] virtual Result<Iova> find(MemorySpan memory) const = 0;

  /// A card that is gone reads as all ones, like a PCIe device that is.
  [[nodiscard]] virtual std::uint32_t read_register(std::uint32_t offset) = 0;
  virtual void write_register(std::uint32_t offset, std::uint32_t value) = 0;
  /// See Transport::interrupt_fd(). XRT's emulation delivers no interrupts.
  [[nodiscard]] virtual int interrupt_fd() const = 0;
};

/// The ring driver's way to such a card, which outlives it.
class XrtTransport final : public Transport {
 public:
  explicit XrtTransport(XrtCard& card) : card_(card) {}
  ~XrtTransport() override {
    for (const DmaBuffer& ring : rings_) card_.give_back(ring);
  }

  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset) override { return card_.read_register(offset); }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    card_.write_register(offset, value);
  }
  [[nodiscard]] Result<DmaBuffer> allocate_ring(ByteCount length) override {
    auto ring = card_.allocate(length);
    if (ring) rings_.push_back(*ring);
    return ring;
  }
  [[nodiscard]] Result<Iova> map(MemorySpan memory) override { return card_.find(memory); }
  void advance() override {}
  [[nodiscard]] int interrupt_fd() const override { return card_.interrupt_fd(); }
  [[nodiscard]] std::chrono::nanoseconds now() const override {
    return std::chrono::steady_clock::now().time_since_epoch();
  }

 private:
  XrtCard& card_;
  std::vector<DmaBuffer> rings_;
};

}  // namespace sluice::inline xrt
