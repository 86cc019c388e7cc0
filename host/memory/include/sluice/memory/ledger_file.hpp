// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "sluice/base/ids.hpp"

namespace sluice::inline memory {

/// What a ledger says of memory. Of all other memory it says nothing: that is dirty, in the shared pool, and nobody
/// holds it.
enum class LedgerKind : std::uint8_t {
  Clean = 1,        ///< Free, and all zeros.
  Held = 2,         ///< By a VM.
  Quarantined = 3,  ///< An engine failed on it.
  Dirty = 4,        ///< Free, and in a dedicated pool.
};

/// A run of memory in one brick. Page numbers count small pages in the pool, bricks one after the other.
struct LedgerEntry {
  std::uint64_t page = 0;
  std::uint64_t pages = 0;
  LedgerKind kind = LedgerKind::Clean;
  VmId vm;                    ///< Held
  DedicatedPoolId pool = {};  ///< That it belongs to; unset: the shared pool.
  bool operator==(const LedgerEntry&) const = default;
};

/// The format of a ledger's file: a header, in its page the record of what moves, then the holders, one in each slot,
/// then the records. It is sparse, and all numbers are little endian.
struct LedgerFormat {
  static constexpr std::uint64_t kMagic = 0x524547444c434c53;  // "SLCLDGER"
  static constexpr std::uint64_t kVersion = 3;
  static constexpr std::uint64_t kMovingBegin = 2048;
  static constexpr std::uint64_t kHoldersBegin = 4096;
  static constexpr std::uint64_t kHolderBytes = 32;
  static constexpr std::uint64_t kMostHolders = 1ULL << 22;
  static constexpr std::uint64_t kRecordsBegin = kHoldersBegin + kMostHolders * kHolderBytes;
  static constexpr std::uint64_t kRecordBytes = 16;
  static constexpr std::uint64_t kMostRecords = 1ULL << 28;
  static constexpr std::uint64_t kFileLimit = kRecordsBegin + kMostRecords * kRecordBytes;
  /// The index of the record of what moves: behind all others.
  static constexpr std::uint32_t kMoving = kMostRecords;
};

struct LedgerHeader {
  std::uint64_t magic = LedgerFormat::kMagic;
  std::uint64_t version = LedgerFormat::kVersion;
  char boot_id[64] = {};  ///< Ends with a 0.
  std::uint64_t bricks = 0;
  std::uint64_t identity = 0;  ///< A hash of device, inode, length and unit of each brick.
  std::uint64_t check = 0;     ///< A hash of all above.

  [[nodiscard]] std::uint64_t sum() const;
};

/// Names who holds memory and in which pool it is, as the file has both. Slot 0 is not in the file: nobody, and the
/// shared pool.
using LedgerSlot = std::uint32_t;

/// What is in a slot: a VM with what it holds of the shared pool, a VM with what it holds of a dedicated pool, or a
/// dedicated pool with what is free in it. A record names it only after it was written, and it is not used again before
/// no record does.
struct LedgerHolder {
  std::uint64_t vm = 0;    ///< 0: none
  std::uint64_t pool = 0;  ///< 0: the shared pool
  /// With a VM and no pool: whether the VM reboots (1) or not (0). With both: the slot of the VM and no pool, since
  /// only there is it said. With a pool alone: 0.
  std::uint64_t word = 0;
  std::uint64_t check = 0;  ///< A hash of its slot and of all above but whether a VM reboots.

  [[nodiscard]] std::uint64_t sum(LedgerSlot slot) const;
};

/// A record: the first page in bits 0 to 35 and the slot in 36 to 57 of one word; pages in bits 0 to 35, the kind in 36
/// to 38, and a check of all above them in the other. The second word is 0 where there is no record.
struct LedgerRecord {
  std::uint64_t place = 0;
  std::uint64_t facts = 0;

  [[nodiscard]] static LedgerRecord of(std::uint32_t index, const LedgerEntry& entry, LedgerSlot slot);
  /// The same record of a run of another length.
  [[nodiscard]] LedgerRecord resized(std::uint32_t index, std::uint64_t pages) const;
  [[nodiscard]] bool intact(std::uint32_t index) const;
  [[nodiscard]] std::uint64_t page() const;
  [[nodiscard]] std::uint64_t pages() const;
  [[nodiscard]] std::uint64_t slot() const;
  /// 1 to 4 as LedgerKind; another one in no record that a ledger wrote.
  [[nodiscard]] unsigned kind() const;
};

/// A file that may be a ledger, from anywhere.
struct LedgerImage {
  std::uint64_t length = 0;  ///< bytes
  /// Fills `into` with what is at `offset`; false: that cannot be read. Called with ranges below `length` only.
  std::function<bool(std::uint64_t offset, std::span<std::byte> into)> read;
};

/// What can be believed of a file: all of it or nothing.
struct LedgerContent {
  std::vector<LedgerEntry> entries;  ///< By page, neighbours of one kind, VM and pool joined.
  std::set<VmId> rebooting;          ///< Of the VMs that hold something.
  std::string rejected;              ///< Why nothing is believed; empty: all is.
};

/// Reads a ledger for a pool of `pages` small pages, whose header must be this one. Whatever is in the file, each entry
/// lies inside the pool, has a kind and at least one page, overlaps no other one, has a VM exactly if it is held, and
/// has a dedicated pool if it is dirty. A VM reboots or does not, whatever pools it has memory of.
[[nodiscard]] LedgerContent read_ledger(const LedgerImage& image, const LedgerHeader& expected, std::uint64_t pages);

}  // namespace sluice::inline memory
