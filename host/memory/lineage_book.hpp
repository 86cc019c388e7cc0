// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <unordered_set>
#include <vector>

#include "extent_slab.hpp"
#include "sluice/memory/ledger_file.hpp"
#include "sluice/memory/lineage.hpp"

namespace sluice::inline memory {

/// A lineage, and the extents that have it.
struct LineageEntry {
  Lineage lineage;
  std::uint64_t extents = 0;                      ///< That have it; 0: the entry is free.
  std::array<ExtentList, kExtentStates> lists{};  ///< Not claimed, by state; none that are Clean.
  ByteCount reserved;                             ///< In the list of Reserved ones.
  std::uint64_t oldest =
      0;  ///< When the first Dirty one was released, as the books by age have it; 0: it is not there.
  /// How the ledger names its VM and its pool, and its pool alone, since somebody has asked.
  std::optional<LedgerSlot> held_slot;
  std::optional<LedgerSlot> free_slot;

  [[nodiscard]] ExtentList& list(ExtentState state) { return lists[static_cast<std::size_t>(state)]; }
  [[nodiscard]] const ExtentList& list(ExtentState state) const { return lists[static_cast<std::size_t>(state)]; }
};

/// A good mix of words.
[[nodiscard]] inline std::size_t hash_of(std::initializer_list<std::uint64_t> words) {
  std::uint64_t hash = 0;
  for (const std::uint64_t word : words) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 32;
  }
  return hash;
}

/// Each lineage that an extent has, once.
class LineageBook {
 public:
  [[nodiscard]] LineageEntry& operator[](LineageIndex index) { return entries_[index]; }
  [[nodiscard]] const LineageEntry& operator[](LineageIndex index) const { return entries_[index]; }

  /// The entry of a lineage; a new one if there is none.
  [[nodiscard]] LineageIndex find_or_add(const Lineage& lineage) {
    if (const auto found = by_value_.find(lineage); found != by_value_.end()) return *found;
    if (free_.empty()) {
      enforce(entries_.size() < 1ULL << 28, "there are at most 2^28 lineages");
      free_.push_back(static_cast<LineageIndex>(entries_.size()));
      entries_.emplace_back();
    }
    const LineageIndex index = free_.back();
    free_.pop_back();
    entries_[index] = LineageEntry{lineage};
    by_value_.insert(index);
    return index;
  }
  void remove(LineageIndex index) {
    by_value_.erase(index);
    free_.push_back(index);
  }

 private:
  struct Hash {
    using is_transparent = void;
    const std::vector<LineageEntry>* entries;
    std::size_t operator()(const Lineage& lineage) const {
      const Owner& owner = lineage.owner;
      return hash_of({owner.vm.value(), owner.pool.value(), owner.customer.value(), owner.group.id.value(),
                      owner.group.epoch, owner.larger_group.id.value(), owner.larger_group.epoch, lineage.pool.value(),
                      lineage.zone, lineage.fill.pattern, lineage.fill.random ? 1U : 0U,
                      static_cast<std::uint64_t>(lineage.delay.count()), owner.boot, owner.since, lineage.suspect,
                      (lineage.lent ? 1U : 0U) | (owner.left ? 2U : 0U)});
    }
    std::size_t operator()(LineageIndex index) const { return (*this)((*entries)[index].lineage); }
  };
  struct Equal {
    using is_transparent = void;
    const std::vector<LineageEntry>* entries;
    bool operator()(LineageIndex a, LineageIndex b) const { return a == b; }
    bool operator()(const Lineage& a, LineageIndex b) const { return a == (*entries)[b].lineage; }
    bool operator()(LineageIndex a, const Lineage& b) const { return (*entries)[a].lineage == b; }
  };

  std::vector<LineageEntry> entries_;
  std::vector<LineageIndex> free_;
  std::unordered_set<LineageIndex, Hash, Equal> by_value_{16, Hash{&entries_}, Equal{&entries_}};
};

}  // namespace sluice::inline memory
