// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/extent_table.hpp"

namespace sluice::inline manager {

/// Who is there: VMs, dedicated pools and trust groups, who belongs to whom, and who has ended. Pure: of the memory it
/// knows the zones and nothing else. A call that returns an error has changed nothing.
class Tenants {
 public:
  enum class VmPhase : std::uint8_t { Running, Rebooting };
  struct Vm {
    VmProfile profile;  ///< Its pages are set.
    VmPhase phase = VmPhase::Running;
    VmSay say;
    std::uint32_t claims = 0;  ///< Whose handlers have not been called.
    BootNumber boot = 0;
    bool has_rebooted = false;
    std::chrono::nanoseconds down_since{0};  ///< Rebooting.
  };
  struct Pool {
    CustomerId customer;
    Placement placement;  ///< Its pages are set.
    bool shares = false;
    std::optional<PoolRule> rule = std::nullopt;
    std::uint32_t vms = 0;
    std::uint32_t claims = 0;  ///< But for those by its rule.
    bool ready = false;
  };

  /// `zones` outlive it.
  explicit Tenants(std::span<const Zone> zones) : zones_(zones) {}

  // VMs. The errors are those of MemoryManager.
  [[nodiscard]] Result<Vm*> find_vm(VmId vm);
  [[nodiscard]] const Vm* look_up(VmId vm) const;
  [[nodiscard]] Result<Vm*> find_vm_without_claims(VmId vm);
  [[nodiscard]] Result<Vm*> find_running_vm(VmId vm, const char* what_to_do);
  /// One that waits for its memory.
  [[nodiscard]] Result<Vm*> find_rebooting_vm(VmId vm);
  /// The profile of a VM that may be added, with its pages.
  [[nodiscard]] Result<VmProfile> check_new_vm(const VmProfile& profile);
  /// One that was checked.
  void add_vm(const VmProfile& profile);
  void end_vm(VmId vm);
  [[nodiscard]] Result<Vm*> begin_reboot(VmId vm);
  [[nodiscard]] Result<const Vm*> reboot_in_place(VmId vm);
  [[nodiscard]] Result<void> change_settings(VmId vm, const RecycleSettings& settings);
  [[nodiscard]] Result<void> switch_recycling(VmId vm, const VmSay& say);
  [[nodiscard]] Result<void> change_dedicated_pool(VmId vm, DedicatedPoolId pool);
  [[nodiscard]] Result<void> change_scrub_settings(VmId vm, const ScrubSettings& settings);
  /// Whether change() can be called.
  [[nodiscard]] Result<void> check_change(const VmPolicy& policy);
  /// One that was checked.
  void change(const VmPolicy& policy);
  [[nodiscard]] Result<void> change_placement(VmId vm, const Placement& placement);
  [[nodiscard]] const std::unordered_map<VmId, Vm>& vms() const { return vms_; }

  /// VMs that held memory before a crash and that nobody has spoken for.
  [[nodiscard]] const std::set<VmId>& unadopted() const { return unadopted_; }
  void add_unadopted(VmId vm) { unadopted_.insert(vm); }
  /// False: there was none of that id.
  bool take_unadopted(VmId vm) { return unadopted_.erase(vm) > 0; }
  /// One that was taken does not live.
  void end_unadopted(VmId vm) { ended_vms_.insert(vm); }
  /// Dedicated pools that had memory before a crash and that nobody has spoken for.
  [[nodiscard]] const std::set<DedicatedPoolId>& unadopted_pools() const { return unadopted_pools_; }
  void add_unadopted_pool(DedicatedPoolId pool) { unadopted_pools_.insert(pool); }
  /// A pool that was found is there again: one that was checked.
  void adopt_pool(DedicatedPoolId pool, const Pool& facts);

  // Trust groups (trust_groups.cpp)
  [[nodiscard]] Result<void> create_trust_group(TrustGroupId group, CustomerId customer, TrustGroupId inside);
  [[nodiscard]] Result<void> enable_trust_group(TrustGroupId group, bool enabled);
  [[nodiscard]] Result<void> destroy_trust_group(TrustGroupId group);
  [[nodiscard]] Result<void> change_trust_group(VmId vm, TrustGroupId group);
  [[nodiscard]] std::optional<GroupFacts> trust_group(TrustGroupId group) const;

