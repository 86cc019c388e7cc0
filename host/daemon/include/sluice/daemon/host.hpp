// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sluice/daemon/audit.hpp"
#include "sluice/daemon/config.hpp"
#include "sluice/daemon/stores.hpp"
#include "sluice/daemon/wire.hpp"
#include "sluice/manager/policy_manager.hpp"
#include "sluice/vmm/guest_memory.hpp"
#include "sluice/vmm/leases.hpp"
#include "sluice/vmm/qmp.hpp"

namespace sluice::inline daemon {

/// What a host needs of the world around it. Called from Host's calls; none of it may call back at once.
class HostEnvironment {
 public:
  HostEnvironment() = default;
  HostEnvironment(const HostEnvironment&) = delete;
  HostEnvironment& operator=(const HostEnvironment&) = delete;
  virtual ~HostEnvironment() = default;

  /// Host::process_ended() is to be called when this process has ended. In place of an earlier one of the VM.
  virtual void watch(VmId vm, Process process) = 0;
  /// A listening socket for the monitor of this VM: the VMM gets it and accepts, and somebody here connects, now or
  /// after a restart. The caller closes the descriptor. Errors: NoResources.
  [[nodiscard]] virtual Result<int> listen_for_monitor(VmId vm) = 0;
  /// The VMM has the monitor's socket, or had it before a restart: connects to it.
  virtual void follow_monitor(VmId vm) = 0;
  /// Has the VM's monitor reset it. False: it has none that answers.
  [[nodiscard]] virtual bool reset(VmId vm) = 0;
  /// The VM's process must end: by its monitor where it has one that answers, else it is killed.
  virtual void end_process(VmId vm) = 0;
  /// What policies allow VMs to keep through a reboot may have changed: Host::keeps_memory_through_reboot().
  virtual void policies_changed() = 0;
  /// The VM's process has ended, or the VM: nothing of it is watched any more, and its socket goes.
  virtual void forget(VmId vm) = 0;
};

/// What a VMM is given.
struct GrantedLease {
  LeaseGrant grant;
  int monitor = -1;  ///< The caller closes it. -1: none was wanted.
};

/// The VMs of a host, by their UUIDs, with their leases and policies: what the requests of VMMs do, whoever brings
/// them. Not thread-safe; handlers are called as Leases calls them. A call that returns an error has changed nothing.
/// The codes of errors: InvalidArgument (sizes that no bricks have), UnknownId, WrongState, NotPermitted,
/// ForeignCustomer, OutOfMemory, ScrubUnavailable, Abandoned, NoResources.
class Host {
 public:
  using LeaseAnswer = std::function<void(Result<GrantedLease>)>;

  /// `memory` is the manager's, and its bricks are whole.
  Host(PolicyManager& policies, const BackingMemory& memory, BrickAccess& access, LeaseStore& leases, StateStore& state,
       Audit& audit, HostEnvironment& environment, CustomerId customer, const LeaseOptions& options = {});
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Once, before all else: goes on with the VMs of an earlier process, by what the manager has found and the store
  /// knows. A VM whose process has ended meanwhile ends now; one that nobody knows ends when nobody has its memory.
  /// Errors: as Leases::take_free_bricks(), and of the store.
  [[nodiscard]] Result<void> recover();

  /// A VM comes, or comes back: with a new process in each case.
  [[nodiscard]] Result<void> acquire(const AcquireRequest& request, Process process, LeaseAnswer answer);
  // Only the process that has the lease asks for these. Errors: NotPermitted.
  [[nodiscard]] Result<void> grow(const GrowRequest& request, const ProcessId& caller, LeaseAnswer answer);
  [[nodiscard]] Result<void> give_back(const ShrinkRequest& request, const ProcessId& caller, ReturnHandler answer);
  [[nodiscard]] Result<void> notify(const NotifyRequest& request, const ProcessId& caller);
  [[nodiscard]] Result<void> release(const ReleaseRequest& request, const ProcessId& caller);
  enum class Reboot : std::uint8_t {
    Reset,      ///< Its monitor resets it.
    Announced,  ///< It has none that answers: whoever runs it is to replace its process.
  };
  /// Reboots a VM: what follows is what follows a reboot by its guest. Errors: UnknownId, WrongState.
  [[nodiscard]] Result<Reboot> reboot(VmId vm);
  /// The VM will come back with another process, however this one ends. Errors: UnknownId, WrongState.
  [[nodiscard]] Result<void> announce_reboot(VmId vm);
  /// What a lease was given could not be passed on: nobody has it.
  void not_delivered(const LeaseGrant& grant);
  [[nodiscard]] LeaseStatus status(const Uuid& uuid) const;

