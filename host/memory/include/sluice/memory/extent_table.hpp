// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sluice/memory/backing_memory.hpp"
#include "sluice/memory/extent.hpp"
#include "sluice/memory/ledger.hpp"
#include "sluice/memory/lineage.hpp"

namespace sluice::inline memory {

struct LineageEntry;

/// Bricks of one NUMA node with pages of one length: their memory can stand for each other.
struct Zone {
  std::uint32_t node = 0;
  PageKind pages = PageKind::Small;
  ByteCount total;
};

/// Those who may have dirty memory in common, or hold memory. Unset: nobody.
struct Domain {
  enum class Kind : std::uint8_t {
    Vm,           ///< Owner::vm
    OwnerPool,    ///< Owner::pool
    Group,        ///< Owner::group, with its epoch
    LargerGroup,  ///< Owner::larger_group, with its epoch
    Holder,       ///< The VM that holds it.
    Member,       ///< The dedicated pool that it belongs to, whatever its state.
  };
  Kind kind = Kind::Vm;
  std::uint64_t id = 0;
  std::uint64_t epoch = 0;
  bool operator==(const Domain&) const = default;

  static Domain vm(VmId vm) { return {Kind::Vm, vm.value(), 0}; }
  static Domain owner_pool(DedicatedPoolId pool) { return {Kind::OwnerPool, pool.value(), 0}; }
  static Domain group(GroupAt group) { return {Kind::Group, group.id.value(), group.epoch}; }
  static Domain larger_group(GroupAt group) { return {Kind::LargerGroup, group.id.value(), group.epoch}; }
  static Domain holder(VmId vm) { return {Kind::Holder, vm.value(), 0}; }
  static Domain member(DedicatedPoolId pool) { return {Kind::Member, pool.value(), 0}; }
};

/// Every byte of the pool, in extents, with what the choice of memory needs to find them. All changes of state go
/// through next_state(). An Extent& stays valid until its extent is merged into a neighbour (coalesce).
///
/// An extent that is not claimed is in one list: Clean ones by length for each pool and zone, all others by their
/// lineage and state, oldest first. So no call costs more when the pool is larger, but for one search by place.
///
/// "Free" below means: Clean, Dirty or Scrubbing, and part of no claim.
class ExtentTable {
 public:
  /// One Dirty extent of unknown owner for each brick: nothing is clean by default. With a ledger: what that has found,
  /// and everything that happens is written to it. Its room must be enough for that, and its VMs entered.
  explicit ExtentTable(std::span<const Brick> bricks, Ledger* ledger = nullptr);
  ~ExtentTable();
  ExtentTable(const ExtentTable&) = delete;
  ExtentTable& operator=(const ExtentTable&) = delete;

  [[nodiscard]] MemorySpan memory(const Extent& extent) const;
  [[nodiscard]] const Brick& brick(const Extent& extent) const;
  [[nodiscard]] const Lineage& lineage(const Extent& extent) const;
  [[nodiscard]] LineageIndex lineage_index(const Extent& extent) const { return extent.lineage_; }
  [[nodiscard]] const Lineage& lineage(LineageIndex index) const;
  [[nodiscard]] const Owner& owner(const Extent& extent) const { return lineage(extent).owner; }
  /// Owned and Reserved: the VM; else unset.
  [[nodiscard]] VmId holder(const Extent& extent) const;
  /// Clean: what is in it.
  [[nodiscard]] std::uint64_t pattern(const Extent& extent) const { return extent.value_; }

  // The events. `now` is the time on any clock that does not go back.
  void grant(Extent& extent, const Owner& owner);
  void reserve(Extent& extent);
  void release(Extent& extent, Fill fill, std::chrono::nanoseconds delay, std::chrono::nanoseconds now);
  void start_scrub(Extent& extent);
  void request_cancel(Extent& extent);
  void scrub_zeroed(Extent& extent, std::uint64_t pattern);
  void scrub_cancelled(Extent& extent);
  void scrub_failed(Extent& extent);

  /// A pending claim has it: nobody else finds it.
  void claim(Extent& extent);
  void unclaim(Extent& extent);
  void move_to_pool(Extent& extent, DedicatedPoolId pool);