  // Dedicated pools
  [[nodiscard]] Result<Pool*> find_pool(DedicatedPoolId pool);
  /// One that nobody uses.
  [[nodiscard]] Result<Pool*> find_idle_pool(DedicatedPoolId pool);
  /// Two pools of one customer with pages of one length.
  [[nodiscard]] Result<void> check_pair(DedicatedPoolId pool, DedicatedPoolId other);
  /// All VMs of `from` are `to`'s.
  void move_vms(DedicatedPoolId from, DedicatedPoolId to);
  [[nodiscard]] const std::unordered_map<DedicatedPoolId, Pool>& pools() const { return pools_; }
  [[nodiscard]] Result<void> check_new_pool(DedicatedPoolId pool) const;
  /// The shared pool keeps so much. bytes
  void keep_shared(ByteCount minimum) { shared_minimum_ = minimum; }
  [[nodiscard]] ByteCount shared_minimum() const { return shared_minimum_; }
  /// Whether a dedicated pool may grow by `length` bytes of the shared pool.
  [[nodiscard]] bool may_leave_shared(const ExtentTable& table, ByteCount length) const {
    const ByteCount shared = table.bytes_in({});
    return shared >= shared_minimum_ && shared - shared_minimum_ >= length;
  }
  /// Whether its rule allows the pool `length` bytes more.
  [[nodiscard]] bool may_grow(const ExtentTable& table, DedicatedPoolId pool, ByteCount length) const {
    const std::optional<PoolRule>& rule = pools_.at(pool).rule;
    const ByteCount size = table.bytes_in(pool);
    return !rule || (size <= rule->largest && length <= rule->largest - size);
  }
  void add_pool(DedicatedPoolId pool, const Pool& facts) { pools_.emplace(pool, facts); }
  /// As if it had never been.
  void forget_pool(DedicatedPoolId pool) { pools_.erase(pool); }
  void end_pool(DedicatedPoolId pool);
  void set_rule(DedicatedPoolId pool, const std::optional<PoolRule>& rule) { pools_.at(pool).rule = rule; }
  /// Its memory has joined it.
  void set_ready(DedicatedPoolId pool) { pools_.at(pool).ready = true; }

  /// With the pages that memory there will have: those of the VM's or the pool's old memory, if there is any.
  [[nodiscard]] Result<Placement> complete(Placement placement, const Placement& like = {}) const;
  [[nodiscard]] Error no_such_memory(const Placement& placement) const;

  // Claims
  [[nodiscard]] Claim claim_for(const Vm& vm, ClaimKind kind, ByteCount length) const;
  [[nodiscard]] Claim claim_for(DedicatedPoolId pool, ByteCount length) const;
  /// The groups of a claim's VM as they are now. A disabled group is none, and so is one around it.
  void set_groups(Claim& claim) const;
  void claim_started(const Claim& claim);
  /// Its user knows what came of it: until now the VM could not end or reboot, nor the pool end.
  void claim_notified(const Claim& claim);

 private:
  struct Group {
    CustomerId customer;
    TrustGroupId inside;
    std::uint64_t epoch = 1;
    bool enabled = true;
    std::uint32_t vms = 0;
    std::uint32_t groups = 0;  ///< Inside it.
  };

  [[nodiscard]] Result<void> check_other_pool(VmId vm, DedicatedPoolId pool);
  void set_pool(VmProfile& profile, DedicatedPoolId pool);
  void set_group(VmProfile& profile, TrustGroupId group);
  [[nodiscard]] Result<Group*> find_group(TrustGroupId group, CustomerId customer);
  [[nodiscard]] TrustGroupId root_of(TrustGroupId group) const;

  std::span<const Zone> zones_;
  std::unordered_map<VmId, Vm> vms_;
  std::unordered_map<TrustGroupId, Group> groups_;
  std::unordered_map<DedicatedPoolId, Pool> pools_;
  std::set<VmId> unadopted_;
  std::set<DedicatedPoolId> unadopted_pools_;
  std::unordered_set<VmId> ended_vms_;
  std::unordered_set<DedicatedPoolId> ended_pools_;
  std::unordered_set<TrustGroupId> ended_groups_;
  BootNumber last_boot_ = 0;
  ByteCount shared_minimum_;
};

}  // namespace sluice::inline manager
