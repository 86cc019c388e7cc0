// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "sluice/base/units.hpp"
#include "sluice/engine/error.hpp"

namespace sluice::inline dmadev {

/// What came of one operation of a DMA channel.
enum class DmaStatus : std::uint8_t {
  Done,
  NotAttempted,  ///< An earlier one failed; nothing was touched.
  BadOperation,  ///< The device does not take it: its length, its form.
  BadAddress,    ///< Nothing is mapped there.
  PageFault,     ///< A page was not there, and the device cannot bring it in. Some of it may have been written.
  AccessFailed,  ///< The bus or the memory refused; some of it may have been written.
  DeviceFailed,  ///< The link or the device itself.
};

struct DmaLimits {
  std::string name;
  bool fills = false;
  bool copies = false;
  std::uint32_t descriptors = 0;  ///< Operations in flight at once.
  std::size_t boundary = 0;       ///< No operation may cross a multiple of it (pages of physical memory); 0: any may.
  std::size_t longest = 0xFFFFFFFF;  ///< Bytes of one operation: DPDK counts them in 32 bits.
};

/// One DMA channel with operations that end in their order. One thread at a time; nothing waits.
class DmaDevice {
 public:
  DmaDevice() = default;
  DmaDevice(const DmaDevice&) = delete;
  DmaDevice& operator=(const DmaDevice&) = delete;
  /// Stops the device. Nothing may be in flight.
  virtual ~DmaDevice() = default;

  [[nodiscard]] virtual const DmaLimits& limits() const = 0;

  /// Makes memory reachable; it stays so as long as the device lives. Errors: InvalidArgument, NoResources.
  [[nodiscard]] virtual Result<void> map(MemorySpan memory) = 0;

  /// Prepares an operation; false: there is no room. `pattern` begins at the first byte of `to`, lowest byte first.
  [[nodiscard]] virtual bool fill(std::uint64_t pattern, MemorySpan to) = 0;
  [[nodiscard]] virtual bool copy(const std::byte* from, MemorySpan to) = 0;
  /// Starts what was prepared.
  virtual void doorbell() = 0;
  /// What has ended since, in order; returns how many.
  virtual std::size_t completed(std::span<DmaStatus> out) = 0;

  /// Whether the device says that it has stopped at an error, and will end nothing any more.
  [[nodiscard]] virtual bool halted() = 0;

  /// The clock that it runs by, for the timeout.
  [[nodiscard]] virtual std::chrono::nanoseconds now() const {
    return std::chrono::steady_clock::now().time_since_epoch();
  }

  /// Tries to make a device stop that does not answer. It may still write afterwards.
  virtual void give_up() = 0;
};

}  // namespace sluice::inline dmadev
