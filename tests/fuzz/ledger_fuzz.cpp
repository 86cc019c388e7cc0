// SPDX-License-Identifier: Apache-2.0
// The file of a ledger. An input has 2 bytes of settings, the header, the record of what moves, 8 holders, then
// records: the file's long holes are left out. The settings can repair the checksums, so that what lies behind them is
// reached too.
#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "fuzz/fuzz.hpp"
#include "sluice/base/enforce.hpp"
#include "sluice/memory/ledger_file.hpp"

namespace sluice::fuzz {
namespace {

using Format = LedgerFormat;

constexpr std::uint64_t kPages = 64;
constexpr std::size_t kHolders = 8;
enum Setting : unsigned {
  RepairHeader = 1,
  RepairRecords = 2,
  RaggedLength = 4,
  CannotBeRead = 8,
  RepairHolders = 16,
};

LedgerHeader expected_header() {
  LedgerHeader header;
  std::strcpy(header.boot_id, "this-boot");
  header.bricks = 2;
  header.identity = 77;
  header.check = header.sum();
  return header;
}

struct File {
  unsigned settings = 0;
  LedgerHeader header;
  LedgerRecord moving;
  std::array<LedgerHolder, kHolders> holders{};
  std::vector<LedgerRecord> records;

  [[nodiscard]] std::uint64_t length() const {
    return Format::kRecordsBegin + records.size() * Format::kRecordBytes + ((settings & RaggedLength) != 0 ? 5 : 0);
  }
  /// As the file is: what is not in the input is 0.
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> into) const {
    if ((settings & CannotBeRead) != 0 && offset > 0) return false;
    enforce(offset + into.size() <= length(), "a ledger is read inside its file");
    std::fill(into.begin(), into.end(), std::byte{0});
    copy(0, std::as_bytes(std::span(&header, 1)), offset, into);
    copy(Format::kMovingBegin, std::as_bytes(std::span(&moving, 1)), offset, into);
    copy(Format::kHoldersBegin, std::as_bytes(std::span(holders)), offset, into);
    copy(Format::kRecordsBegin, std::as_bytes(std::span(records)), offset, into);
    return true;
  }

 private:
  static void copy(std::uint64_t at, std::span<const std::byte> part, std::uint64_t offset, std::span<std::byte> into) {
    const std::uint64_t begin = std::max(at, offset);
    const std::uint64_t end = std::min(at + part.size(), offset + into.size());
    if (begin < end) std::memcpy(into.data() + (begin - offset), part.data() + (begin - at), end - begin);
  }
};

template <class Value>
void take(std::span<const std::byte>& input, Value& value) {
  const std::size_t length = std::min(input.size(), sizeof value);
  if (length > 0) std::memcpy(&value, input.data(), length);
  input = input.subspan(length);
}

File file_of(std::span<const std::byte> input) {
  File file;
  std::uint16_t settings = 0;
  take(input, settings);
  file.settings = settings;
  take(input, file.header);
  if ((settings & RepairHeader) != 0) file.header = expected_header();
  take(input, file.moving);
  if ((settings & RepairRecords) != 0 && file.moving.facts != 0) {
    file.moving = file.moving.resized(Format::kMoving, file.moving.pages());
  }
  take(input, file.holders);
  for (std::size_t slot = 0; (settings & RepairHolders) != 0 && slot < kHolders; ++slot) {
    file.holders[slot].check = file.holders[slot].sum(static_cast<LedgerSlot>(slot));
  }
  while (input.size() >= Format::kRecordBytes) {
    LedgerRecord record;
    take(input, record);
    const auto index = static_cast<std::uint32_t>(file.records.size());
    if ((settings & RepairRecords) != 0 && record.facts != 0) record = record.resized(index, record.pages());
    file.records.push_back(record);
  }
  return file;
}

}  // namespace

void one(std::span<const std::byte> input) {
  const File file = file_of(input);
  const LedgerImage image{file.length(),
                          [&](std::uint64_t at, std::span<std::byte> into) { return file.read(at, into); }};
  const LedgerContent content = read_ledger(image, expected_header(), kPages);
  enforce(content.rejected.empty() || content.entries.empty(), "a file is believed as a whole or not at all");
  enforce(content.rejected.size() < 300, "a reason is short");
  std::uint64_t end = 0;
  std::set<VmId> holders;
  for (const LedgerEntry& entry : content.entries) {
    const auto kind = static_cast<unsigned>(entry.kind);
    enforce(kind >= 1 && kind <= 4, "what is believed has a kind");
    enforce(entry.pages >= 1 && entry.page >= end, "what is believed does not overlap");
    end = entry.page + entry.pages;
    enforce(end <= kPages, "what is believed lies inside the pool");
    enforce((entry.kind == LedgerKind::Held) == entry.vm.is_set(), "what is held has a VM");
    enforce(entry.kind != LedgerKind::Dirty || entry.pool.is_set(), "what is dirty has a pool");
    if (entry.kind == LedgerKind::Held) holders.insert(entry.vm);
  }
  for (const VmId vm : content.rebooting) enforce(holders.contains(vm), "whoever reboots holds something");
}

}  // namespace sluice::fuzz
