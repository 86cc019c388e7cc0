// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/manager/scrubber_config.hpp"
#include "sluice/manager/statistics.hpp"
#include "sluice/memory/backing_memory.hpp"
#include "sluice/memory/error.hpp"
#include "sluice/policy/recycle_policy.hpp"

namespace sluice::inline memory {
class ExtentTable;
class Ledger;
}  // namespace sluice::inline memory

namespace sluice::inline manager {

/// The trust group of all VMs of a customer that ask for it; it exists without being created.
[[nodiscard]] TrustGroupId customer_group(CustomerId customer);

/// How a dedicated pool follows what its VMs use: poll() has it grow when little of it is free, by memory that is
/// scrubbed first and that the shared pool can do without, and shrink when much is. All are whole pages.
struct PoolRule {
  ByteCount least_free;  ///< With less free it grows ...
  ByteCount most_free;   ///< ... and with more it shrinks. At least `least_free` and a step: it would swing.
  ByteCount step;        ///< By so much at once, or as much as the limits leave.
  ByteCount smallest;    ///< It shrinks no further ...
  ByteCount largest;     ///< ... and grows no further, by the rule, by calls or by reboots.
  bool operator==(const PoolRule&) const = default;
};

/// What a dedicated pool is for.
struct PoolOptions {
  Placement placement;
  /// Its VMs may have each other's memory as it is. Otherwise what a VM leaves behind is dirty for the others there,
  /// unless a trust group allows it.
  bool shares = false;
  std::optional<PoolRule> rule = std::nullopt;  ///< By which it is resized; none: by calls only.
};

/// What is known of a dedicated pool.
struct PoolFacts {
  CustomerId customer;
  bool shares = false;
  std::uint32_t vms = 0;
  bool ready = false;  ///< It has been filled.
  ByteCount size;
  ByteCount free;
  Placement placement;  ///< Its pages and its unit are set.
  std::optional<PoolRule> rule = std::nullopt;
  bool operator==(const PoolFacts&) const = default;
};

/// What is known of a trust group.
struct GroupFacts {
  CustomerId customer;
  TrustGroupId inside;  ///< Unset: in none.
  bool enabled = true;
  std::uint32_t vms = 0;
  std::uint32_t groups = 0;  ///< Inside it.
  bool operator==(const GroupFacts&) const = default;
};

/// What a VM says itself; unset: nothing.
struct VmSay {
  std::optional<bool> enable;
  std::optional<bool> recycle_on_reboot;
  bool operator==(const VmSay&) const = default;
};

/// What a VM is, from its creation on. Pool and group are of the VM's own customer.
struct VmProfile {
  VmId vm;
  CustomerId customer;
  DedicatedPoolId pool;  ///< Unset: the shared pool.
  TrustGroupId group;    ///< Unset: none.
  RecycleSettings allowed;
  ScrubSettings scrub;
  Placement placement;
  VmSay may_say{true, true};  ///< False or unset: the provider has locked it, and the VM cannot switch it on.
  bool operator==(const VmProfile&) const = default;
};

/// What policies say of a VM that there is: of its profile what can change.
struct VmPolicy {
  VmId vm;
  DedicatedPoolId pool;
  TrustGroupId group;
  RecycleSettings allowed;
  ScrubSettings scrub;
  VmSay may_say{true, true};
  bool operator==(const VmPolicy&) const = default;
};

/// One run of granted memory.
struct GrantedRange {
  MemorySpan memory;
  int fd = -1;                           ///< The brick's inode, all of which it reaches; -1: none.
  std::uint64_t fd_offset = 0;           ///< bytes
  bool recycled = false;                 ///< Handed over as it was. Otherwise filled with `pattern`.
  std::uint64_t pattern = 0;             ///< Of ScrubSettings, 0 if nobody has asked for another; of Random, nothing.
  Reason reason = Reason::UnknownOwner;  ///< Why it was recycled; meaningful only if it was.
};

struct Grant {
  ClaimId claim;
  VmId vm;
  std::vector<GrantedRange> ranges;
  bool waited = false;  ///< For a scrub, or for a cancel to be answered.
};

/// What a test of suspect memory has found.
struct SuspectReport {
  ByteCount tested;                ///< Held each pattern, or is among `failed`.
  std::vector<MemorySpan> failed;  ///< Held something else, or took no stores: Quarantined. By their addresses.
  ByteCount not_tested;            ///< Suspect as well, and in use when the test began.
};

using GrantHandler = std::function<void(Result<Grant>)>;
using PoolHandler = std::function<void(Result<void>)>;
using SuspectHandler = std::function<void(Result<SuspectReport>)>;
/// Of several pools: which one.
using PoolsHandler = std::function<void(DedicatedPoolId, Result<void>)>;

/// Gives memory to VMs and takes it back; scrubs what changes hands and skips what does not.
///
/// Sans-I/O: it has no thread and no clock; work happens in the calls, completions are handled in poll(). Handlers are
/// called from poll() only, never from inside the call that took them. A handler may call anything of the manager, and
/// destroy it. Handlers that were not called yet are called with Abandoned when it is destroyed. Not thread-safe: use
/// it from one executor (AsyncMemoryManager does). The engine, the memory and the manager are destroyed in the order
/// manager, engine, memory. All lengths are multiples of the unit that the VM or pool has: its pages, or bricks that
/// change hands as a whole. A call that returns an error has changed nothing.
class MemoryManager {
 public:
  ~MemoryManager();
  MemoryManager(const MemoryManager&) = delete;
  MemoryManager& operator=(const MemoryManager&) = delete;
  /// All memory is dirty at first. Errors: InvalidArgument (bricks that overlap or that are not whole pages, memory
  /// that the engine does not reach, a configuration that cannot be kept).
  [[nodiscard]] static Result<std::unique_ptr<MemoryManager>> create(const BackingMemory& memory, Engine& engine,
                                                                     const ScrubberConfig& config = {});
  /// A manager that goes on with what its ledger has found, and keeps that up to date: clean memory stays clean, what
  /// VMs held stays theirs, what was in a dedicated pool stays there, all else is dirty. The engine has been made anew,
  /// so nothing writes any more that the old process had asked for. The ledger is destroyed after the manager. Errors:
  /// as create(), NoResources.
  [[nodiscard]] static Result<std::unique_ptr<MemoryManager>> recover(const BackingMemory& memory, Engine& engine,
                                                                      Ledger& ledger,
                                                                      const ScrubberConfig& config = {});
  /// VMs that held memory when the ledger was written and that nobody has spoken for yet, in the order of their ids.
  [[nodiscard]] std::vector<VmId> unadopted() const;
  /// The VM lives, and whoever runs it goes on with it. The grant is all that it holds, also what it was not notified
  /// of before the crash. Only its own id is known of who wrote that: it is recycled for the VM itself and no other.
  /// A VM that was rebooting still is: reboots(). Its grant is empty, and its memory reserved for it as its settings
  /// say. Its pool is adopted before it. Errors: as create_vm, UnknownId (it held nothing, or its pool has not been
  /// adopted). terminate() gives up a VM that does not live.
  [[nodiscard]] Result<Grant> adopt(const VmProfile& profile);
  /// Dedicated pools that had memory when the ledger was written and that nobody has spoken for yet, in the order of
  /// their ids. Nobody is granted their memory meanwhile. One may have less than was asked for, if the process ended
  /// before its handler was called. One without any memory is not known any more: create it again. Nothing but a call
  /// ends one, not even the end of the last VM that holds its memory.
  [[nodiscard]] std::vector<DedicatedPoolId> unadopted_pools() const;
  /// The pool is there again and ready, with its memory: clean memory is clean, what VMs hold of it stays theirs, and
  /// what is dirty has no known owner, so it is scrubbed before anybody gets it. destroy_dedicated_pool() gives up a
  /// pool that nobody wants any more. Errors: UnknownId (it had no memory), InvalidArgument (pages of another length
  /// than its memory has), IdUsedBefore.
  [[nodiscard]] Result<void> adopt_dedicated_pool(DedicatedPoolId pool, CustomerId customer,
                                                  const PoolOptions& options = {});

