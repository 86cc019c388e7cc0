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
  ByteCount unit;  ///< unit_of() each of its bricks.
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
    Lent,         ///< Reserved memory that this group may have meanwhile, with its epoch.
    LargerLent,   ///< The same of the group around it.
    Suspect,      ///< The VM that must not get it, whatever its state.
    SuspectToAll  ///< Nobody may get it, whatever its state.
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
  static Domain lent(GroupAt group) { return {Kind::Lent, group.id.value(), group.epoch}; }
  static Domain larger_lent(GroupAt group) { return {Kind::LargerLent, group.id.value(), group.epoch}; }
  /// Unset: all VMs.
  static Domain suspect(VmId vm) {
    return vm.is_set() ? Domain{Kind::Suspect, vm.value(), 0} : Domain{Kind::SuspectToAll, 1, 0};
  }
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
  /// and everything that happens is written to it. Its room must be enough for that, and its VMs and pools entered.
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
  /// `lent`: the trust group of its VM may have it meanwhile.
  void reserve(Extent& extent, bool lent = false);
  /// Of a Reserved one: whether it is lent.
  void lend(Extent& extent, bool lent);
  void release(Extent& extent, Fill fill, std::chrono::nanoseconds delay, std::chrono::nanoseconds now);
  void start_scrub(Extent& extent);
  void request_cancel(Extent& extent);
  void scrub_zeroed(Extent& extent, std::uint64_t pattern);
  void scrub_cancelled(Extent& extent);
  void scrub_failed(Extent& extent);

  /// A pending claim has it: nobody else finds it.
  void claim(Extent& extent);
  void unclaim(Extent& extent);
  /// What is in it was not written in that pool.
  void move_to_pool(Extent& extent, DedicatedPoolId pool);
  /// Who wrote it is known otherwise. Not of a Clean extent.
  void set_owner(Extent& extent, const Owner& owner);
  /// `vm` (unset: no VM) must not get this memory, whoever holds it now, until absolve().
  void suspect(Extent& extent, VmId vm);
  /// Takes that back.
  void absolve(Extent& extent, VmId vm);
  /// Whether `vm` must not get it. Unset: a dedicated pool, which may have all that is not suspect for everybody.
  [[nodiscard]] bool is_suspect(SuspectIndex suspect, VmId vm) const;
  [[nodiscard]] bool is_suspect(const Extent& extent, VmId vm) const { return is_suspect(lineage(extent).suspect, vm); }

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

  // What `vm` (unset: a dedicated pool) may have of a pool (unset: the shared pool) in one zone.
  /// A free Clean extent of at least `length` and little more; nullptr: none.
  [[nodiscard]] Extent* fitting_clean(DedicatedPoolId pool, std::uint32_t zone, VmId vm, ByteCount length) const;
  /// One of the longest.
  [[nodiscard]] Extent* longest_clean(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const;
  /// The free Dirty extent that was released first; nullptr: none.
  [[nodiscard]] Extent* oldest_dirty(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const;
  /// A free Scrubbing extent; nullptr: none.
  [[nodiscard]] Extent* any_scrubbing(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const;

  /// All extents with a lineage of a domain of Kind::Member, Suspect or SuspectToAll, claimed or not. Looks at every
  /// extent, unless there is none.
  [[nodiscard]] std::vector<Extent*> all_of(const Domain& domain) const;

  /// The free Dirty extent that is to be scrubbed next in the background, and from when on: by its release and its
  /// lineage's delay. In dedicated pools only what its VM has left for good.
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
  /// What `vm` (unset: a dedicated pool) may have of it. bytes
  [[nodiscard]] ByteCount free_bytes(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const;
  /// Free and Clean. bytes
  [[nodiscard]] ByteCount clean_bytes(DedicatedPoolId pool, std::uint32_t zone) const;
  /// Free, and no engine works on it. bytes
  [[nodiscard]] ByteCount idle_bytes(DedicatedPoolId pool, std::uint32_t zone, VmId vm) const;
  /// Cancelling and of no claim, by for whom it is suspect. bytes
  [[nodiscard]] std::vector<std::pair<SuspectIndex, ByteCount>> coming_back(DedicatedPoolId pool,
                                                                            std::uint32_t zone) const;
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
  [[nodiscard]] std::optional<LedgerKind> kind_in_ledger(const Extent& extent) const;
  void record(const Extent& extent);
  void resize_record(const Extent& extent);
  void attach(Extent& extent);
  void detach(Extent& extent);
  void change_lineage(Extent& extent, const Lineage& lineage);
  template <class Change>
  void rebook(Extent& extent, Change change);
  Extent& cut(Extent& extent, ByteCount length);
  void insert_by_age(LineageEntry& entry, Extent& extent);
  Extent& merge(Extent& first, Extent& second);
  [[nodiscard]] bool same_but_place(const Extent& a, const Extent& b) const;

  std::unique_ptr<Books> books_;
};

}  // namespace sluice::inline memory
