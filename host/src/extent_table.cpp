// SPDX-License-Identifier: Apache-2.0
#include "sluice/host/extent_table.hpp"

#include "enforce.hpp"

namespace sluice {
namespace {

/// What `map` holds for `key`, or an empty value.
template <class Map, class Key>
const typename Map::mapped_type& value_or_empty(const Map& map, Key key) {
  static const typename Map::mapped_type empty;
  const auto found = map.find(key);
  return found == map.end() ? empty : found->second;
}

template <class Map, class Key>
void insert(Map& map, Key key, Extent& extent) {
  if (key.is_set()) map[key].insert(&extent);
}

/// Leaves no empty set behind: identifiers are never used again.
template <class Map, class Key>
void erase(Map& map, Key key, Extent& extent) {
  if (!key.is_set()) return;
  const auto found = map.find(key);
  found->second.erase(&extent);
  if (found->second.empty()) map.erase(found);
}

}  // namespace

ExtentTable::ExtentTable(std::span<const Brick> bricks) : bricks_(bricks.begin(), bricks.end()) {
  std::uint64_t offset = 0;
  for (std::uint32_t brick = 0; brick < bricks_.size(); ++brick) {
    brick_offset_.push_back(offset);
    Extent extent;
    extent.offset = offset;
    extent.memory = bricks_[brick].memory;
    extent.brick = brick;
    extent.dirty_since = next_dirty_++;
    offset += extent.memory.size();
    index(extents_.emplace(extent.offset, extent).first->second);
  }
  total_ = ByteCount(offset);
}

void ExtentTable::step(Extent& extent, ExtentEvent event) {
  const std::optional<ExtentState> next = next_state(extent.state, event);
  enforce(next.has_value(), "an extent changes its state only as next_state() allows");
  extent.state = *next;
  if (extent.state == ExtentState::Dirty) extent.dirty_since = next_dirty_++;
  if (extent.state != ExtentState::Owned && extent.state != ExtentState::Reserved) extent.holder = {};
}

bool ExtentTable::is_free(const Extent& extent) {
  return !extent.earmark.is_set() && (extent.state == ExtentState::Clean || extent.state == ExtentState::Dirty ||
                                      extent.state == ExtentState::Scrubbing);
}

void ExtentTable::index(Extent& extent) {
  bytes_[static_cast<std::size_t>(extent.state)] += extent.length();
  Pool& pool = pools_[extent.pool];
  pool.all += extent.length();
  if (extent.state == ExtentState::Owned || extent.state == ExtentState::Reserved) {
    held_by_[extent.holder].insert(&extent);
  }
  if (!is_free(extent)) return;
  pool.free += extent.length();
  if (extent.state == ExtentState::Clean) {
    pool.clean.insert(&extent);
    return;
  }
  insert(dirty_of_vm_, extent.owner.vm, extent);
  insert(dirty_of_group_, extent.owner.group.id, extent);
  insert(dirty_of_larger_group_, extent.owner.larger_group.id, extent);
  insert(dirty_of_owner_pool_, extent.owner.pool, extent);
  if (extent.state == ExtentState::Dirty) {
    pool.dirty_by_age.emplace(extent.dirty_since, &extent);
    if (!extent.pool.is_set() && extent.scrub_at != kOnlyForClaims) {
      background_.emplace(std::pair(extent.scrub_at, extent.dirty_since), &extent);
    }
  } else {
    scrubbing_.insert(&extent);
  }
}

void ExtentTable::unindex(Extent& extent) {
  bytes_[static_cast<std::size_t>(extent.state)] -= extent.length();
  Pool& pool = pools_[extent.pool];
  pool.all -= extent.length();
  if (extent.state == ExtentState::Owned || extent.state == ExtentState::Reserved) {
    erase(held_by_, extent.holder, extent);
  }
  if (!is_free(extent)) return;
  pool.free -= extent.length();
  if (extent.state == ExtentState::Clean) {
    pool.clean.erase(&extent);
    return;
  }
  erase(dirty_of_vm_, extent.owner.vm, extent);
  erase(dirty_of_group_, extent.owner.group.id, extent);
  erase(dirty_of_larger_group_, extent.owner.larger_group.id, extent);
  erase(dirty_of_owner_pool_, extent.owner.pool, extent);
  if (extent.state == ExtentState::Dirty) {
    pool.dirty_by_age.erase(extent.dirty_since);
    if (!extent.pool.is_set()) background_.erase({extent.scrub_at, extent.dirty_since});
  } else {
    scrubbing_.erase(&extent);
  }
}

void ExtentTable::earmark(Extent& extent, ClaimId claim) {
  unindex(extent);
  extent.earmark = claim;
  index(extent);
}

void ExtentTable::move_to_pool(Extent& extent, DedicatedPoolId pool) {
  unindex(extent);
  extent.pool = pool;
  index(extent);
}

Extent& ExtentTable::split(Extent& extent, ByteCount length) {
  enforce(extent.state != ExtentState::Scrubbing && extent.state != ExtentState::Cancelling,
          "an extent is not cut while an engine works on it");
  enforce(length > ByteCount(0) && length < extent.length() && length.value() % kPageSize.value() == 0,
          "an extent is cut inside, between pages");
  unindex(extent);
  Extent rest = extent;
  rest.offset += length.value();
  rest.memory = extent.memory.subspan(length.value());
  rest.dirty_since = next_dirty_++;
  extent.memory = extent.memory.first(length.value());
  index(extent);
  Extent& added = extents_.emplace(rest.offset, rest).first->second;
  index(added);
  return added;
}

bool ExtentTable::same_but_place(const Extent& a, const Extent& b) {
  const bool quiet = a.state != ExtentState::Scrubbing && a.state != ExtentState::Cancelling;
  // Who owned clean memory last does not matter any more.
  const bool same_owner = a.state == ExtentState::Clean || a.owner == b.owner;
  const bool same_fill = a.state == ExtentState::Clean
                             ? a.fill.pattern == b.fill.pattern
                             : a.state != ExtentState::Dirty || (a.fill == b.fill && a.scrub_at == b.scrub_at);
  return quiet && same_fill && a.state == b.state && a.brick == b.brick && same_owner && a.holder == b.holder &&
         a.pool == b.pool && !a.earmark.is_set() && !b.earmark.is_set();
}

Extent& ExtentTable::coalesce(Extent& extent) {
  Extent* kept = &extent;
  const auto join = [this](Extent& first, Extent& second) {
    unindex(first);
    unindex(second);
    first.memory = MemorySpan(first.memory.data(), first.memory.size() + second.memory.size());
    first.dirty_since = std::min(first.dirty_since, second.dirty_since);
    extents_.erase(second.offset);
    index(first);
  };
  auto place = extents_.find(extent.offset);
  if (place != extents_.begin()) {
    Extent& before = std::prev(place)->second;
    if (same_but_place(before, extent)) {
      join(before, extent);
      kept = &before;
    }
  }
  auto after = std::next(extents_.find(kept->offset));
  if (after != extents_.end() && same_but_place(*kept, after->second)) join(*kept, after->second);
  return *kept;
}

const ExtentTable::SetByLength& ExtentTable::clean(DedicatedPoolId pool) const {
  return value_or_empty(pools_, pool).clean;
}
const ExtentTable::Set& ExtentTable::dirty_of_vm(VmId vm) const { return value_or_empty(dirty_of_vm_, vm); }
const ExtentTable::Set& ExtentTable::dirty_of_group(TrustGroupId group) const {
  return value_or_empty(dirty_of_group_, group);
}
const ExtentTable::Set& ExtentTable::dirty_of_larger_group(TrustGroupId group) const {
  return value_or_empty(dirty_of_larger_group_, group);
}
const ExtentTable::Set& ExtentTable::dirty_of_owner_pool(DedicatedPoolId pool) const {
  return value_or_empty(dirty_of_owner_pool_, pool);
}
const std::map<std::uint64_t, Extent*>& ExtentTable::dirty_by_age(DedicatedPoolId pool) const {
  return value_or_empty(pools_, pool).dirty_by_age;
}
const ExtentTable::Set& ExtentTable::held_by(VmId vm) const { return value_or_empty(held_by_, vm); }
ByteCount ExtentTable::free_bytes(DedicatedPoolId pool) const { return value_or_empty(pools_, pool).free; }
ByteCount ExtentTable::bytes_in(DedicatedPoolId pool) const { return value_or_empty(pools_, pool).all; }

ByteCount ExtentTable::reserved_for(VmId vm) const {
  ByteCount reserved;
  for (const Extent* extent : held_by(vm)) {
    if (extent->state == ExtentState::Reserved) reserved += extent->length();
  }
  return reserved;
}

std::vector<Extent*> ExtentTable::members(DedicatedPoolId pool) {
  std::vector<Extent*> found;
  for (auto& [offset, extent] : extents_) {
    if (extent.pool == pool) found.push_back(&extent);
  }
  return found;
}

Extent* ExtentTable::find(const std::byte* address) {
  for (std::uint32_t brick = 0; brick < bricks_.size(); ++brick) {
    const MemorySpan memory = bricks_[brick].memory;
    if (address < memory.data() || address >= memory.data() + memory.size()) continue;
    const std::uint64_t offset = brick_offset_[brick] + static_cast<std::uint64_t>(address - memory.data());
    return &std::prev(extents_.upper_bound(offset))->second;
  }
  return nullptr;
}

}  // namespace sluice