  /// A group that recycles memory between its VMs, and `inside` a larger one of the same customer with the other groups
  /// there. Errors: InvalidArgument (also a third level), IdUsedBefore, UnknownId, ForeignCustomer.
  [[nodiscard]] Result<void> create_trust_group(TrustGroupId group, CustomerId customer, TrustGroupId inside = {});
  /// While a group is disabled it recycles nothing; what was written before or meanwhile stays out of it for ever.
  /// A customer's group needs no VM for that. Errors: UnknownId.
  [[nodiscard]] Result<void> enable_trust_group(TrustGroupId group, bool enabled);
  /// Ends a group that holds no VM and no group. Errors: UnknownId, WrongState, InvalidArgument (a customer's group).
  [[nodiscard]] Result<void> destroy_trust_group(TrustGroupId group);
  /// nullopt: no such group, or a customer's in which no VM has been.
  [[nodiscard]] std::optional<GroupFacts> trust_group(TrustGroupId group) const;
  /// Memory set apart for a VM, or for some VMs of one customer, scrubbed before it joins. The pool can be used when
  /// the handler was called. All of its memory has pages of one length. While the VM lives its memory there is not
  /// scrubbed between two uses; what it leaves for good is. Errors: InvalidArgument, IdUsedBefore, WrongState (it was
  /// found after a crash), OutOfMemory (also: the shared pool would get smaller than its minimum).
  [[nodiscard]] Result<ClaimId> create_dedicated_pool(DedicatedPoolId pool, CustomerId customer, ByteCount length,
                                                      PoolHandler handler, const PoolOptions& options = {});
  /// One pool for each VM that is expected, all of equal length, with ids from `first` on: all or none. The handler is
  /// called for each. Errors: as create_dedicated_pool, InvalidArgument (a length that cannot be divided so).
  [[nodiscard]] Result<std::vector<ClaimId>> create_dedicated_pools(DedicatedPoolId first, std::uint32_t count,
                                                                    CustomerId customer, ByteCount length,
                                                                    const PoolsHandler& handler,
                                                                    const PoolOptions& options = {});
  /// Gives a pool without VMs, or one that nobody has adopted, back to the shared pool. What VMs hold of it goes there
  /// when they release it. Errors: UnknownId, WrongState.
  [[nodiscard]] Result<void> destroy_dedicated_pool(DedicatedPoolId pool);
  /// More memory for a pool, scrubbed before it joins. A call keeps to the limits of the pool's rule as the rule itself
  /// does, also one that moves memory out of a pool or into it: change_pool_rule() goes before one that shall pass
  /// them. A pool that was beyond a limit when it got the rule may stay there. Errors: UnknownId, WrongState,
  /// InvalidArgument (also: it would get larger than its rule allows, with what it is yet to get), OutOfMemory.
  [[nodiscard]] Result<ClaimId> grow_dedicated_pool(DedicatedPoolId pool, ByteCount length, PoolHandler handler);
  /// Gives free memory of a pool back to the shared pool, which scrubs it. Errors: UnknownId, WrongState,
  /// InvalidArgument (also: the pool would get smaller than its rule allows), OutOfMemory (less is free).
  [[nodiscard]] Result<void> shrink_dedicated_pool(DedicatedPoolId pool, ByteCount length);
  /// By which rule a pool is resized from now on; none: by calls only. Errors: UnknownId, WrongState, InvalidArgument.
  [[nodiscard]] Result<void> change_pool_rule(DedicatedPoolId pool, const std::optional<PoolRule>& rule);
  /// Makes free memory of a pool a pool of its own, without a rule; the VMs stay. What VMs of the old pool wrote is
  /// scrubbed before one of the new pool gets it, unless a trust group allows it. Errors: as shrink_dedicated_pool,
  /// IdUsedBefore.
  [[nodiscard]] Result<void> partition_dedicated_pool(DedicatedPoolId pool, DedicatedPoolId part, ByteCount length);
  /// Moves all memory of `other` and its VMs into `pool`, whose rule stays, and ends it. What is in it stays apart as
  /// with a partition: each VM keeps what it holds. Errors: UnknownId, WrongState (`other` is still growing),
  /// InvalidArgument (also pages of another length, and more than the rule of `pool` allows), ForeignCustomer.
  [[nodiscard]] Result<void> merge_dedicated_pools(DedicatedPoolId pool, DedicatedPoolId other);
  /// Moves free memory from one pool of a customer to another. What is in it stays apart as with a partition.
  /// Errors: as shrink_dedicated_pool, InvalidArgument (also pages of another length, and more than the rule of `to`
  /// allows), ForeignCustomer.
  [[nodiscard]] Result<void> move_between_pools(DedicatedPoolId from, DedicatedPoolId to, ByteCount length);
  /// The shared pool, from which any VM may have memory, keeps at least `minimum` bytes, whoever uses them: dedicated
  /// pools do not grow into them. 0, at first: it may become empty.
  void keep_shared(ByteCount minimum);
  /// That minimum. bytes
  [[nodiscard]] ByteCount shared_minimum() const;
  /// nullopt: no such pool.
  [[nodiscard]] std::optional<PoolFacts> dedicated_pool(DedicatedPoolId pool) const;
  /// The VMs that have this pool, in the order of their ids.
  [[nodiscard]] std::vector<VmId> vms_of(DedicatedPoolId pool) const;

