// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "sluice/base/units.hpp"
#include "sluice/engine/error.hpp"

namespace sluice::inline ring {

/// Memory that both sides of a ring can reach.
struct DmaBuffer {
  MemorySpan memory;  ///< As the host sees it.
  Iova iova;          ///< As the device sees it.
};

/// How the ring driver reaches a device: its registers, and memory that both can see. Nothing else is known about it.
/// Threading: one thread at a time. Destroying a transport stops its device.
class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  /// 32-bit register access at a byte offset below 4096. A write that the device refuses has no effect. The device sees
  /// everything that the caller stored to memory before a register write (like writel() in Linux).
  [[nodiscard]] virtual std::uint32_t read_register(std::uint32_t offset) = 0;
  virtual void write_register(std::uint32_t offset, std::uint32_t value) = 0;

  /// Zeroed, page-aligned memory for a ring; lives as long as the transport.
  [[nodiscard]] virtual Result<DmaBuffer> allocate_ring(ByteCount length) = 0;

  /// Makes `memory` reachable for the device, as data. Windows mapped one after the other get rising addresses.
  [[nodiscard]] virtual Result<Iova> map(MemorySpan memory) = 0;

  /// Called while the driver waits: lets time pass for the device.
  virtual void advance() = 0;

  /// An eventfd that is written when the device has raised its interrupt, and that the driver reads empty; -1: the
  /// device is polled.
  [[nodiscard]] virtual int interrupt_fd() const { return -1; }

  /// The clock of the device, for timeouts.
  [[nodiscard]] virtual std::chrono::nanoseconds now() const = 0;

  /// The clock of a simulated device; 0 for a real one.
  [[nodiscard]] virtual double simulated_clock_mhz() const { return 0.0; }
};

}  // namespace sluice::inline ring
