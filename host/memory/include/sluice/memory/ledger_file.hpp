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

/// What a ledger says of memory. Of all other memory it says nothing: that is dirty, and nobody holds it.
enum class LedgerKind : std::uint8_t {
  Clean = 1,        ///< Free, and all zeros.
  Held = 2,         ///< By a VM.
  Quarantined = 3,  ///< An engine failed on it.
};

/// A run of memory in one brick. Page numbers count small pages in the pool, bricks one after the other.
struct LedgerEntry {
  std::uint64_t page = 0;
  std::uint64_t pages = 0;
  LedgerKind kind = LedgerKind::Clean;
  VmId vm;  ///< Held
  bool operator==(const LedgerEntry&) const = default;
};

/// The format of a ledger's file: a header, then for each slot a VM's id and, in a word of its own, whether it reboots
/// (1) or not (0), then the records. It is sparse, and all numbers are little endian.
struct LedgerFormat {
  static constexpr std::uint64_t kMagic = 0x524547444c434c53;  // "SLCLDGER"
  static constexpr std::uint64_t kVersion = 2;
  static constexpr std::uint64_t kVmsBegin = 4096;
  static constexpr std::uint64_t kVmBytes = 16;
  static constexpr std::uint64_t kMostVms = 1ULL << 24;
  static constexpr std::uint64_t kRecordsBegin = kVmsBegin + kMostVms * kVmBytes;
  static constexpr std::uint64_t kRecordBytes = 16;
  static constexpr std::uint64_t kMostRecords = 1ULL << 28;
  static constexpr std::uint64_t kFileLimit = kRecordsBegin + kMostRecords * kRecordBytes;
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

/// A record: the first page in bits 0 to 35 and the VM's slot in 36 to 59 of one word; pages in bits 0 to 35, the kind
/// in 36 and 37, and a check of all above them in the other. The second word is 0 where there is no record.
struct LedgerRecord {
  std::uint64_t place = 0;
  std::uint64_t facts = 0;

  [[nodiscard]] static LedgerRecord of(std::uint32_t index, const LedgerEntry& entry, std::uint32_t slot);
  /// The same record of a run of another length.
  [[nodiscard]] LedgerRecord resized(std::uint32_t index, std::uint64_t pages) const;
  [[nodiscard]] bool intact(std::uint32_t index) const;
  [[nodiscard]] std::uint64_t page() const;
  [[nodiscard]] std::uint64_t pages() const;
  [[nodiscard]] std::uint64_t slot() const;
  /// 1 to 3 as LedgerKind; 0 in no record that a ledger wrote.
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
  std::vector<LedgerEntry> entries;  ///< By page, neighbours of one kind and VM joined.
  std::set<VmId> rebooting;          ///< Of the VMs that hold something.
  std::string rejected;              ///< Why nothing is believed; empty: all is.
};

/// Reads a ledger for a pool of `pages` small pages, whose header must be this one. Whatever is in the file, each entry
/// lies inside the pool, has a kind and at least one page, overlaps no other one, and has a VM if it is held.
[[nodiscard]] LedgerContent read_ledger(const LedgerImage& image, const LedgerHeader& expected, std::uint64_t pages);

}  // namespace sluice::inline memory
