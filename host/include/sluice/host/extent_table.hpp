// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "sluice/host/backing_memory.hpp"
#include "sluice/host/extent.hpp"

namespace sluice {

/// Every byte of the pool, in extents, with the indexes that the choice of memory needs. All changes of state go
/// through next_state(). An Extent& stays valid until its extent is merged into a neighbour (coalesce).
///
/// "Free" below means: Clean, Dirty or Scrubbing, and earmarked for no claim.
class ExtentTable {
 public:
  struct ByOffset {
    bool operator()(const Extent* a, const Extent* b) const { return a->offset < b->offset; }
  };
  struct ByLength {
    bool operator()(const Extent* a, const Extent* b) const {
      return a->length() != b->length() ? a->length() < b->length() : a->offset < b->offset;
    }
  };
  using Set = std::set<Extent*, ByOffset>;
  using SetByLength = std::set<Extent*, ByLength>;

  /// One Dirty extent of unknown owner for each brick: nothing is clean by default.
  explicit ExtentTable(std::span<const Brick> bricks);

  /// Applies the event and lets `edit` change the extent's other fields, except offset, memory and state.
  template <class Edit>
  void transition(Extent& extent, ExtentEvent event, Edit edit) {
    unindex(extent);
    step(extent, event);
    edit(extent);
    index(extent);
  }
  void transition(Extent& extent, ExtentEvent event) {
    transition(extent, event, [](Extent&) {});
  }

  /// Changes fields that are not the state.
  void earmark(Extent& extent, ClaimId claim);
  void move_to_pool(Extent& extent, DedicatedPoolId pool);

  /// Cuts an extent that no engine works on: it keeps the first `length`, the rest is returned.
  Extent& split(Extent& extent, ByteCount length);
  /// Joins an extent with neighbours that differ in nothing but place. Returns the extent that holds it now.
  Extent& coalesce(Extent& extent);

  /// Free Clean extents of a pool (unset: the shared pool), shortest first.
  [[nodiscard]] const SetByLength& clean(DedicatedPoolId pool) const;
  /// Free Dirty and Scrubbing extents by what is known of their owner.
  [[nodiscard]] const Set& dirty_of_vm(VmId vm) const;
  [[nodiscard]] const Set& dirty_of_group(TrustGroupId group) const;
  [[nodiscard]] const Set& dirty_of_larger_group(TrustGroupId group) const;
  [[nodiscard]] const Set& dirty_of_owner_pool(DedicatedPoolId pool) const;
  /// Free Dirty extents that belong to a pool, in the order in which they were released.
  [[nodiscard]] const std::map<std::uint64_t, Extent*>& dirty_by_age(DedicatedPoolId pool) const;
  /// Free Dirty extents of the shared pool that are to be scrubbed in the background, by the time from which on they
  /// may be, then in the order in which they were released.
  using Schedule = std::map<std::pair<std::chrono::nanoseconds, std::uint64_t>, Extent*>;
  [[nodiscard]] const Schedule& background() const { return background_; }
  /// Free Scrubbing extents of the shared pool.
  [[nodiscard]] const Set& scrubbing() const { return scrubbing_; }
  /// Owned and Reserved extents.
  [[nodiscard]] const Set& held_by(VmId vm) const;
  /// All extents of a pool, whatever their state.
  [[nodiscard]] std::vector<Extent*> members(DedicatedPoolId pool);

  /// The extent that holds this byte, or nullptr.
  [[nodiscard]] Extent* find(const std::byte* address);

  [[nodiscard]] ByteCount bytes(ExtentState state) const { return bytes_[static_cast<std::size_t>(state)]; }
  [[nodiscard]] ByteCount free_bytes(DedicatedPoolId pool) const;
  /// Of the pool, whatever their state. bytes
  [[nodiscard]] ByteCount bytes_in(DedicatedPoolId pool) const;
  /// Reserved for the VM. bytes
  [[nodiscard]] ByteCount reserved_for(VmId vm) const;
  [[nodiscard]] ByteCount total() const { return total_; }
  [[nodiscard]] std::size_t count() const { return extents_.size(); }
  [[nodiscard]] std::span<const Brick> bricks() const { return bricks_; }
  [[nodiscard]] const std::map<std::uint64_t, Extent>& extents() const { return extents_; }

 private:
  void step(Extent& extent, ExtentEvent event);
  void index(Extent& extent);
  void unindex(Extent& extent);
  [[nodiscard]] static bool is_free(const Extent& extent);
  [[nodiscard]] static bool same_but_place(const Extent& a, const Extent& b);

  struct Pool {
    SetByLength clean;
    std::map<std::uint64_t, Extent*> dirty_by_age;
    ByteCount free;
    ByteCount all;
  };

  std::vector<Brick> bricks_;
  std::vector<std::uint64_t> brick_offset_;
  std::map<std::uint64_t, Extent> extents_;  // by offset
  std::unordered_map<DedicatedPoolId, Pool> pools_;
  std::unordered_map<VmId, Set> dirty_of_vm_;
  std::unordered_map<TrustGroupId, Set> dirty_of_group_;
  std::unordered_map<TrustGroupId, Set> dirty_of_larger_group_;
  std::unordered_map<DedicatedPoolId, Set> dirty_of_owner_pool_;
  std::unordered_map<VmId, Set> held_by_;
  Set scrubbing_;
  Schedule background_;
  std::array<ByteCount, kExtentStates> bytes_{};
  ByteCount total_;
  std::uint64_t next_dirty_ = 1;
};

}  // namespace sluice
