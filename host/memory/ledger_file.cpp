// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/ledger_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "lineage_book.hpp"

namespace sluice::inline memory {
namespace {

using Format = LedgerFormat;

constexpr int kPageNumberBits = 36;  // of a page's number, and of a number of pages
constexpr int kKindBits = 3;
constexpr std::uint64_t kPageMask = (1ULL << kPageNumberBits) - 1;
constexpr std::size_t kChunk = 4096;  // records that are read at a time

std::uint64_t with_check(std::uint32_t index, std::uint64_t place, std::uint64_t facts) {
  return facts | hash_of({index, place, facts}) << (kPageNumberBits + kKindBits);
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

  /// A crash while memory moves, as a whole run, leaves its own record as it was, or none: the record of what moves
  /// counts.
  [[nodiscard]] std::string read_moving() {
    LedgerRecord record;
    if (!image_.read(Format::kMovingBegin, std::as_writable_bytes(std::span(&record, 1)))) {
      return "it cannot be read to its end";
    }
    if (record.facts == 0) return {};
    if (std::string why = take(Format::kMoving, record); !why.empty()) return why;
    const LedgerEntry moving = entries_.back();
    entries_.pop_back();
    const auto same = std::find_if(entries_.begin(), entries_.end(), [&](const LedgerEntry& entry) {
      return entry.page == moving.page && entry.pages == moving.pages;
    });
    if (same == entries_.end()) {
      entries_.push_back(moving);
    } else {
      *same = moving;
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
      if (last.kind == entry.kind && last.vm == entry.vm && last.pool == entry.pool) {
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

  [[nodiscard]] LedgerContent content() && {
    std::set<VmId> rebooting;
    for (const LedgerEntry& entry : entries_) {
      if (entry.vm.is_set() && vms_.at(entry.vm).reboots) rebooting.insert(entry.vm);
    }
    return {std::move(entries_), std::move(rebooting), {}};
  }

 private:
  struct Vm {
    std::uint64_t slot = 0;
    bool reboots = false;
  };

  [[nodiscard]] std::string take(std::uint32_t index, const LedgerRecord& record) {
    if (record.facts == 0) return {};
    const std::string name = index == Format::kMoving ? "the record of what moves" : fmt::format("record {}", index);
    if (!record.intact(index)) return fmt::format("the checksum of {} is wrong", name);
    if (record.kind() < 1 || record.kind() > 4 || record.pages() == 0) {
      return fmt::format("{} describes no memory", name);
    }
    if (record.page() + record.pages() > pages_) {
      return fmt::format("{} describes pages {} to {}, and the pool has {}", name, record.page(),
                         record.page() + record.pages() - 1, pages_);
    }
    if (std::string why = read_holder(record.slot()); !why.empty()) return fmt::format("{} names {}", name, why);
    const LedgerHolder& holder = holders_.at(record.slot());
    const auto kind = static_cast<LedgerKind>(record.kind());
    if (kind == LedgerKind::Held && holder.vm == 0) {
      return fmt::format("{} describes memory of a VM that has no id", name);
    }
    if (kind != LedgerKind::Held && holder.vm != 0) {
      return fmt::format("{} describes memory of VM {} that it does not hold", name, holder.vm);
    }
    if (kind == LedgerKind::Dirty && holder.pool == 0) {
      return fmt::format("{} describes dirty memory of no pool", name);
    }
    entries_.push_back({record.page(), record.pages(), kind, VmId(holder.vm), DedicatedPoolId(holder.pool)});
    return {};
  }

  /// Into holders_. What is wrong with it; empty: nothing.
  [[nodiscard]] std::string read_holder(std::uint64_t slot) {
    if (holders_.contains(slot)) return {};
    const LedgerHolder holder = holder_in(slot);
    if (holder.vm == 0 && holder.pool == 0) return fmt::format("holder {}, and there is none", slot);
    if (holder.check != holder.sum(static_cast<LedgerSlot>(slot))) {
      return fmt::format("holder {}, whose checksum is wrong", slot);
    }
    if (holder.vm == 0 && holder.word != 0) return fmt::format("holder {}, a pool that reboots", slot);
    if (std::string why = holder.vm == 0 ? std::string() : read_vm(slot, holder); !why.empty()) return why;
    holders_[slot] = holder;
    return {};
  }

  [[nodiscard]] std::string read_vm(std::uint64_t slot, const LedgerHolder& vm) {
    if (vm.pool == 0) {
      if (vm.word > 1) return fmt::format("holder {}, which reboots {} times", slot, vm.word);
      const auto [known, is_new] = vms_.try_emplace(VmId(vm.vm), Vm{slot, vm.word == 1});
      if (is_new || known->second.slot == slot) return {};
      return fmt::format("holder {}, and holder {} is VM {} too", slot, known->second.slot, vm.vm);
    }
    const LedgerHolder alone = holder_in(vm.word);
    if (alone.vm == vm.vm && alone.pool == 0) return read_holder(vm.word);
    return fmt::format("holder {}, for which holder {} is not VM {}", slot, vm.word, vm.vm);
  }

  /// All 0: none.
  [[nodiscard]] LedgerHolder holder_in(std::uint64_t slot) const {
    LedgerHolder holder;
    const bool read =
        slot > 0 && slot < Format::kMostHolders &&
        image_.read(Format::kHoldersBegin + slot * Format::kHolderBytes, std::as_writable_bytes(std::span(&holder, 1)));
    return read ? holder : LedgerHolder();
  }

  const LedgerImage& image_;
  std::uint64_t pages_;
  std::vector<LedgerEntry> entries_;
  std::unordered_map<std::uint64_t, LedgerHolder> holders_{{0, {}}};  ///< By slot, those that were looked at.
  std::unordered_map<VmId, Vm> vms_;
};

}  // namespace

std::uint64_t LedgerHeader::sum() const {
  std::uint64_t words[sizeof(LedgerHeader) / 8];
  std::memcpy(words, this, sizeof(LedgerHeader));
  std::uint64_t sum = 0;
  for (std::size_t word = 0; word + 1 < std::size(words); ++word) sum = hash_of({sum, words[word]});
  return sum;
}

std::uint64_t LedgerHolder::sum(LedgerSlot slot) const {
  return hash_of({slot, vm, pool, vm != 0 && pool == 0 ? 0 : word});
}

LedgerRecord LedgerRecord::of(std::uint32_t index, const LedgerEntry& entry, LedgerSlot slot) {
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
unsigned LedgerRecord::kind() const { return facts >> kPageNumberBits & 7; }

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
  if (why.empty()) why = reader.read_moving();
  if (why.empty()) why = reader.join();
  if (!why.empty()) return {{}, {}, std::move(why)};
  return std::move(reader).content();
}

}  // namespace sluice::inline memory
