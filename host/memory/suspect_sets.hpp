// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "sluice/base/enforce.hpp"
#include "sluice/memory/lineage.hpp"

namespace sluice::inline memory {

/// Sets of VMs that must not get some memory, each kept once while a lineage has it. An unset id stands for all VMs.
class SuspectSets {
 public:
  SuspectSets() { entries_.push_back({{}, 1}); }

  [[nodiscard]] bool has(SuspectIndex index, VmId vm) const {
    const std::vector<VmId>& set = entries_[index].set;
    return std::binary_search(set.begin(), set.end(), vm);
  }
  [[nodiscard]] const std::vector<VmId>& operator[](SuspectIndex index) const { return entries_[index].set; }

  /// The set with this VM, or without it. It stays as long as a lineage has it, or until the next call.
  [[nodiscard]] SuspectIndex with(SuspectIndex index, VmId vm) {
    std::vector<VmId> set = entries_[index].set;
    const auto at = std::lower_bound(set.begin(), set.end(), vm);
    if (at == set.end() || *at != vm) set.insert(at, vm);
    return find_or_add(std::move(set));
  }
  [[nodiscard]] SuspectIndex without(SuspectIndex index, VmId vm) {
    std::vector<VmId> set = entries_[index].set;
    std::erase(set, vm);
    return find_or_add(std::move(set));
  }

  void lineage_added(SuspectIndex index) { ++entries_[index].lineages; }
  void lineage_removed(SuspectIndex index) {
    if (--entries_[index].lineages > 0) return;
    by_value_.erase(entries_[index].set);
    entries_[index].set.clear();
    free_.push_back(index);
  }

 private:
  struct Entry {
    std::vector<VmId> set;
    std::uint64_t lineages = 0;
  };

  SuspectIndex find_or_add(std::vector<VmId> set) {
    if (set.empty()) return 0;
    if (const auto found = by_value_.find(set); found != by_value_.end()) return found->second;
    if (free_.empty()) {
      free_.push_back(static_cast<SuspectIndex>(entries_.size()));
      entries_.emplace_back();
    }
    const SuspectIndex index = free_.back();
    free_.pop_back();
    entries_[index] = {set, 0};
    by_value_.emplace(std::move(set), index);
    return index;
  }

  std::vector<Entry> entries_;  ///< The first is empty and stays.
  std::vector<SuspectIndex> free_;
  std::map<std::vector<VmId>, SuspectIndex> by_value_;
};

}  // namespace sluice::inline memory
