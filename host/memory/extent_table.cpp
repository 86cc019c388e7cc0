// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/extent_table.hpp"

#include <algorithm>

#include "extent_books.hpp"

namespace sluice::inline memory {
namespace {

bool is_free_state(ExtentState state) {
  return state == ExtentState::Clean || state == ExtentState::Dirty || state == ExtentState::Scrubbing;
}

}  // namespace

ExtentTable::ExtentTable(std::span<const Brick> bricks, Ledger* ledger) : books_(std::make_unique<Books>()) {
  books_->ledger = ledger;
  books_->bricks.assign(bricks.begin(), bricks.end());
  std::uint64_t page = 0;
  for (std::uint32_t number = 0; number < bricks.size(); ++number) {
    const Brick& brick = bricks[number];
    enforce(!brick.memory.empty() && brick.memory.size() % page_length(brick.pages).value() == 0,
            "a brick is made of whole pages");
    const auto like_it = [&](const Zone& zone) {
      return zone.node == brick.node && zone.pages == brick.pages && zone.unit == unit_of(brick);
    };
    const auto found = std::find_if(books_->zones.begin(), books_->zones.end(), like_it);
    const auto zone = static_cast<std::uint32_t>(found - books_->zones.begin());
    if (found == books_->zones.end()) books_->zones.push_back({brick.node, brick.pages, unit_of(brick), {}});
    books_->zones[zone].total += length_of(brick.memory);
    books_->brick_page.push_back(page);
    books_->brick_zone.push_back(zone);
    books_->by_address.emplace_back(brick.memory.data(), number);
    page += brick.memory.size() >> kPageBits;
  }
  std::sort(books_->by_address.begin(), books_->by_address.end());
  enforce(page < 1ULL << 36, "a pool has less than 2^36 pages");
  books_->total = ByteCount(page << kPageBits);
  // Brick by brick what the ledger has found, and what is dirty between.
  const std::span<const LedgerEntry> found = ledger == nullptr ? std::span<const LedgerEntry>() : ledger->found();
  auto run = found.begin();
  for (std::uint32_t number = 0; number < bricks.size(); ++number) {
    std::uint64_t at = books_->brick_page[number];
    const std::uint64_t end = at + (bricks[number].memory.size() >> kPageBits);
    while (at < end) {
      const bool inside = run != found.end() && run->page <= at;
      LedgerEntry next = inside ? *run : LedgerEntry{at, end - at, LedgerKind{}, {}, {}};
      if (!inside && run != found.end()) next.pages = std::min(next.pages, run->page - at);
      const std::uint64_t run_end = std::min(end, next.page + next.pages);
      add({at, run_end - at, next.kind, next.vm, next.pool});
      at = run_end;
      if (inside && run->page + run->pages == at) ++run;
    }
  }
}

ExtentTable::~ExtentTable() = default;

MemorySpan ExtentTable::memory(const Extent& extent) const {
  const std::uint32_t number = books_->brick_of(extent.page_);
  return books_->bricks[number].memory.subspan((extent.page_ - books_->brick_page[number]) << kPageBits,
                                               extent.pages_ << kPageBits);
}

const Brick& ExtentTable::brick(const Extent& extent) const { return books_->bricks[books_->brick_of(extent.page_)]; }
const Lineage& ExtentTable::lineage(const Extent& extent) const { return books_->lineages[extent.lineage_].lineage; }
const Lineage& ExtentTable::lineage(LineageIndex index) const { return books_->lineages[index].lineage; }

VmId ExtentTable::holder(const Extent& extent) const {
  const bool held = extent.state() == ExtentState::Owned || extent.state() == ExtentState::Reserved;
  return held ? owner(extent).vm : VmId();
}

void ExtentTable::step(Extent& extent, ExtentEvent event) {
  const std::optional<ExtentState> next = next_state(extent.state(), event);
  enforce(next.has_value(), "an extent changes its state only as next_state() allows");
  extent.state_ = static_cast<std::uint64_t>(*next) & 7;
}

/// Enters an extent into the books, as the last of its list.
void ExtentTable::attach(Extent& extent) {
  const ExtentState state = extent.state();
  LineageEntry& entry = books_->lineages[extent.lineage_];
  books_->bytes[static_cast<std::size_t>(state)] += extent.length();
  if (extent.is_claimed()) return;
  if (state == ExtentState::Reserved) entry.reserved += extent.length();
  Shelf& shelf = books_->shelf(entry.lineage);
  if (is_free_state(state)) shelf.free_bytes += extent.length();
  if (state == ExtentState::Cancelling) shelf.coming_back += extent.length();
  if (state == ExtentState::Scrubbing) shelf.scrubbing_bytes += extent.length();
  if (state == ExtentState::Clean) {
    shelf.clean_bytes += extent.length();
    shelf.clean.add(extent);
    return;
  }
  ExtentList& list = entry.list(state);
  const bool was_empty = list.empty();
  if (state == ExtentState::Dirty) {
    insert_by_age(entry, extent);
  } else {
    books_->slab.push_back(list, extent);
  }
  if (was_empty) books_->list_changed(extent.lineage_, state, true);
  if (state == ExtentState::Dirty) books_->follow_oldest(extent.lineage_);
}

/// What waits again after a claim or a scrub was given up keeps its turn. It was among the oldest when it was taken,
/// and what is released now is the youngest: so the place is looked for from both ends.
void ExtentTable::insert_by_age(LineageEntry& entry, Extent& extent) {
  ExtentList& list = entry.list(ExtentState::Dirty);
  ExtentSlab& slab = books_->slab;
  Extent* older = slab.at(list.last);
  Extent* younger = slab.at(list.first);
  while (older != nullptr && younger != nullptr && older->value_ > extent.value_ && younger->value_ <= extent.value_) {
    older = slab.previous(*older);
    younger = slab.next(*younger);
  }
  if (older == nullptr) {
    slab.push_front(list, extent);
  } else if (older->value_ <= extent.value_) {
    slab.insert_after(list, *older, extent);
  } else if (Extent* const before = slab.previous(*younger); before != nullptr) {
    slab.insert_after(list, *before, extent);
  } else {
    slab.push_front(list, extent);
  }
}

void ExtentTable::detach(Extent& extent) {
  const ExtentState state = extent.state();
  LineageEntry& entry = books_->lineages[extent.lineage_];
  books_->bytes[static_cast<std::size_t>(state)] -= extent.length();
  if (extent.is_claimed()) return;
  if (state == ExtentState::Reserved) entry.reserved -= extent.length();
  Shelf& shelf = books_->shelf(entry.lineage);
  if (is_free_state(state)) shelf.free_bytes -= extent.length();
  if (state == ExtentState::Cancelling) shelf.coming_back -= extent.length();
  if (state == ExtentState::Scrubbing) shelf.scrubbing_bytes -= extent.length();
  if (state == ExtentState::Clean) {
    shelf.clean_bytes -= extent.length();
    shelf.clean.remove(extent);
    return;
  }
  ExtentList& list = entry.list(state);
  books_->slab.unlink(list, extent);
  if (list.empty()) books_->list_changed(extent.lineage_, state, false);
  if (state == ExtentState::Dirty) books_->follow_oldest(extent.lineage_);
}

/// Of an extent that is not in the books now.
void ExtentTable::change_lineage(Extent& extent, const Lineage& lineage) {
  const LineageIndex old = extent.lineage_;
  if (books_->lineages[old].lineage == lineage) return;
  const LineageIndex index = books_->lineages.find_or_add(lineage);
  books_->add_extents(index, extent.length());
  extent.lineage_ = index & kLineageMask;
  books_->drop_extents(old, extent.length());
}

/// It leaves the books and enters them with the lineage as `change` makes it.
template <class Change>
void ExtentTable::rebook(Extent& extent, Change change) {
  detach(extent);
  Lineage changed = lineage(extent);
  change(changed);
  change_lineage(extent, changed);
  attach(extent);
}

void ExtentTable::grant(Extent& extent, const Owner& owner) {
  detach(extent);
  step(extent, ExtentEvent::Grant);
  const Lineage& now = lineage(extent);
  change_lineage(extent, {owner, now.pool, now.zone, now.suspect, false, {}, {}});
  extent.claimed_ = 0;
  attach(extent);
  record(extent);
}

void ExtentTable::reserve(Extent& extent, bool lent) {
  rebook(extent, [&](Lineage& now) {
    step(extent, ExtentEvent::Reserve);
    now.lent = lent;
  });
}

void ExtentTable::lend(Extent& extent, bool lent) {
  enforce(extent.state() == ExtentState::Reserved, "only reserved memory is lent");
  rebook(extent, [&](Lineage& now) { now.lent = lent; });
}

void ExtentTable::release(Extent& extent, Fill fill, std::chrono::nanoseconds delay, std::chrono::nanoseconds now) {
  detach(extent);
  step(extent, ExtentEvent::Release);
  const Lineage& held = lineage(extent);
  change_lineage(extent, {held.owner, held.pool, held.zone, held.suspect, false, fill, delay});
  // No two are released at the same time.
  books_->last_stamp =
      std::max(books_->last_stamp + 1, static_cast<std::uint64_t>(std::max(now.count(), std::int64_t{0})));
  extent.value_ = books_->last_stamp;
  attach(extent);
  record(extent);
}

void ExtentTable::start_scrub(Extent& extent) {
  detach(extent);
  if (extent.state() == ExtentState::Clean) extent.value_ = ++books_->last_stamp;
  step(extent, ExtentEvent::StartScrub);
  attach(extent);
  record(extent);
}

void ExtentTable::request_cancel(Extent& extent) {
  detach(extent);
  step(extent, ExtentEvent::RequestCancel);
  attach(extent);
}

void ExtentTable::scrub_zeroed(Extent& extent, std::uint64_t pattern) {
  detach(extent);
  step(extent, ExtentEvent::ScrubZeroed);
  const Lineage& before = lineage(extent);
  change_lineage(extent, {{}, before.pool, before.zone, before.suspect, false, {}, {}});
  extent.value_ = pattern;
  attach(extent);
  record(extent);
}

void ExtentTable::scrub_cancelled(Extent& extent) {
  detach(extent);
  step(extent, ExtentEvent::ScrubCancelled);
  attach(extent);
}

void ExtentTable::scrub_failed(Extent& extent) {
  detach(extent);
  step(extent, ExtentEvent::ScrubFailed);
  attach(extent);
  record(extent);
}

void ExtentTable::claim(Extent& extent) {
  detach(extent);
  extent.claimed_ = 1;
  attach(extent);
}

void ExtentTable::unclaim(Extent& extent) {
  detach(extent);
  extent.claimed_ = 0;
  attach(extent);
}

void ExtentTable::move_to_pool(Extent& extent, DedicatedPoolId pool) {
  rebook(extent, [&](Lineage& now) {
    now.pool = pool;
    now.owner.pool = {};
  });
  record(extent);
}

void ExtentTable::set_owner(Extent& extent, const Owner& owner) {
  enforce(extent.state() != ExtentState::Clean, "who wrote clean memory does not matter any more");
  rebook(extent, [&](Lineage& now) { now.owner = owner; });
}

void ExtentTable::suspect(Extent& extent, VmId vm) {
  rebook(extent, [&](Lineage& now) { now.suspect = books_->suspects.with(now.suspect, vm); });
}

void ExtentTable::absolve(Extent& extent, VmId vm) {
  rebook(extent, [&](Lineage& now) { now.suspect = books_->suspects.without(now.suspect, vm); });
}

bool ExtentTable::is_suspect(SuspectIndex suspect, VmId vm) const { return books_->is_suspect(suspect, vm); }

ByteCount ExtentTable::whole_pages(const Extent& extent, ByteCount length) const {
  const std::uint64_t unit = books_->zones[lineage(extent).zone].unit.value();
  return ByteCount(std::max(length.value() / unit, std::uint64_t{1}) * unit);
}

Extent& ExtentTable::split(Extent& extent, ByteCount length) {
  enforce(extent.state() != ExtentState::Scrubbing && extent.state() != ExtentState::Cancelling,
          "an extent is not cut while an engine works on it");
  return cut(extent, length);
}

Extent& ExtentTable::cut_ended(Extent& extent, ByteCount length) {
  enforce(extent.state() == ExtentState::Scrubbing || extent.state() == ExtentState::Cancelling,
          "only what an engine has worked on ends in parts");
  return cut(extent, length);
}

Extent& ExtentTable::cut(Extent& extent, ByteCount length) {
  const ExtentState state = extent.state();
  enforce(length > ByteCount(0) && length < extent.length() &&
              length.value() % books_->zones[lineage(extent).zone].unit.value() == 0,
          "an extent is cut inside, between units");
  const bool in_list = !extent.is_claimed() && state != ExtentState::Clean;
  if (!in_list) detach(extent);
  Extent rest = extent;
  const std::uint64_t pages = length.value() >> kPageBits;
  rest.page_ = (extent.page_ + pages) & kPageMask;
  rest.pages_ = (extent.pages_ - pages) & kPageMask;
  extent.pages_ = pages & kPageMask;
  Extent& added = books_->slab[books_->slab.add(rest)];
  books_->places.add(added.page_, ExtentSlab::index_of(added));
  LineageEntry& entry = books_->lineages[extent.lineage_];
  ++entry.extents;
  // At no time do the two together say less than the one did.
  record(added);
  resize_record(extent);
  if (in_list) {  // the rest keeps its turn
    books_->slab.insert_after(entry.list(state), extent, added);
    return added;
  }
  attach(extent);
  attach(added);
  return added;
}

bool ExtentTable::same_but_place(const Extent& a, const Extent& b) const {
  if (a.is_claimed() || b.is_claimed() || a.state_ != b.state_ || a.lineage_ != b.lineage_) return false;
  if (a.state() == ExtentState::Scrubbing || a.state() == ExtentState::Cancelling) return false;
  if (a.state() == ExtentState::Clean && a.value_ != b.value_) return false;
  return books_->brick_of(a.page_) == books_->brick_of(b.page_);
}

/// Joins two neighbours. What is left keeps the earlier turn of both.
Extent& ExtentTable::merge(Extent& first, Extent& second) {
  const bool clean = first.state() == ExtentState::Clean;
  Shelf* const shelf = clean ? &books_->shelf(lineage(first)) : nullptr;
  if (clean) {
    shelf->clean.remove(first);
    shelf->clean.remove(second);
  } else {
    ExtentList& list = books_->lineages[first.lineage_].list(first.state());
    if (first.state() == ExtentState::Dirty && second.value_ < first.value_) {
      books_->slab.unlink(list, first);
      books_->slab.insert_after(list, second, first);
      first.value_ = second.value_;
    }
    books_->slab.unlink(list, second);
  }
  books_->places.remove(second.page_, ExtentSlab::index_of(second));
  first.pages_ = (first.pages_ + second.pages_) & kPageMask;
  resize_record(first);
  if (books_->ledger != nullptr && books_->ledger->has_room(ExtentSlab::index_of(second))) {
    books_->ledger->clear(ExtentSlab::index_of(second));
  }
  --books_->lineages[first.lineage_].extents;
  books_->slab.remove(second);
  if (clean) shelf->clean.add(first);
  if (first.state() == ExtentState::Dirty) books_->follow_oldest(first.lineage_);
  return first;
}

Extent& ExtentTable::coalesce(Extent& extent) {
  Extent* kept = &extent;
  const auto [before, after] = books_->places.around(extent.page_);
  Extent* const previous = books_->slab.at(before);
  Extent* const next = books_->slab.at(after);
  if (previous != nullptr && same_but_place(*previous, extent)) kept = &merge(*previous, extent);
  if (next != nullptr && same_but_place(*kept, *next)) merge(*kept, *next);
  return *kept;
}

}  // namespace sluice::inline memory
