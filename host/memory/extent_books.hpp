// SPDX-License-Identifier: Apache-2.0
// What ExtentTable keeps: extents, their lineages, and who finds them how.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "clean_bins.hpp"
#include "lineage_book.hpp"
#include "place_index.hpp"
#include "sluice/memory/extent_table.hpp"
#include "suspect_sets.hpp"

namespace sluice::inline memory {

inline constexpr int kPageBits = 12;
inline constexpr std::uint64_t kPageMask = (1ULL << 36) - 1;
inline constexpr std::uint64_t kLineageMask = (1ULL << 28) - 1;

struct DomainHash {
  std::size_t operator()(const Domain& domain) const {
    return hash_of({static_cast<std::uint64_t>(domain.kind), domain.id, domain.epoch});
  }
};

/// By a time, then by lineage.
using ByTime = std::set<std::pair<std::uint64_t, LineageIndex>>;

/// What a pool has in one zone that is suspect for the same VMs.
struct Shelf {
  Shelf(ExtentSlab& slab, SuspectIndex suspect_for) : suspect(suspect_for), clean(slab) {}
  SuspectIndex suspect;
  CleanBins clean;
  ByteCount clean_bytes;
  ByteCount scrubbing_bytes;
  ByteCount free_bytes;
  ByteCount coming_back;             ///< Cancelling
  ByTime dirty_by_age;               ///< Lineages by the release of their first Dirty extent.
  std::set<LineageIndex> scrubbing;  ///< Lineages with free Scrubbing extents.

  [[nodiscard]] bool is_empty() const {
    return free_bytes == ByteCount(0) && coming_back == ByteCount(0) && dirty_by_age.empty() && scrubbing.empty();
  }
};

struct PoolBook {
  /// By zone; in each the one of what is suspect for nobody comes first.
  std::vector<std::vector<std::unique_ptr<Shelf>>> shelves;
  ByteCount all;
  std::size_t lineages = 0;  ///< Of its extents.
};

struct ExtentTable::Books {
  std::vector<Brick> bricks;
  std::vector<std::uint64_t> brick_page;                               // the first of each
  std::vector<std::uint32_t> brick_zone;                               // of each
  std::vector<std::pair<const std::byte*, std::uint32_t>> by_address;  // where a brick begins, and which it is
  std::vector<Zone> zones;
  Ledger* ledger = nullptr;
  ExtentSlab slab;
  PlaceIndex places;
  LineageBook lineages;
  SuspectSets suspects;
  std::unordered_map<DedicatedPoolId, PoolBook> pools;
  std::unordered_map<Domain, std::set<LineageIndex>, DomainHash> domains;
  ByTime due;  // in the background
  std::array<ByteCount, kExtentStates> bytes{};
  ByteCount total;
  std::uint64_t last_stamp = 0;

  [[nodiscard]] std::uint32_t brick_of(std::uint64_t page) const {
    const auto after = std::upper_bound(brick_page.begin(), brick_page.end(), page);
    return static_cast<std::uint32_t>(after - brick_page.begin()) - 1;
  }
  [[nodiscard]] Shelf& shelf(const Lineage& lineage) {
    auto& shelves = pools[lineage.pool].shelves;
    if (shelves.size() < zones.size()) shelves.resize(zones.size());
    auto& here = shelves[lineage.zone];
    for (const auto& shelf : here) {
      if (shelf->suspect == lineage.suspect) return *shelf;
    }
    const auto place = lineage.suspect == 0 ? here.begin() : here.end();
    return **here.insert(place, std::make_unique<Shelf>(slab, lineage.suspect));
  }
  /// All shelves of a pool in a zone.
  [[nodiscard]] std::span<const std::unique_ptr<Shelf>> shelves(DedicatedPoolId pool, std::uint32_t zone) const {
    const auto found = pools.find(pool);
    if (found == pools.end() || zone >= found->second.shelves.size()) return {};
    return found->second.shelves[zone];
  }
  [[nodiscard]] bool is_suspect(SuspectIndex suspect, VmId vm) const {
    return suspect != 0 && (suspects.has(suspect, VmId()) || suspects.has(suspect, vm));
  }
  /// The first answer other than nullptr of a shelf whose memory the VM may get.
  template <class Find>
  [[nodiscard]] Extent* find_on_shelves(DedicatedPoolId pool, std::uint32_t zone, VmId vm, Find find) const {
    for (const auto& shelf : shelves(pool, zone)) {
      if (is_suspect(shelf->suspect, vm)) continue;
      if (Extent* const found = find(*shelf)) return found;
    }
    return nullptr;
  }
  /// Of the shelves whose memory the VM may get. bytes
  template <class Sum>
  [[nodiscard]] ByteCount sum_of_shelves(DedicatedPoolId pool, std::uint32_t zone, VmId vm, Sum sum) const {
    ByteCount all;
    for (const auto& shelf : shelves(pool, zone)) {
      if (!is_suspect(shelf->suspect, vm)) all += sum(*shelf);
    }
    return all;
  }

