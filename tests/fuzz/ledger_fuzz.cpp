// SPDX-License-Identifier: Apache-2.0
// The file of a ledger. An input has 2 bytes of settings, the header, the ids of 8 VMs, then records: the file's long
// holes are left out. The settings can repair the checksums, so that what lies behind them is reached too.
#include <algorithm>
#include <array>
#include <cstring>

#include "fuzz/fuzz.hpp"
#include "sluice/base/enforce.hpp"
#include "sluice/memory/ledger_file.hpp"

namespace sluice::fuzz {
namespace {

using Format = LedgerFormat;

constexpr std::uint64_t kPages = 64;
constexpr std::size_t kVms = 8;
enum Setting : unsigned { RepairHeader = 1, RepairRecords = 2, RaggedLength = 4, CannotBeRead = 8 };

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
  std::array<std::uint64_t, kVms> vms{};
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
    copy(Format::kVmsBegin, std::as_bytes(std::span(vms)), offset, into);
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
  take(input, file.vms);
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
  for (const LedgerEntry& entry : content.entries) {
    const auto kind = static_cast<unsigned>(entry.kind);
    enforce(kind >= 1 && kind <= 3, "what is believed has a kind");
    enforce(entry.pages >= 1 && entry.page >= end, "what is believed does not overlap");
    end = entry.page + entry.pages;
    enforce(end <= kPages, "what is believed lies inside the pool");
    enforce((entry.kind == LedgerKind::Held) == entry.vm.is_set(), "what is held has a VM");
  }
}

}  // namespace sluice::fuzz