  /// Errors: InvalidArgument, IdUsedBefore, UnknownId, ForeignCustomer, WrongState.
  [[nodiscard]] Result<void> create_vm(const VmProfile& profile);
  /// What a VM is now, with the pages that its memory has. nullopt: no such VM.
  [[nodiscard]] std::optional<VmProfile> profile(VmId vm) const;
  /// Moves a VM to another group (unset: to none). Memory written before, by any member of either group, is scrubbed
  /// before it crosses over, for pending claims too. Errors: UnknownId, ForeignCustomer.
  [[nodiscard]] Result<void> change_trust_group(VmId vm, TrustGroupId group);

  /// Moves a running VM to another pool (unset: to none), for example to one that was made for it. What it holds stays
  /// where it is; what it gave back to its old pool is scrubbed. Errors: UnknownId, ForeignCustomer, InvalidArgument
  /// (pages of another length), WrongState (a claim is pending, or it reboots).
  [[nodiscard]] Result<void> change_dedicated_pool(VmId vm, DedicatedPoolId pool);

  /// From now on, for pending claims too: those choose their memory anew, in their turn. What was granted stands.
  /// Errors: UnknownId, InvalidArgument (a reservation below 0).
  [[nodiscard]] Result<void> change_settings(VmId vm, const RecycleSettings& settings);
  /// The same for scrubs. Errors: InvalidArgument (a delay below 0), UnknownId.
  [[nodiscard]] Result<void> change_scrub_settings(VmId vm, const ScrubSettings& settings);
  /// The same for where its next memory lies; the length of its pages stays. Errors: InvalidArgument, UnknownId,
  /// WrongState (a claim is pending).
  [[nodiscard]] Result<void> change_placement(VmId vm, const Placement& placement);
  /// The VM's own say, instead of its settings: about all recycling, about that after a reboot, or about both.
  /// Errors: UnknownId, NotPermitted (it switches on what the provider has locked: VmProfile::may_say).
  [[nodiscard]] Result<void> switch_recycling(VmId vm, const VmSay& say);

