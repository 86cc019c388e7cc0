// SPDX-License-Identifier: Apache-2.0
// What the table reads from its ledger and writes to it.
#include "extent_books.hpp"

namespace sluice::inline memory {

/// A run of memory as the ledger has found it. No kind: dirty, in the shared pool.
void ExtentTable::add(const LedgerEntry& run) {
  Extent extent;
  extent.page_ = run.page & kPageMask;
  extent.pages_ = run.pages & kPageMask;
  Lineage lineage{.pool = run.pool, .zone = books_->brick_zone[books_->brick_of(run.page)]};
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

/// nullopt: nothing is said of it.
std::optional<LedgerKind> ExtentTable::kind_in_ledger(const Extent& extent) const {
  switch (extent.state()) {
    case ExtentState::Owned:
    case ExtentState::Reserved:
      return LedgerKind::Held;
    case ExtentState::Quarantined:
      return LedgerKind::Quarantined;
    case ExtentState::Clean:
      if (extent.value_ == 0) return LedgerKind::Clean;
      break;  // a ledger's Clean means zeros
    case ExtentState::Dirty:
    case ExtentState::Scrubbing:
    case ExtentState::Cancelling:
      break;
  }
  return lineage(extent).pool.is_set() ? std::optional(LedgerKind::Dirty) : std::nullopt;
}

/// Writes to the ledger what is to be believed of an extent after a crash.
void ExtentTable::record(const Extent& extent) {
  if (books_->ledger == nullptr) return;
  const ExtentIndex index = ExtentSlab::index_of(extent);
  const auto kind = kind_in_ledger(extent);
  if (!books_->ledger->has_room(index)) {
    enforce(kind != LedgerKind::Held, "what a VM holds is in the ledger");
    return;
  }
  if (!kind) {
    books_->ledger->clear(index);
    return;
  }
  LineageEntry& entry = books_->lineages[extent.lineage_];
  const VmId vm = kind == LedgerKind::Held ? entry.lineage.owner.vm : VmId();
  const DedicatedPoolId pool = entry.lineage.pool;
  std::optional<LedgerSlot>& slot = vm.is_set() ? entry.held_slot : entry.free_slot;
  if (!slot) slot = books_->ledger->slot_of(vm, pool);
  books_->ledger->write(index, {extent.page_, extent.pages_, *kind, vm, pool}, *slot);
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