  /// The longest piece of at most `length` that the extent may be cut into, or one page: its pages are never cut.
  [[nodiscard]] ByteCount whole_pages(const Extent& extent, ByteCount length) const;
  /// So many cuts can be made from now on. Errors: NoResources (the ledger).
  [[nodiscard]] Result<void> make_room(std::size_t cuts);
  /// Cuts an extent that no engine works on: it keeps the first `length`, the rest is returned.
  Extent& split(Extent& extent, ByteCount length);
  /// The same with one that is Scrubbing or Cancelling and whose job has ended, so that each part may have ended
  /// otherwise.
  Extent& cut_ended(Extent& extent, ByteCount length);
  /// Joins an extent with neighbours that differ in nothing but place. Returns the extent that holds it now.
  Extent& coalesce(Extent& extent);

  /// The lineages of a domain that have free Dirty or Scrubbing extents (Holder: that are held; Member: all), one after
  /// the other: the first after `after`. nullopt: no more.
  [[nodiscard]] std::optional<LineageIndex> next_lineage(const Domain& domain,
                                                         std::optional<LineageIndex> after = std::nullopt) const;
  /// The extents of a lineage in a state other than Clean, not claimed, oldest first. nullptr: no more.
  [[nodiscard]] Extent* first(LineageIndex lineage, ExtentState state) const;
  [[nodiscard]] Extent* next(const Extent& extent) const;
  /// What is held of a lineage, Owned and Reserved, claimed or not. bytes
  [[nodiscard]] ByteCount reserved(LineageIndex lineage) const;

  /// A free Clean extent of a pool (unset: the shared pool) of at least `length` and little more; nullptr: none.
  [[nodiscard]] Extent* fitting_clean(DedicatedPoolId pool, std::uint32_t zone, ByteCount length) const;
  /// One of the longest.
  [[nodiscard]] Extent* longest_clean(DedicatedPoolId pool, std::uint32_t zone) const;
  /// The free Dirty extent of the pool that was released first; nullptr: none.
  [[nodiscard]] Extent* oldest_dirty(DedicatedPoolId pool, std::uint32_t zone) const;
  /// A free Scrubbing extent of the pool; nullptr: none.
  [[nodiscard]] Extent* any_scrubbing(DedicatedPoolId pool, std::uint32_t zone) const;

  /// All extents of a dedicated pool that are not claimed, whatever their state.
  [[nodiscard]] std::vector<Extent*> members(DedicatedPoolId pool) const;

  /// The free Dirty extent of the shared pool that is to be scrubbed next in the background, and from when on: by its
  /// release and its lineage's delay.
  struct Due {
    Extent* extent;
    std::chrono::nanoseconds time;
  };
  [[nodiscard]] std::optional<Due> next_due() const;

  /// The extent that holds this byte, or nullptr.
  [[nodiscard]] Extent* find(const std::byte* address) const;
  /// All extents in the order of their places: the first, and the next after one. nullptr: no more.
  [[nodiscard]] Extent* first_place() const;
  [[nodiscard]] Extent* next_place(const Extent& extent) const;

  [[nodiscard]] ByteCount bytes(ExtentState state) const;
  [[nodiscard]] ByteCount free_bytes(DedicatedPoolId pool) const;
  [[nodiscard]] ByteCount free_bytes(DedicatedPoolId pool, std::uint32_t zone) const;
  /// Free and Clean. bytes
  [[nodiscard]] ByteCount clean_bytes(DedicatedPoolId pool, std::uint32_t zone) const;
  /// Free, and no engine works on it. bytes
  [[nodiscard]] ByteCount idle_bytes(DedicatedPoolId pool, std::uint32_t zone) const;
  /// Cancelling and of no claim. bytes
  [[nodiscard]] ByteCount coming_back(DedicatedPoolId pool, std::uint32_t zone) const;
  /// Of the pool, whatever their state. bytes
  [[nodiscard]] ByteCount bytes_in(DedicatedPoolId pool) const;
  [[nodiscard]] ByteCount total() const;
  [[nodiscard]] std::size_t count() const;
  [[nodiscard]] std::span<const Brick> bricks() const;
  [[nodiscard]] std::span<const Zone> zones() const;

 private:
  struct Books;

  void step(Extent& extent, ExtentEvent event);
  void add(const LedgerEntry& run);
  void record(const Extent& extent);
  void resize_record(const Extent& extent);
  void attach(Extent& extent);
  void detach(Extent& extent);
  void change_lineage(Extent& extent, const Lineage& lineage);
  Extent& cut(Extent& extent, ByteCount length);
  void insert_by_age(LineageEntry& entry, Extent& extent);
  Extent& merge(Extent& first, Extent& second);
  [[nodiscard]] bool same_but_place(const Extent& a, const Extent& b) const;

  std::unique_ptr<Books> books_;
};

}  // namespace sluice::inline memory
