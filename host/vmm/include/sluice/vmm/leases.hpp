// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "sluice/manager/memory_manager.hpp"
#include "sluice/vmm/brick_access.hpp"

namespace sluice::inline vmm {

/// The lease of one VM, from when it got its memory until the process that had it has ended and nobody has it any more.
struct LeaseId {
  VmId vm;
  std::uint64_t epoch = 0;  ///< 1 for the first lease of a VM; one more for each that follows a reboot.
  auto operator<=>(const LeaseId&) const = default;
};

enum class LeaseState : std::uint8_t {
  Waiting,      ///< For memory.
  Running,      ///< The VM's process has the memory.
  Ending,       ///< That process has ended. Who else has the memory is found out.
  Quarantined,  ///< The same for longer than LeaseOptions::patience: somebody else has it.
  Reserved,     ///< The VM reboots, and its memory waits for it.
};

[[nodiscard]] std::string_view to_string(LeaseState state);

struct LeasedBrick {
  std::uint32_t number = 0;  ///< In BackingMemory::bricks().
  ByteCount length;
  bool recycled = false;                 ///< Handed over as it was.
  Reason reason = Reason::UnknownOwner;  ///< Why; meaningful only if it was.
  bool operator==(const LeasedBrick&) const = default;
};

/// What is known of a lease.
struct LeaseFacts {
  LeaseId id;
  LeaseState state = LeaseState::Waiting;
  bool filtered = false;
  std::vector<LeasedBrick> bricks;  ///< That the VM holds. Reserved: none; it is granted them anew.
  std::vector<Holder> holders;      ///< Quarantined: who had them at the last look.
  std::string obstacle;             ///< Quarantined: what stands in the way, and what to do about it.
};

/// Bricks that a VM was just given, and for each an open descriptor, which whoever takes the grant closes.
struct LeaseGrant {
  LeaseId id;
  std::vector<LeasedBrick> bricks;
  std::vector<int> descriptors;
};

using LeaseHandler = std::function<void(Result<LeaseGrant>)>;
using ReturnHandler = std::function<void(Result<void>)>;

struct LeaseOptions {
  /// After so long memory that should have come back is Quarantined, and a shrink is refused.
  std::chrono::nanoseconds patience = std::chrono::milliseconds(100);
  /// Between two looks at who has a brick, at first; then twice as long each time, up to `slowest_look`.
  std::chrono::nanoseconds first_look = std::chrono::milliseconds(1);
  std::chrono::nanoseconds slowest_look = std::chrono::seconds(1);
};

/// Gives bricks to the processes of VMs, and takes them back.
///
/// A VM's memory is whole bricks (Brick::whole). A brick goes to a process by a descriptor, and is the manager's again
/// when that process has ended, or says that it has let go of it, and nobody on the host has the file open or mapped
/// (sole_access.hpp): before that it is not scrubbed, and nobody else gets it. From then until it is given to somebody
/// again this process has sole access to it. Memory of a process that may have pinned pages (not `filtered`) is renewed
/// by the kernel before it is anybody else's.
///
/// The manager's VMs are created by the caller, and only this class allocates, releases and reboots them. Sans-I/O
/// like the manager, but for BrickAccess: no thread, no clock of its own. Handlers are called from poll() or from the
/// manager's, never inside the call that took them. Not thread-safe. It is destroyed before the manager. A call that
/// returns an error has changed nothing.
class Leases {
 public:
  /// The manager's answer to the end of a VM: MemoryManager::terminate(), or PolicyManager's.
  using EndVm = std::function<Result<void>(VmId)>;

  /// `memory` is the manager's.
  Leases(MemoryManager& manager, const BackingMemory& memory, BrickAccess& access, EndVm end_vm,
         const LeaseOptions& options = {});
  ~Leases();
  Leases(const Leases&) = delete;
  Leases& operator=(const Leases&) = delete;

  /// Takes sole access to every whole brick that no VM holds: for a manager that goes on with bricks that were there
  /// before. Errors: WrongState with the brick and its holders, as take_sole_access().
  [[nodiscard]] Result<void> take_free_bricks();

