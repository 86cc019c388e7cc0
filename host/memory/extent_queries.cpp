// SPDX-License-Identifier: Apache-2.0
// What can be found in the table, and how much of it there is.
#include "extent_books.hpp"

namespace sluice::inline memory {

std::optional<LineageIndex> ExtentTable::next_lineage(const Domain& domain, std::optional<LineageIndex> after) const {
  const auto found = books_->domains.find(domain);
  if (found == books_->domains.end()) return std::nullopt;
  const auto next = after ? found->second.upper_bound(*after) : found->second.begin();
  return next == found->second.end() ? std::nullopt : std::optional(*next);
}

Extent* ExtentTable::first(LineageIndex lineage, ExtentState state) const {
  return books_->slab.at(books_->lineages[lineage].list(state).first);
}
Extent* ExtentTable::next(const Extent& extent) const { return books_->slab.next(extent); }
ByteCount ExtentTable::reserved(LineageIndex lineage) const { return books_->lineages[lineage].reserved; }

Extent* ExtentTable::fitting_clean(DedicatedPoolId pool, std::uint32_t zone, VmId vm, ByteCount length) const {
  return books_->find_on_shelves(pool, zone, vm,
                                 [&](Shelf& shelf) { return shelf.clean.fitting(length.value() >> kPageBits); });
}
Extent* ExtentTable::longest_clean(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const {
  return books_->find_on_shelves(pool, zone, vm, [](Shelf& shelf) { return shelf.clean.longest(); });
}
Extent* ExtentTable::oldest_dirty(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const {
  return books_->find_on_shelves(pool, zone, vm, [&](const Shelf& shelf) -> Extent* {
    if (shelf.dirty_by_age.empty()) return nullptr;
    return first(shelf.dirty_by_age.begin()->second, ExtentState::Dirty);
  });
}
Extent* ExtentTable::any_scrubbing(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const {
  return books_->find_on_shelves(pool, zone, vm, [&](const Shelf& shelf) -> Extent* {
    return shelf.scrubbing.empty() ? nullptr : first(*shelf.scrubbing.begin(), ExtentState::Scrubbing);
  });
}

std::vector<Extent*> ExtentTable::all_of(const Domain& domain) const {
  std::vector<Extent*> all;
  const auto found = books_->domains.find(domain);
  if (found == books_->domains.end()) return all;
  for (Extent* extent = first_place(); extent != nullptr; extent = next_place(*extent)) {
    if (found->second.contains(extent->lineage_)) all.push_back(extent);
  }
  return all;
}

std::optional<ExtentTable::Due> ExtentTable::next_due() const {
  if (books_->due.empty()) return std::nullopt;
  const auto [time, index] = *books_->due.begin();
  const bool at_once = lineage(index).delay.count() == 0;
  return Due{first(index, ExtentState::Dirty), std::chrono::nanoseconds(at_once ? 0 : static_cast<std::int64_t>(time))};
}

Extent* ExtentTable::find(const std::byte* address) const {
  const auto after = std::upper_bound(books_->by_address.begin(), books_->by_address.end(), address,
                                      [](const std::byte* at, const auto& brick) { return at < brick.first; });
  if (after == books_->by_address.begin()) return nullptr;
  const auto [base, number] = *std::prev(after);
  const auto offset = static_cast<std::uint64_t>(address - base);
  if (offset >= books_->bricks[number].memory.size()) return nullptr;
  return books_->slab.at(books_->places.at_or_before(books_->brick_page[number] + (offset >> kPageBits)));
}

Extent* ExtentTable::first_place() const { return books_->slab.at(books_->places.at_or_before(0)); }
Extent* ExtentTable::next_place(const Extent& extent) const {
  return books_->slab.at(books_->places.after(extent.page_));
}

ByteCount ExtentTable::bytes(ExtentState state) const { return books_->bytes[static_cast<std::size_t>(state)]; }
ByteCount ExtentTable::free_bytes(DedicatedPoolId pool) const {
  ByteCount free;
  for (std::uint32_t zone = 0; zone < books_->zones.size(); ++zone) {
    for (const auto& shelf : books_->shelves(pool, zone)) free += shelf->free_bytes;
  }
  return free;
}
ByteCount ExtentTable::free_bytes(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const {
  return books_->sum_of_shelves(pool, zone, vm, [](const Shelf& shelf) { return shelf.free_bytes; });
}
ByteCount ExtentTable::clean_bytes(DedicatedPoolId pool, std::uint32_t zone) const {
  ByteCount clean;
  for (const auto& shelf : books_->shelves(pool, zone)) clean += shelf->clean_bytes;
  return clean;
}
ByteCount ExtentTable::idle_bytes(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const {
  return books_->sum_of_shelves(pool, zone, vm,
                                [](const Shelf& shelf) { return shelf.free_bytes - shelf.scrubbing_bytes; });
}
std::vector<std::pair<SuspectIndex, ByteCount>> ExtentTable::coming_back(DedicatedPoolId pool,
                                                                         std::uint32_t zone) const {
  std::vector<std::pair<SuspectIndex, ByteCount>> coming;
  for (const auto& shelf : books_->shelves(pool, zone)) coming.emplace_back(shelf->suspect, shelf->coming_back);
  return coming;
}
ByteCount ExtentTable::bytes_in(DedicatedPoolId pool) const {
  const auto found = books_->pools.find(pool);
  return found == books_->pools.end() ? ByteCount(0) : found->second.all;
}
ByteCount ExtentTable::total() const { return books_->total; }
std::size_t ExtentTable::count() const { return books_->slab.count(); }
std::span<const Brick> ExtentTable::bricks() const { return books_->bricks; }
std::span<const Zone> ExtentTable::zones() const { return books_->zones; }

}  // namespace sluice::inline memory
