// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// The wire format between the ring driver and the engine in RTL: docs/RING.md explains it, rtl/sluice_pkg.sv holds the
/// same in SystemVerilog, and tests/rtl/wire_format_test.cpp compares the two field by field. Little endian.
namespace sluice::ring {

struct alignas(64) Descriptor {
  std::uint64_t address = 0;
  std::uint64_t length_bytes = 0;
  std::uint64_t pattern = 0;
  std::uint16_t slot = 0;
  std::uint8_t operation = 0;
  std::uint8_t flags = 0;
  std::uint32_t generation = 0;
  std::array<std::uint64_t, 4> reserved{};
};
static_assert(sizeof(Descriptor) == 64);
static_assert(offsetof(Descriptor, slot) == 24);
static_assert(offsetof(Descriptor, generation) == 28);

/// Two 64-bit words; the second holds the phase bit and is the one to wait for.
struct alignas(16) CompletionEntry {
  std::uint64_t slot_and_bytes = 0;  ///< [47:0] bytes zeroed, [63:48] slot
  std::uint64_t status = 0;          ///< [31:0] generation, [39:32] outcome, [47:40] cause, [63] phase

  [[nodiscard]] static constexpr std::uint64_t bytes_zeroed(std::uint64_t word) { return word & ((1ULL << 48) - 1); }
  [[nodiscard]] static constexpr std::uint16_t slot(std::uint64_t word) {
    return static_cast<std::uint16_t>(word >> 48);
  }
  [[nodiscard]] static constexpr std::uint32_t generation(std::uint64_t word) {
    return static_cast<std::uint32_t>(word);
  }
  [[nodiscard]] static constexpr std::uint8_t outcome(std::uint64_t word) {
    return static_cast<std::uint8_t>(word >> 32);
  }
  [[nodiscard]] static constexpr std::uint8_t cause(std::uint64_t word) {
    return static_cast<std::uint8_t>(word >> 40);
  }
  [[nodiscard]] static constexpr bool phase(std::uint64_t word) { return (word >> 63) != 0; }
};
static_assert(sizeof(CompletionEntry) == 16);

inline constexpr std::uint8_t kOpFill = 1;
inline constexpr std::uint64_t kMaxLengthBytes = 1ULL << 40;
inline constexpr std::uint32_t kIdValue = 0x534C4345;
inline constexpr std::uint32_t kVersionValue = 0x00010000;

/// Registers of the engine, offsets in bytes. 64-bit counters: low half first, it latches the high half.
inline constexpr std::uint32_t kRegCtrl = 0x000;
inline constexpr std::uint32_t kRegGie = 0x004;
inline constexpr std::uint32_t kRegIer = 0x008;
inline constexpr std::uint32_t kRegIsr = 0x00C;
inline constexpr std::uint32_t kRegId = 0x010;
inline constexpr std::uint32_t kRegVersion = 0x014;
inline constexpr std::uint32_t kRegCapabilities = 0x018;
inline constexpr std::uint32_t kRegCycles = 0x020;
inline constexpr std::uint32_t kRegDataBeats = 0x028;
inline constexpr std::uint32_t kRegJobs = 0x030;
inline constexpr std::uint32_t kRegJobsCancelled = 0x038;
inline constexpr std::uint32_t kRegQueues = 0x800;

inline constexpr std::uint32_t kQueueStride = 0x080;

/// Registers of one queue, from kRegQueues + queue * kQueueStride.
inline constexpr std::uint32_t kQueueCtrl = 0x00;
inline constexpr std::uint32_t kQueueStatus = 0x04;
inline constexpr std::uint32_t kQueueRingLog2 = 0x08;
inline constexpr std::uint32_t kQueueSqTail = 0x0C;
inline constexpr std::uint32_t kQueueSqBase = 0x10;
inline constexpr std::uint32_t kQueueCqBase = 0x18;
inline constexpr std::uint32_t kQueueWindowBase = 0x20;
inline constexpr std::uint32_t kQueueWindowLimit = 0x28;
inline constexpr std::uint32_t kQueueSqHead = 0x30;
inline constexpr std::uint32_t kQueueCqTail = 0x34;
inline constexpr std::uint32_t kQueueCqHead = 0x38;
inline constexpr std::uint32_t kQueueCancelGeneration = 0x40;
inline constexpr std::uint32_t kQueueCancelSlot = 0x44;

inline constexpr std::uint32_t kStatusIdle = 1U << 0;
inline constexpr std::uint32_t kStatusFetchFault = 1U << 1;
inline constexpr std::uint32_t kStatusCompletionFault = 1U << 2;

}  // namespace sluice::ring
