// SPDX-License-Identifier: Apache-2.0
// The calls: each looks whether it makes sense, and has the parts do it. Dedicated pools are in dedicated_pools.cpp.
#include "sluice/manager/memory_manager.hpp"

#include "availability.hpp"
#include "parts.hpp"

namespace sluice::inline manager {

MemoryManager::MemoryManager(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

/// Says nothing to the ledger: a new manager finds memory as this one leaves it.
MemoryManager::~MemoryManager() {
  const Error reason{HostErrc::Abandoned, "the memory manager was destroyed"};
  parts_->scrubber.close(reason);
  parts_->claims.forget(reason);
  parts_->notifications.close(reason);
}

std::optional<std::chrono::nanoseconds> MemoryManager::next_scheduled() const {
  const auto scrub = parts_->scrubber.next_scheduled();
  const auto expiry = parts_->holdings.next_expiry();
  if (parts_->claims.closed() || !expiry || *expiry <= now()) return scrub;
  return scrub ? std::min(scrub, expiry) : expiry;
}
std::chrono::nanoseconds MemoryManager::now() const { return parts_->scrubber.now(); }
std::optional<Error> MemoryManager::fault() const { return parts_->scrubber.fault(); }
std::optional<Error> MemoryManager::last_refusal() const { return parts_->scrubber.last_refusal(); }
int MemoryManager::completion_fd() const noexcept { return parts_->scrubber.completion_fd(); }
std::size_t MemoryManager::jobs_in_flight() const { return parts_->scrubber.jobs_in_flight(); }
const ExtentTable& MemoryManager::extents() const { return parts_->table; }
const Statistics& MemoryManager::statistics() const { return parts_->statistics; }
void MemoryManager::reset_statistics() { parts_->statistics = {}; }

Result<void> MemoryManager::create_trust_group(TrustGroupId group, CustomerId customer, TrustGroupId inside) {
  return parts_->tenants.create_trust_group(group, customer, inside);
}
Result<void> MemoryManager::enable_trust_group(TrustGroupId group, bool enabled) {
  return parts_->tenants.enable_trust_group(group, enabled);
}
Result<void> MemoryManager::destroy_trust_group(TrustGroupId group) {
  return parts_->tenants.destroy_trust_group(group);
}
std::optional<GroupFacts> MemoryManager::trust_group(TrustGroupId group) const {
  return parts_->tenants.trust_group(group);
}
Result<void> MemoryManager::create_vm(const VmProfile& profile) {
  auto checked = parts_->tenants.check_new_vm(profile);
  if (!checked) return checked.error();
  if (parts_->ledger != nullptr) {
    if (auto entered = parts_->ledger->enter(profile.vm, profile.pool); !entered) return entered;
  }
  parts_->tenants.add_vm(*checked);
  return {};
}

std::optional<VmProfile> MemoryManager::profile(VmId vm) const {
  const Tenants::Vm* const found = parts_->tenants.look_up(vm);
  return found == nullptr ? std::nullopt : std::optional(found->profile);
}

Result<void> MemoryManager::change_trust_group(VmId vm, TrustGroupId group) {
  if (auto changed = parts_->tenants.change_trust_group(vm, group); !changed) return changed;
  parts_->settings_changed({&vm, 1});
  return {};
}

Result<void> MemoryManager::change_settings(VmId vm, const RecycleSettings& settings) {
  if (auto changed = parts_->tenants.change_settings(vm, settings); !changed) return changed;
  parts_->settings_changed({&vm, 1});
  return {};
}

Result<void> MemoryManager::switch_recycling(VmId vm, const VmSay& say) {
  if (auto changed = parts_->tenants.switch_recycling(vm, say); !changed) return changed;
  parts_->settings_changed({&vm, 1});
  return {};
}

Result<void> MemoryManager::change_scrub_settings(VmId vm, const ScrubSettings& settings) {
  if (auto changed = parts_->tenants.change_scrub_settings(vm, settings); !changed) return changed;
  parts_->settings_changed({&vm, 1});
  return {};
}

Result<void> MemoryManager::change_vms(std::span<const VmPolicy> policies) {
  for (const VmPolicy& policy : policies) {
    if (auto checked = parts_->tenants.check_change(policy); !checked) return checked;
  }
  for (const VmPolicy& policy : policies) {
    if (parts_->ledger == nullptr) break;
    if (auto entered = parts_->ledger->enter(policy.vm, policy.pool); !entered) return entered;
  }
  std::vector<VmId> changed;
  for (const VmPolicy& policy : policies) {
    const DedicatedPoolId old = parts_->tenants.look_up(policy.vm)->profile.pool;
    parts_->tenants.change(policy);
    if (old != policy.pool) parts_->holdings.leave_pool(policy.vm, old);
    changed.push_back(policy.vm);
  }
  parts_->settings_changed(changed);
  return {};
}

/// Pending claims choose anew, and what is reserved is kept or let go as the VMs have it now.
void MemoryManager::Parts::settings_changed(std::span<const VmId> vms) {
  std::vector<VmId> come_back;
  for (const VmId vm : vms) {
    if (claims.comes_back(vm)) come_back.push_back(vm);
    claims.take_back(vm);
  }
  for (const VmId vm : vms) {
    const Tenants::Vm& changed = *tenants.look_up(vm);
    if (!holdings.lends(changed)) claims.return_loans(vm);
    holdings.settings_changed(changed, claims.comes_back(vm) || changed.phase == Tenants::VmPhase::Rebooting);
  }
  claims.choose_anew(vms);
  for (const VmId vm : come_back) holdings.release_reserved(vm, Holdings::Keep::ForNextClaim);
  scrubber.pump();
}

Result<void> MemoryManager::change_placement(VmId vm, const Placement& placement) {
  return parts_->tenants.change_placement(vm, placement);
}

Result<ClaimId> MemoryManager::allocate(VmId vm, ByteCount length, GrantHandler handler) {
  auto found = parts_->tenants.find_running_vm(vm, "finish that first");
  if (!found) return found.error();
  return parts_->claims.start(parts_->tenants.claim_for(**found, ClaimKind::Grow, length), std::move(handler), {});
}

Result<void> MemoryManager::release(VmId vm, MemorySpan memory) {
  auto found = parts_->tenants.find_running_vm(vm, "release its memory when it is back");
  if (!found) return found.error();
  if (auto released = parts_->holdings.release(**found, memory); !released) return released;
  parts_->scrubber.pump();
  return {};
}

Result<void> MemoryManager::begin_reboot(VmId vm) {
  auto begun = parts_->tenants.begin_reboot(vm);
  if (!begun) return begun.error();
  if (parts_->ledger != nullptr) parts_->ledger->set_rebooting(vm, true);
  (*begun)->down_since = now();
  parts_->holdings.reserve(**begun, parts_->promised_at_reboot(**begun));
  parts_->rules.limits_changed();
  parts_->scrubber.pump();
  return {};
}

Holdings::Promised MemoryManager::Parts::promised_at_reboot(const Tenants::Vm& vm) const {
  return {claims.claimed_by_pools(), claims.claimed_by(vm.profile.pool)};
}

Result<void> MemoryManager::reboot_in_place(VmId vm) {
  auto changed = parts_->tenants.reboot_in_place(vm);
  if (!changed) return changed.error();
  parts_->holdings.keep_through_reboot(**changed, parts_->promised_at_reboot(**changed));
  parts_->rules.limits_changed();
  return {};
}

Result<ClaimId> MemoryManager::finish_reboot(VmId vm, ByteCount length, GrantHandler handler) {
  auto found = parts_->tenants.find_rebooting_vm(vm);
  if (!found) return found.error();
  const Claim claim = parts_->tenants.claim_for(**found, ClaimKind::Reboot, length);
  auto started = parts_->claims.start(claim, std::move(handler), {});
  if (!started) return started;
  (*found)->phase = Tenants::VmPhase::Running;
  parts_->holdings.release_reserved(vm, Holdings::Keep::ForNextClaim);
  return started;
}

Result<void> MemoryManager::terminate(VmId vm) {
  const bool unadopted = parts_->tenants.take_unadopted(vm);
  if (unadopted) {
    parts_->holdings.release_unadopted(vm);
    parts_->tenants.end_unadopted(vm);
  } else {
    auto found = parts_->tenants.find_vm_without_claims(vm);
    if (!found) return found.error();
    const DedicatedPoolId pool = (*found)->profile.pool;
    parts_->claims.return_loans(vm);
    parts_->holdings.release_all(**found);
    parts_->tenants.end_vm(vm);
    parts_->holdings.leave_pool(vm, pool);
  }
  for (Extent* extent : parts_->table.all_of(Domain::suspect(vm))) parts_->table.absolve(*extent, vm);
  if (parts_->ledger != nullptr) parts_->ledger->forget(vm);
  parts_->scrubber.pump();
  return {};
}

Result<void> MemoryManager::suspect(MemorySpan memory, VmId vm) {
  if (vm.is_set()) {
    if (auto found = parts_->tenants.find_vm(vm); !found) return found.error();
  }
  return parts_->holdings.suspect(memory, vm);
}

Result<void> MemoryManager::absolve(VmId vm) {
  if (vm.is_set()) {
    if (auto found = parts_->tenants.find_vm(vm); !found) return found.error();
  }
  for (Extent* extent : parts_->table.all_of(Domain::suspect(vm))) {
    parts_->table.absolve(*extent, vm);
  }
  return {};
}

Result<ClaimId> MemoryManager::test_suspect(VmId vm, std::vector<std::uint64_t> patterns, SuspectHandler handler) {
  if (vm.is_set()) {
    if (auto found = parts_->tenants.find_vm(vm); !found) return found.error();
  }
  return parts_->claims.start_test(vm, std::move(patterns), std::move(handler));
}

ByteCount MemoryManager::suspect_bytes(VmId vm) const {
  ByteCount bytes;
  for (const Extent* extent : parts_->table.all_of(Domain::suspect(vm))) bytes += extent->length();
  return bytes;
}

ByteCount MemoryManager::available_to(VmId vm) const {
  const Tenants::Vm* const found = parts_->tenants.look_up(vm);
  if (found == nullptr) return {};
  const ClaimKind kind = found->phase == Tenants::VmPhase::Rebooting ? ClaimKind::Reboot : ClaimKind::Grow;
  return available_for(parts_->table, parts_->tenants.claim_for(*found, kind, {}));
}

bool MemoryManager::reboots(VmId vm) const {
  const Tenants::Vm* const found = parts_->tenants.look_up(vm);
  return found != nullptr && found->phase == Tenants::VmPhase::Rebooting;
}

bool MemoryManager::abandon(ClaimId claim) { return parts_->claims.abandon(claim); }

ByteCount MemoryManager::stop() {
  const Error reason{HostErrc::ScrubUnavailable, "the memory manager was stopped"};
  const ByteCount in_flight = parts_->scrubber.stop(reason);
  parts_->claims.close(reason);
  return in_flight;
}

bool MemoryManager::has_work() const {
  const auto expiry = parts_->holdings.next_expiry();
  return !parts_->notifications.empty() || parts_->claims.any_pending() || parts_->scrubber.has_work() ||
         parts_->rules.has_work() || (expiry && *expiry <= now() && !parts_->claims.closed());
}

void MemoryManager::poll() {
  Scrubber& scrubber = parts_->scrubber;
  Claims& claims = parts_->claims;
  if (!claims.closed()) {
    parts_->holdings.expire();
    parts_->rules.apply();
    do {  // what is refused leaves service, so this ends
      scrubber.pump();
      scrubber.collect(claims);
      claims.end_if_nothing_is_scrubbed();
      claims.retry_waiting();
      scrubber.pump();
      claims.end_if_nothing_is_scrubbed();
    } while (scrubber.has_refusals());
  }
  parts_->notifications.deliver();
}

}  // namespace sluice::inline manager