  /// An extent has this lineage now, and so belongs to its pool.
  void add_extents(LineageIndex index, ByteCount length) {
    LineageEntry& entry = lineages[index];
    pools[entry.lineage.pool].all += length;
    if (entry.extents++ == 0) {
      ++pools[entry.lineage.pool].lineages;
      enter(Domain::member(entry.lineage.pool), index);
      suspects.lineage_added(entry.lineage.suspect);
      for (const VmId vm : suspects[entry.lineage.suspect]) enter(Domain::suspect(vm), index);
    }
  }
  void drop_extents(LineageIndex index, ByteCount length) {
    const Lineage lineage = lineages[index].lineage;
    PoolBook& pool = pools.at(lineage.pool);
    pool.all -= length;
    if (--lineages[index].extents > 0) return;
    leave(Domain::member(lineage.pool), index);
    for (const VmId vm : suspects[lineage.suspect]) leave(Domain::suspect(vm), index);
    drop_shelf(lineage);
    suspects.lineage_removed(lineage.suspect);
    lineages.remove(index);
    if (--pool.lineages == 0) pools.erase(lineage.pool);
  }

  /// A shelf for what is suspect ends with the last lineage there.
  void drop_shelf(const Lineage& lineage) {
    if (lineage.suspect == 0) return;
    auto& here = pools.at(lineage.pool).shelves;
    if (lineage.zone >= here.size()) return;
    std::erase_if(here[lineage.zone],
                  [&](const auto& shelf) { return shelf->suspect == lineage.suspect && shelf->is_empty(); });
  }

  void enter(const Domain& domain, LineageIndex lineage) {
    if (domain.id != 0) domains[domain].insert(lineage);
  }
  /// Leaves no empty set behind: identifiers are never used again.
  void leave(const Domain& domain, LineageIndex lineage) {
    if (domain.id == 0) return;
    const auto found = domains.find(domain);
    found->second.erase(lineage);
    if (found->second.empty()) domains.erase(found);
  }

  /// What follows when one of a lineage's lists has become empty, or is not empty any more.
  void list_changed(LineageIndex index, ExtentState state, bool filled) {
    const LineageEntry& entry = lineages[index];
    const auto change = [&](const Domain& domain) { filled ? enter(domain, index) : leave(domain, index); };
    if (state == ExtentState::Owned || state == ExtentState::Reserved) {
      const auto other = state == ExtentState::Owned ? ExtentState::Reserved : ExtentState::Owned;
      if (entry.list(other).empty()) change(Domain::holder(entry.lineage.owner.vm));
    }
    if (state == ExtentState::Reserved && entry.lineage.lent) {
      change(Domain::lent(entry.lineage.owner.group));
      change(Domain::larger_lent(entry.lineage.owner.larger_group));
    }
    if (state != ExtentState::Dirty && state != ExtentState::Scrubbing) return;
    if (state == ExtentState::Scrubbing) {
      auto& scrubbing = shelf(entry.lineage).scrubbing;
      filled ? static_cast<void>(scrubbing.insert(index)) : static_cast<void>(scrubbing.erase(index));
    }
    const auto other = state == ExtentState::Dirty ? ExtentState::Scrubbing : ExtentState::Dirty;
    if (!entry.list(other).empty()) return;
    const Owner& owner = entry.lineage.owner;
    change(Domain::vm(owner.vm));
    change(Domain::owner_pool(owner.pool));
    change(Domain::group(owner.group));
    change(Domain::larger_group(owner.larger_group));
  }

  [[nodiscard]] static std::uint64_t due_time(const Lineage& lineage, std::uint64_t released) {
    constexpr auto kLast = static_cast<std::uint64_t>(std::chrono::nanoseconds::max().count());
    return std::min(released, kLast) > kLast - static_cast<std::uint64_t>(lineage.delay.count())
               ? kLast
               : released + static_cast<std::uint64_t>(lineage.delay.count());
  }
  /// The books by age follow the first Dirty extent of a lineage.
  void follow_oldest(LineageIndex index) {
    LineageEntry& entry = lineages[index];
    const Extent* const first = slab.at(entry.list(ExtentState::Dirty).first);
    const std::uint64_t oldest = first == nullptr ? 0 : first->value_;
    if (entry.oldest == oldest) return;
    const Lineage& lineage = entry.lineage;
    ByTime& by_age = shelf(lineage).dirty_by_age;
    const bool waits_for_its_vm = lineage.pool.is_set() && lineage.owner.vm.is_set() && !lineage.owner.left;
    const bool background = !waits_for_its_vm && lineage.delay != kOnlyForClaims;
    if (entry.oldest != 0) {
      by_age.erase({entry.oldest, index});
      if (background) due.erase({due_time(lineage, entry.oldest), index});
    }
    if (oldest != 0) {
      by_age.emplace(oldest, index);
      if (background) due.emplace(due_time(lineage, oldest), index);
    }
    entry.oldest = oldest;
  }
};

}  // namespace sluice::inline memory