  /// Whether the VM may reboot in its process, with the memory that it has. Otherwise that process must end.
  [[nodiscard]] bool keeps_memory_through_reboot(VmId vm) const;
  /// What the VM's monitor has said, and why the VM ends by all that it has said.
  void monitor_said(VmId vm, const QmpEvent& event, EndReason reason);
  /// What its VMM has mapped. What is no lease's is said loudly, as nobody here cleans it.
  void has_mapped(VmId vm, const GuestMemory& memory);
  /// How much of a VM's memory is no lease's, as far as it was looked at.
  [[nodiscard]] ByteCount unleased(VmId vm) const;
  /// The process that was watched for this VM has ended.
  void process_ended(VmId vm);
  /// For ScrubberConfig::on_scrubbed.
  void scrubbed(const ScrubRecord& record);
  /// Called when a VM has come into a state: that of its lease, or "ended". It calls nothing here.
  void on_state(std::function<void(const VmRecord&, std::string_view state)> told) { told_ = std::move(told); }
  /// No more VMs: requests for memory are refused from now on.
  void stop() { stopping_ = true; }

  [[nodiscard]] Leases& leases() { return leases_; }
  [[nodiscard]] Audit& audit() { return *audit_; }
  /// How a brick was handed over last, also by an earlier process of ours, which a lease that was restored cannot say.
  [[nodiscard]] const Audit::BrickFacts& last_of(std::uint32_t brick) const { return last_.at(brick); }
  /// By their ids.
  [[nodiscard]] const std::map<VmId, VmRecord>& vms() const { return vms_; }

 private:
  [[nodiscard]] Result<ByteCount> unit_for(std::span<const ByteCount> bricks, ByteCount size) const;
  [[nodiscard]] std::string lengths() const;
  [[nodiscard]] Result<VmRecord> make_record(const AcquireRequest& request, const ProcessId& process);
  [[nodiscard]] Result<void> create(const VmRecord& record, const std::optional<std::uint32_t>& node);
  [[nodiscard]] Result<void> end_vm(VmId vm);
  void rebooted_in_place(VmId vm);
  [[nodiscard]] Result<void> note_hand_over(const LeaseGrant& grant);
  void note_return(VmId vm, std::uint32_t brick, bool reserved);
  [[nodiscard]] Result<void> complete_audit();
  [[nodiscard]] Result<void> adopt(const VmRecord& record);
  [[nodiscard]] Result<void> check(LeaseId lease, const ProcessId& caller) const;

  PolicyManager* policies_;
  std::span<const Brick> bricks_;
  LeaseStore* store_;
  StateStore* state_;
  Audit* audit_;
  HostEnvironment* environment_;
  CustomerId customer_;
  bool stopping_ = false;
  std::function<void(const VmRecord&, std::string_view)> told_ = [](const VmRecord&, std::string_view) {};
  std::map<VmId, VmRecord> vms_;
  std::map<Uuid, VmId> by_uuid_;
  std::map<VmId, EndReason> reasons_;   ///< Why VMs end, by their monitors.
  std::map<VmId, ByteCount> unleased_;  ///< Of VMs that have memory which is not ours.
  std::set<VmId> announced_;            ///< They come back with another process: somebody has said so.
  std::map<const std::byte*, std::uint32_t> by_address_;  ///< Bricks.
  std::vector<Audit::BrickFacts> last_;                   ///< Who got each brick last; of bricks in use nothing more.
  Leases leases_;
};

}  // namespace sluice::inline daemon
