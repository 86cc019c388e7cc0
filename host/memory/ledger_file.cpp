// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/ledger_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "lineage_book.hpp"

namespace sluice::inline memory {
namespace {

using Format = LedgerFormat;

constexpr int kPageNumberBits = 36;  // of a page's number, and of a number of pages
constexpr std::uint64_t kPageMask = (1ULL << kPageNumberBits) - 1;
constexpr std::size_t kChunk = 4096;  // records that are read at a time

std::uint64_t with_check(std::uint32_t index, std::uint64_t place, std::uint64_t facts) {
  return facts | hash_of({index, place, facts}) << (kPageNumberBits + 2);
}

/// Why this header is not the expected one; empty: it is.
std::string check(const LedgerHeader& header, const LedgerHeader& expected) {
  if (header.magic != expected.magic) return "it is no ledger";
  if (header.version != expected.version) {
    return fmt::format("it has version {}, not {}", header.version, expected.version);
  }
  if (header.check != header.sum()) return "the checksum of its header is wrong";
  if (std::memcmp(header.boot_id, expected.boot_id, sizeof header.boot_id) != 0) {
    const std::string_view boot(header.boot_id, ::strnlen(header.boot_id, sizeof header.boot_id));
    const bool printable =
        std::all_of(boot.begin(), boot.end(), [](char letter) { return letter > 32 && letter < 127; });
    return fmt::format("it was written in boot {}, and this is boot {}", printable ? boot : "(unreadable)",
                       expected.boot_id);
  }
  if (header.bricks != expected.bricks || header.identity != expected.identity) {
    return fmt::format("it belongs to {} bricks with other files, inodes, lengths or units than the {} here",
                       header.bricks, expected.bricks);
  }
  return {};
}

class Reader {
 public:
  Reader(const LedgerImage& image, std::uint64_t pages) : image_(image), pages_(pages) {}

  [[nodiscard]] std::string read_records() {
    const std::uint64_t count = (image_.length - Format::kRecordsBegin) / Format::kRecordBytes;
    std::vector<LedgerRecord> records;
    for (std::uint64_t first = 0; first < count; first += kChunk) {
      records.resize(std::min<std::uint64_t>(kChunk, count - first));
      if (!image_.read(Format::kRecordsBegin + first * Format::kRecordBytes,
                       std::as_writable_bytes(std::span(records))))
        return "it cannot be read to its end";
      for (std::size_t at = 0; at < records.size(); ++at) {
        if (std::string why = take(static_cast<std::uint32_t>(first + at), records[at]); !why.empty()) return why;
      }
    }
    return {};
  }

  /// A crash while an extent is cut or joined leaves two records that say the same of some pages.
  [[nodiscard]] std::string join() {
    std::sort(entries_.begin(), entries_.end(),
              [](const LedgerEntry& a, const LedgerEntry& b) { return a.page < b.page; });
    std::vector<LedgerEntry> joined;
    for (const LedgerEntry& entry : entries_) {
      if (joined.empty() || joined.back().page + joined.back().pages < entry.page) {
        joined.push_back(entry);
        continue;
      }
      LedgerEntry& last = joined.back();
      const std::uint64_t end = last.page + last.pages;
      if (last.kind == entry.kind && last.vm == entry.vm) {
        last.pages = std::max(end, entry.page + entry.pages) - last.page;
      } else if (end == entry.page) {
        joined.push_back(entry);
      } else {
        return fmt::format("it says two things about page {}", entry.page);
      }
    }
    entries_ = std::move(joined);
    return {};
  }

  [[nodiscard]] LedgerContent content() && { return {std::move(entries_), std::move(rebooting_), {}}; }

 private:
  [[nodiscard]] std::string take(std::uint32_t index, const LedgerRecord& record) {
    if (record.facts == 0) return {};
    if (!record.intact(index)) return fmt::format("the checksum of record {} is wrong", index);
    if (record.kind() == 0 || record.pages() == 0) return fmt::format("record {} describes no memory", index);
    if (record.page() + record.pages() > pages_) {
      return fmt::format("record {} describes pages {} to {}, and the pool has {}", index, record.page(),
                         record.page() + record.pages() - 1, pages_);
    }
    const auto kind = static_cast<LedgerKind>(record.kind());
    VmId vm;
    if (kind == LedgerKind::Held) {
      vm = vm_in(record.slot());
      if (!vm.is_set()) return fmt::format("record {} describes memory of a VM that has no id", index);
      if (reboots(record.slot())) rebooting_.insert(vm);
    }
    entries_.push_back({record.page(), record.pages(), kind, vm});
    return {};
  }

  [[nodiscard]] VmId vm_in(std::uint64_t slot) const {
    std::uint64_t id = 0;
    if (slot >= Format::kMostVms) return {};
    const bool read =
        image_.read(Format::kVmsBegin + slot * Format::kVmBytes, std::as_writable_bytes(std::span(&id, 1)));
    return read ? VmId(id) : VmId();
  }

  [[nodiscard]] bool reboots(std::uint64_t slot) const {
    std::uint64_t word = 0;
    return image_.read(Format::kVmsBegin + slot * Format::kVmBytes + 8, std::as_writable_bytes(std::span(&word, 1))) &&
           word == 1;
  }

  const LedgerImage& image_;
  std::uint64_t pages_;
  std::vector<LedgerEntry> entries_;
  std::set<VmId> rebooting_;
};

}  // namespace

std::uint64_t LedgerHeader::sum() const {
  std::uint64_t words[sizeof(LedgerHeader) / 8];
  std::memcpy(words, this, sizeof(LedgerHeader));
  std::uint64_t sum = 0;
  for (std::size_t word = 0; word + 1 < std::size(words); ++word) sum = hash_of({sum, words[word]});
  return sum;
}

LedgerRecord LedgerRecord::of(std::uint32_t index, const LedgerEntry& entry, std::uint32_t slot) {
  const std::uint64_t place = entry.page | std::uint64_t{slot} << kPageNumberBits;
  return {place, with_check(index, place, entry.pages | static_cast<std::uint64_t>(entry.kind) << kPageNumberBits)};
}

LedgerRecord LedgerRecord::resized(std::uint32_t index, std::uint64_t pages) const {
  return {place, with_check(index, place, pages | std::uint64_t{kind()} << kPageNumberBits)};
}

bool LedgerRecord::intact(std::uint32_t index) const { return facts == resized(index, pages()).facts; }
std::uint64_t LedgerRecord::page() const { return place & kPageMask; }
std::uint64_t LedgerRecord::pages() const { return facts & kPageMask; }
std::uint64_t LedgerRecord::slot() const { return place >> kPageNumberBits; }
unsigned LedgerRecord::kind() const { return facts >> kPageNumberBits & 3; }

LedgerContent read_ledger(const LedgerImage& image, const LedgerHeader& expected, std::uint64_t pages) {
  if (image.length < Format::kRecordsBegin || image.length > Format::kFileLimit ||
      (image.length - Format::kRecordsBegin) % Format::kRecordBytes != 0) {
    return {{}, {}, fmt::format("it has {} bytes, which is not the size of a ledger", image.length)};
  }
  LedgerHeader header;
  if (!image.read(0, std::as_writable_bytes(std::span(&header, 1)))) return {{}, {}, "it cannot be read to its end"};
  std::string why = check(header, expected);
  Reader reader(image, pages);
  if (why.empty()) why = reader.read_records();
  if (why.empty()) why = reader.join();
  if (!why.empty()) return {{}, {}, std::move(why)};
  return std::move(reader).content();
}

}  // namespace sluice::inline memory