  /// Memory for a VM of the manager that has none yet, or that is Reserved and comes back. The handler gets the grant,
  /// or OutOfMemory, ScrubUnavailable, Abandoned, NoResources; the VM has ended then. Errors: as
  /// MemoryManager::allocate() and finish_reboot(); WrongState (it has a lease already).
  [[nodiscard]] Result<void> acquire(VmId vm, ByteCount length, bool filtered, LeaseHandler handler);
  /// The requester has gone: the handler of acquire() or grow() gets Abandoned. Nothing, if no claim is pending.
  void abandon(VmId vm);
  /// More for a running VM; the grant is of the new bricks only. Errors: UnknownId (no such lease), WrongState, and as
  /// MemoryManager::allocate().
  [[nodiscard]] Result<void> grow(LeaseId lease, ByteCount length, LeaseHandler handler);
  /// The VM's process has closed and unmapped these bricks. The handler is called when they are the manager's again, or
  /// with WrongState and who has one of them: then the VM keeps them all. Errors: UnknownId, WrongState (not running,
  /// or another return is under way), NotHeld (a brick that it does not hold, or that is named twice).
  [[nodiscard]] Result<void> give_back(LeaseId lease, std::span<const std::uint32_t> bricks, ReturnHandler handler);
  /// The VM's process has ended, or has let go of everything. It comes back with a new one (`reboots`), so that its
  /// memory is kept for it as its settings allow, or it is gone for good. Errors: UnknownId, WrongState (no process
  /// has its memory).
  [[nodiscard]] Result<void> process_ended(VmId vm, bool reboots);
  /// A VM that is Reserved does not come back. Errors: UnknownId, WrongState.
  [[nodiscard]] Result<void> give_up(VmId vm);
  /// A lease of an earlier process of ours, of a VM that the manager has adopted with this grant: it runs, or is
  /// Reserved if the manager says that it reboots. Errors: WrongState (it has a lease), InvalidArgument (memory that is
  /// no whole brick).
  [[nodiscard]] Result<void> restore(LeaseId lease, const Grant& grant, bool filtered);

  /// nullopt: none.
  [[nodiscard]] std::optional<LeaseFacts> find(VmId vm) const;
  /// In the order of their VMs.
  [[nodiscard]] std::vector<LeaseFacts> all() const;

  /// Looks at who has the bricks that should have come back, as far as it is time. `now` does not go back.
  void poll(std::chrono::nanoseconds now);
  /// When poll() has something to do, by its clock; nullopt: nothing until another call.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_look() const;
  /// Called for each brick that has come back to the manager: a VM has it no more (`reserved`: for now), and nobody
  /// else has. It calls nothing here.
  void on_return(std::function<void(VmId, std::uint32_t brick, bool reserved)> told) { returned_ = std::move(told); }
  /// Called when a lease has come into this state. It calls nothing here.
  void on_change(std::function<void(VmId, LeaseState)> told) { changed_ = std::move(told); }
  /// Called whenever next_look() may have become earlier, from inside other calls: it only takes note.
  void on_next_look(std::function<void()> changed) { next_look_changed_ = std::move(changed); }

 private:
  struct Return;
  struct Lease;

  [[nodiscard]] Result<Lease*> running(LeaseId id);
  void granted(VmId vm, Result<Grant> grant, const LeaseHandler& handler);
  [[nodiscard]] Result<std::vector<int>> open(const std::vector<LeasedBrick>& bricks);
  void take_unseen(Lease& lease, const std::vector<LeasedBrick>& bricks);
  void look(VmId vm);
  void look_at_once(Lease& lease);
  void come_to(Lease& lease, LeaseState state);
  [[nodiscard]] std::optional<Error> take(Lease& lease, const std::vector<std::uint32_t>& bricks);
  [[nodiscard]] Result<void> release(Lease& lease, std::uint32_t number);
  [[nodiscard]] Result<void> finish(Lease& lease);
  void look_again(Lease& lease, Error obstacle);
  void name_holders(Lease& lease, Error& obstacle);

  MemoryManager* manager_;
  std::span<const Brick> bricks_;
  std::map<const std::byte*, std::uint32_t> by_address_;
  BrickAccess* access_;
  EndVm end_vm_;
  LeaseOptions options_;
  std::function<void(VmId, std::uint32_t, bool)> returned_ = [](VmId, std::uint32_t, bool) {};
  std::function<void(VmId, LeaseState)> changed_ = [](VmId, LeaseState) {};
  std::function<void()> next_look_changed_ = [] {};
  std::chrono::nanoseconds now_{0};  ///< Of the last poll.
  std::map<VmId, Lease> leases_;
};

}  // namespace sluice::inline vmm