  /// All of what can change by policies, of all of these VMs or of none. Pending claims choose anew when all of them
  /// are changed, in their turn. What a VM said itself and may say no more is withdrawn. Errors: as change_settings,
  /// change_scrub_settings, change_trust_group; as change_dedicated_pool for VMs whose pool is another. They name the
  /// VM.
  [[nodiscard]] Result<void> change_vms(std::span<const VmPolicy> policies);

  /// In a hunt for bad memory: nobody (`vm` unset), or not this VM, gets this memory, in whole pages, until
  /// absolve(). Whoever holds it keeps it. Errors: InvalidArgument (outside the pool, no whole pages), UnknownId,
  /// WrongState (some of it is being scrubbed or granted: try again after the next poll).
  [[nodiscard]] Result<void> suspect(MemorySpan memory, VmId vm = {});
  /// Everything that was suspect for this VM (unset: for all) is as good as other memory again. Ending a VM does it
  /// too. Errors: UnknownId.
  [[nodiscard]] Result<void> absolve(VmId vm = {});
  /// What is suspect for this VM (unset: for all). bytes
  [[nodiscard]] ByteCount suspect_bytes(VmId vm = {}) const;
  /// Fills all free memory that is suspect for this VM (unset: for all) with each of the patterns (none: 0x55 and 0xAA
  /// in all bytes, then 0) and reads it back, while nothing is urgent. Nobody gets any of it meanwhile; what becomes
  /// free meanwhile is not tested. Pages that do not hold a pattern are Quarantined. The rest stays suspect, and is
  /// Clean if the last pattern was 0. If the claim is abandoned, what is under way ends, and the rest stays as it was.
  /// Errors: UnknownId, WrongState (such a test runs), OutOfMemory (no such memory is free), NoResources.
  [[nodiscard]] Result<ClaimId> test_suspect(VmId vm, std::vector<std::uint64_t> patterns, SuspectHandler handler);

