// SPDX-License-Identifier: Apache-2.0
// What the table reads from its ledger and writes to it.
#include "extent_books.hpp"

namespace sluice::inline memory {

/// A run of memory as the ledger has found it. No kind: dirty.
void ExtentTable::add(const LedgerEntry& run) {
  Extent extent;
  extent.page_ = run.page & kPageMask;
  extent.pages_ = run.pages & kPageMask;
  Lineage lineage{.zone = books_->brick_zone[books_->brick_of(run.page)]};
  ExtentState state = ExtentState::Dirty;
  if (run.kind == LedgerKind::Clean) state = ExtentState::Clean;
  if (run.kind == LedgerKind::Quarantined) state = ExtentState::Quarantined;
  if (run.kind == LedgerKind::Held) {
    state = ExtentState::Owned;
    lineage.owner.vm = run.vm;
  }
  extent.state_ = static_cast<std::uint64_t>(state) & 7;
  if (state == ExtentState::Dirty) extent.value_ = ++books_->last_stamp;
  const LineageIndex index = books_->lineages.find_or_add(lineage);
  books_->add_extents(index, extent.length());
  extent.lineage_ = index & kLineageMask;
  Extent& added = books_->slab[books_->slab.add(extent)];
  books_->places.add(added.page_, ExtentSlab::index_of(added));
  attach(added);
  record(added);
}

/// Writes to the ledger what is to be believed of an extent after a crash.
void ExtentTable::record(const Extent& extent) {
  if (books_->ledger == nullptr) return;
  const ExtentIndex index = ExtentSlab::index_of(extent);
  if (!books_->ledger->has_room(index)) {
    enforce(extent.state() != ExtentState::Owned && extent.state() != ExtentState::Reserved,
            "what a VM holds is in the ledger");
    return;
  }
  LedgerEntry entry{extent.page_, extent.pages_, LedgerKind::Clean, {}};
  switch (extent.state()) {
    case ExtentState::Owned:
    case ExtentState::Reserved:
      entry.kind = LedgerKind::Held;
      entry.vm = owner(extent).vm;
      books_->ledger->write(index, entry);
      return;
    case ExtentState::Quarantined:
      entry.kind = LedgerKind::Quarantined;
      books_->ledger->write(index, entry);
      return;
    case ExtentState::Clean:
      if (extent.value_ != 0) break;  // a ledger's Clean means zeros
      books_->ledger->write(index, entry);
      return;
    case ExtentState::Dirty:
    case ExtentState::Scrubbing:
    case ExtentState::Cancelling:
      break;
  }
  books_->ledger->clear(index);
}

void ExtentTable::resize_record(const Extent& extent) {
  const ExtentIndex index = ExtentSlab::index_of(extent);
  if (books_->ledger != nullptr && books_->ledger->has_room(index)) books_->ledger->resize(index, extent.pages_);
}

/// The ledger first: if that refuses, nothing has changed, and what needs no more extents goes on.
Result<void> ExtentTable::make_room(std::size_t cuts) {
  if (books_->ledger != nullptr) {
    if (auto made = books_->ledger->make_room(books_->slab.room_for(cuts)); !made) return made;
  }
  while (books_->slab.free_count() < cuts) books_->slab.add_chunk();
  return {};
}

}  // namespace sluice::inline memory
