// SPDX-License-Identifier: Apache-2.0
// Made by tools/ring_format.py from rtl/ring.toml: do not edit.
// clang-format off
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// The wire format between the ring driver and the engine in RTL; docs/RING.md explains it. Little endian.
namespace sluice::inline ring {

/// register map and formats: major in the upper, minor in the lower half
inline constexpr std::uint32_t kVersion = 0x30000;
/// the ID register
inline constexpr std::uint32_t kId = 0x534C4345;
/// longest job: 1 TiB
inline constexpr std::uint64_t kMaxLengthBytes = 0x10000000000ULL;
/// alignment of both rings
inline constexpr std::uint32_t kPageBytes = 0x1000;
/// alignment of an extent list
inline constexpr std::uint32_t kListAlignment = 0x40;
inline constexpr std::uint32_t kDescriptorBytes = 0x40;
inline constexpr std::uint32_t kCompletionBytes = 0x10;
/// an entry of an extent list: address, length in bytes
inline constexpr std::uint32_t kExtentBytes = 0x10;
/// registers of queue 0
inline constexpr std::uint32_t kQueueBase = 0x800;
/// from one queue's registers to the next's
inline constexpr std::uint32_t kQueueStride = 0x80;
/// counters of queue 0
inline constexpr std::uint32_t kQueueCounterBase = 0x400;
/// from one queue's counters to the next's
inline constexpr std::uint32_t kQueueCounterStride = 0x40;

/// Descriptor.operation
inline constexpr std::uint8_t kOpFill = 1;  ///< write the pattern
inline constexpr std::uint8_t kOpVerify = 2;  ///< read, and compare with the pattern
inline constexpr std::uint8_t kOpFillVerify = 3;  ///< fill; when all of it is acknowledged, verify
inline constexpr std::uint8_t kOpFence = 4;  ///< ends when all earlier jobs of the queue have ended; later ones start after it
inline constexpr std::uint8_t kOpNoop = 5;  ///< ends in its turn, touches nothing

/// Completion.outcome
inline constexpr std::uint8_t kOutcomeZeroed = 1;  ///< done: every byte was written and acknowledged, or read and equal
inline constexpr std::uint8_t kOutcomeCancelled = 2;  ///< stopped on request; bytes_zeroed is the exact acknowledged prefix
inline constexpr std::uint8_t kOutcomeFailed = 3;  ///< see cause; bytes_zeroed is the exact prefix before the failure

/// Completion.cause
inline constexpr std::uint8_t kCauseNone = 0;  ///< not failed
inline constexpr std::uint8_t kCauseBadDescriptor = 1;  ///< not well formed; nothing was written
inline constexpr std::uint8_t kCauseOutsideWindow = 2;  ///< a byte lies outside the queue's window; nothing of that extent was written
inline constexpr std::uint8_t kCauseSlaveError = 3;  ///< the bus answered SLVERR
inline constexpr std::uint8_t kCauseDecodeError = 4;  ///< the bus answered DECERR
inline constexpr std::uint8_t kCauseTimeout = 5;  ///< the bus did not answer; the queue is quarantined
inline constexpr std::uint8_t kCauseMismatch = 7;  ///< a byte that was read differs from the pattern

/// Descriptor.flags, as masks
inline constexpr std::uint8_t kDescriptorFlagList = 1;  ///< address is that of an extent list, length_bytes the sum of its extents

/// bits of STATUS, as masks
inline constexpr std::uint32_t kStatusIdle = 1;  ///< nothing is under way; with the queue disabled: drained
inline constexpr std::uint32_t kStatusFetchFault = 2;  ///< a descriptor could not be read; nothing more is fetched
inline constexpr std::uint32_t kStatusCompletionFault = 4;  ///< a completion could not be written; nothing more is fetched
inline constexpr std::uint32_t kStatusQuarantined = 8;  ///< the watchdog has ended the queue's jobs; reset the engine
inline constexpr std::uint32_t kStatusAborting = 16;  ///< an abort is under way

/// bits of CTRL, as masks
inline constexpr std::uint32_t kEngineCtrlEnable = 1;  ///< queues fetch only while it is set
inline constexpr std::uint32_t kEngineCtrlReset = 2;  ///< write 1: abort all queues, wait for the bus, then clear pointers, faults, enables and window locks. Reads 1 until done
inline constexpr std::uint32_t kEngineCtrlIdle = 4;  ///< all queues are idle (read only)

/// bits of a queue's CTRL, as masks
inline constexpr std::uint32_t kQueueCtrlBitEnable = 1;  ///< setting it starts the pointers at zero; clearing it drains: what was fetched still runs to its end
inline constexpr std::uint32_t kQueueCtrlBitAbort = 2;  ///< write 1: cancel everything that was fetched, and disable

/// bits of a queue's CAUSE, as masks
inline constexpr std::uint32_t kIrqCauseCompletion = 1;  ///< completions were written, as MODERATION says
inline constexpr std::uint32_t kIrqCauseFault = 2;  ///< fetch or completion fault, see STATUS
inline constexpr std::uint32_t kIrqCauseQuarantine = 4;  ///< the watchdog has fired
inline constexpr std::uint32_t kIrqCauseDrained = 8;  ///< the queue was disabled and has become idle

/// Registers of the engine
inline constexpr std::uint32_t kRegCtrl = 0x000;
inline constexpr std::uint32_t kRegGie = 0x004;
inline constexpr std::uint32_t kRegIer = 0x008;
inline constexpr std::uint32_t kRegIsr = 0x00C;
inline constexpr std::uint32_t kRegId = 0x010;
inline constexpr std::uint32_t kRegVersion = 0x014;
inline constexpr std::uint32_t kRegCapabilities = 0x018;
inline constexpr std::uint32_t kRegLimits = 0x01C;
inline constexpr std::uint32_t kRegOperations = 0x020;
inline constexpr std::uint32_t kRegTimeout = 0x024;
inline constexpr std::uint32_t kRegRefused = 0x028;
inline constexpr std::uint32_t kRegCycles = 0x040;
inline constexpr std::uint32_t kRegWriteBeats = 0x048;
inline constexpr std::uint32_t kRegReadBeats = 0x050;
inline constexpr std::uint32_t kRegRingBeats = 0x058;
inline constexpr std::uint32_t kRegStallAw = 0x060;
inline constexpr std::uint32_t kRegStallW = 0x068;
inline constexpr std::uint32_t kRegStallAr = 0x070;
inline constexpr std::uint32_t kRegRefusals = 0x078;

/// Registers of counters of queue q, at 0x400 + q * 0x40
inline constexpr std::uint32_t kQueueCounterJobs = 0x000;
inline constexpr std::uint32_t kQueueCounterCancelled = 0x008;
inline constexpr std::uint32_t kQueueCounterFailed = 0x010;
inline constexpr std::uint32_t kQueueCounterBeats = 0x018;
inline constexpr std::uint32_t kQueueCounterSkippedBytes = 0x020;
inline constexpr std::uint32_t kQueueCounterStallRate = 0x028;
inline constexpr std::uint32_t kQueueCounterStallBus = 0x030;
inline constexpr std::uint32_t kQueueCounterStallRing = 0x038;

/// Registers of queue q, at 0x800 + q * 0x80
inline constexpr std::uint32_t kQueueCtrl = 0x000;
inline constexpr std::uint32_t kQueueStatus = 0x004;
inline constexpr std::uint32_t kQueueRingLog2 = 0x008;
inline constexpr std::uint32_t kQueueSqTail = 0x00C;
inline constexpr std::uint32_t kQueueSqBase = 0x010;
inline constexpr std::uint32_t kQueueCqBase = 0x018;
inline constexpr std::uint32_t kQueueWindowBase = 0x020;
inline constexpr std::uint32_t kQueueWindowLimit = 0x028;
inline constexpr std::uint32_t kQueueSqHead = 0x030;
inline constexpr std::uint32_t kQueueCqTail = 0x034;
inline constexpr std::uint32_t kQueueCqHead = 0x038;
inline constexpr std::uint32_t kQueueLock = 0x03C;
inline constexpr std::uint32_t kQueueCancelGeneration = 0x040;
inline constexpr std::uint32_t kQueueCancelSlot = 0x044;
inline constexpr std::uint32_t kQueueQos = 0x048;
inline constexpr std::uint32_t kQueueRate = 0x04C;
inline constexpr std::uint32_t kQueueModeration = 0x050;
inline constexpr std::uint32_t kQueueCause = 0x054;

struct alignas(64) Descriptor {
  std::uint64_t address = 0;  ///< I/O virtual address of the first byte, any alignment; of the extent list with flag List
  std::uint64_t length_bytes = 0;  ///< 1 to 2^40; 0 for Fence and Noop
  std::uint64_t pattern = 0;  ///< the byte at address a is byte (a mod 8) of it
  std::uint16_t slot = 0;  ///< names the job together with generation; below 2^SLOTS_LOG2
  std::uint8_t operation = 0;  ///< see Op
  std::uint8_t flags = 0;  ///< see DescriptorFlag
  std::uint32_t generation = 0;  ///< how often the slot has been used
  std::array<std::uint64_t, 4> reserved{};  ///< 0
};
static_assert(sizeof(Descriptor) == 64);
static_assert(offsetof(Descriptor, address) == 0);
static_assert(offsetof(Descriptor, length_bytes) == 8);
static_assert(offsetof(Descriptor, pattern) == 16);
static_assert(offsetof(Descriptor, slot) == 24);
static_assert(offsetof(Descriptor, operation) == 26);
static_assert(offsetof(Descriptor, flags) == 27);
static_assert(offsetof(Descriptor, generation) == 28);
static_assert(offsetof(Descriptor, reserved) == 32);

/// Two 64-bit words; the second holds the phase bit and is the one to wait for.
struct alignas(16) CompletionEntry {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  /// an exact prefix: acknowledged by the bus, for a verify read and equal
  [[nodiscard]] constexpr std::uint64_t bytes_zeroed() const { return low & ((1ULL << 48) - 1); }
  [[nodiscard]] constexpr std::uint16_t slot() const { return static_cast<std::uint16_t>(low >> 48); }
  [[nodiscard]] constexpr std::uint32_t generation() const { return static_cast<std::uint32_t>(high); }
  /// see Outcome
  [[nodiscard]] constexpr std::uint8_t outcome() const { return static_cast<std::uint8_t>(high >> 32); }
  /// see Cause
  [[nodiscard]] constexpr std::uint8_t cause() const { return static_cast<std::uint8_t>(high >> 40); }
  /// 1 on the first pass over the ring, flips on each pass; written with the rest in one beat
  [[nodiscard]] constexpr bool phase() const { return (high >> 63 & 1) != 0; }
};
static_assert(sizeof(CompletionEntry) == 16);

}  // namespace sluice::inline ring