  /// Whether a VM is between begin_reboot() and finish_reboot(). False: also without such a VM.
  [[nodiscard]] bool reboots(VmId vm) const;

  /// More memory for a running VM, as when its balloon deflates. The handler gets the Grant, or OutOfMemory,
  /// ScrubUnavailable, Abandoned. Errors: UnknownId, InvalidArgument, WrongState, OutOfMemory.
  [[nodiscard]] Result<ClaimId> allocate(VmId vm, ByteCount length, GrantHandler handler);
  /// A running VM gives memory back, as when its balloon inflates. Errors: UnknownId, InvalidArgument, NotHeld,
  /// WrongState.
  [[nodiscard]] Result<void> release(VmId vm, MemorySpan memory);
  /// The VM goes down to come back: its memory is reserved for it, or released where its settings allow no reuse after
  /// a reboot. Errors: UnknownId, WrongState.
  [[nodiscard]] Result<void> begin_reboot(VmId vm);
  /// The guest reboots and keeps all memory that it holds: it is returned to it before the reboot. Errors: UnknownId,
  /// WrongState, NotPermitted (its settings allow no reuse after a reboot: begin_reboot() scrubs).
  [[nodiscard]] Result<void> reboot_in_place(VmId vm);
  /// The VM comes back, or is about to, with `length` bytes, its own first, or none of its own (force_new_memory). What
  /// it does not need any more is released, or stays reserved for its next allocate() (retain_memory); all of it is
  /// released if the claim is abandoned or fails later. Errors as allocate().
  [[nodiscard]] Result<ClaimId> finish_reboot(VmId vm, ByteCount length, GrantHandler handler);
  /// The VM is gone for good. Errors: UnknownId, WrongState (a claim is pending).
  [[nodiscard]] Result<void> terminate(VmId vm);

  /// Gives up a pending claim; its handler gets Abandoned. False: no such claim is pending.
  bool abandon(ClaimId claim);

  /// Submits scrubs, handles completions, calls handlers. Call it while has_work().
  void poll();
  [[nodiscard]] bool has_work() const;
  /// When scrubs that are scheduled for later are due: call poll() then. By ScrubberConfig::clock.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_scheduled() const;
  [[nodiscard]] std::chrono::nanoseconds now() const;

  /// The end: nothing more is scrubbed or granted. What an engine works on is Quarantined, pending claims get
  /// ScrubUnavailable at the next poll(), and new ones at once. Returns the bytes that were in flight.
  ByteCount stop();

  /// Why nothing can be scrubbed any more, if so.
  [[nodiscard]] std::optional<Error> fault() const;
  /// Why the engine refused the last job that it refused for good. Memory of such jobs is Quarantined.
  [[nodiscard]] std::optional<Error> last_refusal() const;
  /// Every byte and its state: sluice/memory/extent_table.hpp.
  [[nodiscard]] const ExtentTable& extents() const;
  [[nodiscard]] const Statistics& statistics() const;
  void reset_statistics();
  [[nodiscard]] std::size_t jobs_in_flight() const;
  /// Readable when a poll has something to do because the engine has; -1: poll while has_work(). It may change.
  [[nodiscard]] int completion_fd() const noexcept;
  /// All memory that this VM could be granted now, besides what it holds. bytes
  [[nodiscard]] ByteCount available_to(VmId vm) const;

 private:
  struct Parts;
  explicit MemoryManager(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::inline manager
