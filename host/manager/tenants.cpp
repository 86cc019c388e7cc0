// SPDX-License-Identifier: Apache-2.0
// VMs and dedicated pools, and what they may claim. Trust groups are in trust_groups.cpp.
#include "tenants.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "errors.hpp"

namespace sluice::inline manager {
namespace {

Result<void> check(const RecycleSettings& settings) {
  if (settings.reservation.count() >= 0) return {};
  return Error{HostErrc::InvalidArgument,
               fmt::format("memory is reserved for {} ns during a reboot: give 0 (for ever) or more",
                           settings.reservation.count())};
}

Result<void> check(const ScrubSettings& settings) {
  if (settings.delay.count() >= 0) return {};
  return Error{HostErrc::InvalidArgument,
               fmt::format("a scrub is scheduled {} ns after the release: give 0 or more", settings.delay.count())};
}

Error for_vm(VmId vm, const Error& error) {
  return {error.code, fmt::format("for VM {}: {}", vm.value(), error.message)};
}

}  // namespace

const Tenants::Vm* Tenants::look_up(VmId vm) const {
  const auto found = vms_.find(vm);
  return found == vms_.end() ? nullptr : &found->second;
}

Result<Tenants::Vm*> Tenants::find_vm(VmId vm) {
  const auto found = vms_.find(vm);
  if (found != vms_.end()) return &found->second;
  return Error{HostErrc::UnknownId, fmt::format("VM {} {}: create it first", vm.value(),
                                                ended_vms_.contains(vm) ? "has ended" : "does not exist")};
}

Result<Tenants::Vm*> Tenants::find_vm_without_claims(VmId vm) {
  auto found = find_vm(vm);
  if (found && (*found)->claims > 0) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} has a claim pending: wait for it, or abandon it", vm.value())};
  }
  return found;
}

Result<Tenants::Vm*> Tenants::find_running_vm(VmId vm, const char* what_to_do) {
  auto found = find_vm(vm);
  if (found && (*found)->phase != VmPhase::Running) {
    return Error{HostErrc::WrongState, fmt::format("VM {} reboots: {}", vm.value(), what_to_do)};
  }
  return found;
}

Result<Tenants::Vm*> Tenants::find_rebooting_vm(VmId vm) {
  auto found = find_vm(vm);
  if (found && ((*found)->phase != VmPhase::Rebooting || (*found)->claims > 0)) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} does not wait for its memory: begin a reboot first", vm.value())};
  }
  return found;
}

Result<VmProfile> Tenants::check_new_vm(const VmProfile& profile) {
  if (!profile.vm.is_set()) return errors::unset("VM");
  if (!profile.customer.is_set()) return errors::unset("customer");
  if (vms_.contains(profile.vm) || ended_vms_.contains(profile.vm)) {
    return errors::used_before("VM", profile.vm.value());
  }
  if (auto checked = check(profile.scrub); !checked) return checked.error();
  if (auto checked = check(profile.allowed); !checked) return checked.error();
  Placement of_pool;
  if (profile.group.is_set()) {
    if (auto found = find_group(profile.group, profile.customer); !found) return found.error();
  }
  if (profile.pool.is_set()) {
    auto pool = find_pool(profile.pool);
    if (!pool) return pool.error();
    if ((*pool)->customer != profile.customer) {
      return errors::foreign("pool", profile.pool.value(), profile.customer);
    }
    of_pool = (*pool)->placement;
  }
  auto placement = complete(profile.placement, of_pool);
  if (!placement) return placement.error();
  if (unadopted_.contains(profile.vm)) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} held memory before the crash: adopt it, or terminate it", profile.vm.value())};
  }
  VmProfile completed = profile;
  completed.placement = *placement;
  return completed;
}

void Tenants::add_vm(const VmProfile& profile) {
  if (profile.pool.is_set()) ++pools_.at(profile.pool).vms;
  if (profile.group.is_set()) ++groups_.at(profile.group).vms;
  Vm& vm = vms_.emplace(profile.vm, Vm{profile}).first->second;
  vm.boot = ++last_boot_;
}

void Tenants::end_vm(VmId vm) {
  const VmProfile& profile = vms_.at(vm).profile;
  if (profile.pool.is_set()) --pools_.at(profile.pool).vms;
  if (profile.group.is_set()) --groups_.at(profile.group).vms;
  vms_.erase(vm);
  ended_vms_.insert(vm);
}

Result<Tenants::Vm*> Tenants::begin_reboot(VmId vm) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  if ((*found)->phase != VmPhase::Running || (*found)->claims > 0) {
    return Error{HostErrc::WrongState, fmt::format("VM {} {}: wait for that first", vm.value(),
                                                   (*found)->claims > 0 ? "has a claim pending" : "reboots already")};
  }
  (*found)->phase = VmPhase::Rebooting;
  (*found)->boot = ++last_boot_;
  (*found)->has_rebooted = true;
  return *found;
}

Result<const Tenants::Vm*> Tenants::reboot_in_place(VmId vm) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  const RecycleSettings allowed = claim_for(**found, ClaimKind::Reboot, {}).allowed;
  if (!allowed.enable || !allowed.recycle_on_reboot || allowed.force_new_memory) {
    return Error{
        HostErrc::NotPermitted,
        fmt::format("VM {} keeps its memory through a reboot, and its settings forbid that: begin a reboot, and "
                    "have it scrubbed",
                    vm.value())};
  }
  auto begun = begin_reboot(vm);
  if (!begun) return begun.error();
  (*begun)->phase = VmPhase::Running;
  return *begun;
}

Result<void> Tenants::change_settings(VmId vm, const RecycleSettings& settings) {
  if (auto checked = check(settings); !checked) return checked;
  auto found = find_vm(vm);
  if (!found) return found.error();
  (*found)->profile.allowed = settings;
  return {};
}

Result<void> Tenants::switch_recycling(VmId vm, const VmSay& say) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  const VmSay& may = (*found)->profile.may_say;
  const auto locked = [&](std::optional<bool> wanted, std::optional<bool> permitted) {
    return wanted.value_or(false) && !permitted.value_or(false);
  };
  if (locked(say.enable, may.enable) || locked(say.recycle_on_reboot, may.recycle_on_reboot)) {
    return Error{HostErrc::NotPermitted,
                 fmt::format("VM {} switches {} on, which the provider has locked: ask the provider", vm.value(),
                             locked(say.enable, may.enable) ? "recycling" : "recycling after a reboot")};
  }
  if (say.enable) (*found)->say.enable = say.enable;
  if (say.recycle_on_reboot) (*found)->say.recycle_on_reboot = say.recycle_on_reboot;
  return {};
}

Result<void> Tenants::change_scrub_settings(VmId vm, const ScrubSettings& settings) {
  if (auto checked = check(settings); !checked) return checked;
  auto found = find_vm(vm);
  if (!found) return found.error();
  (*found)->profile.scrub = settings;
  return {};
}

Result<void> Tenants::check_other_pool(VmId vm, DedicatedPoolId pool) {
  if (auto found = find_vm_without_claims(vm); !found) return found.error();
  if (auto running = find_running_vm(vm, "change its pool when it is back"); !running) return running.error();
  if (!pool.is_set()) return {};
  const VmProfile& profile = vms_.at(vm).profile;
  auto target = find_pool(pool);
  if (!target) return for_vm(vm, target.error());
  if ((*target)->customer != profile.customer) {
    return for_vm(vm, errors::foreign("pool", pool.value(), profile.customer));
  }
  const Placement& there = (*target)->placement;
  const Placement& own = profile.placement;
  if (there.pages == own.pages && there.unit == own.unit) return {};
  const bool pages = there.pages != own.pages;
  return Error{HostErrc::InvalidArgument,
               fmt::format("VM {0} has {4} of {1} bytes and pool {2} has {4} of {3}: choose a pool that has the VM's",
                           vm.value(), (pages ? page_length(*own.pages) : *own.unit).value(), pool.value(),
                           (pages ? page_length(*there.pages) : *there.unit).value(), pages ? "pages" : "pieces")};
}

void Tenants::set_pool(VmProfile& profile, DedicatedPoolId pool) {
  if (pool.is_set()) ++pools_.at(pool).vms;
  if (profile.pool.is_set()) --pools_.at(profile.pool).vms;
  profile.pool = pool;
}

Result<void> Tenants::change_dedicated_pool(VmId vm, DedicatedPoolId pool) {
  if (auto checked = check_other_pool(vm, pool); !checked) return checked;
  set_pool(vms_.at(vm).profile, pool);
  return {};
}

Result<void> Tenants::check_change(const VmPolicy& policy) {
  auto found = find_vm(policy.vm);
  if (!found) return found.error();
  if (auto checked = check(policy.allowed); !checked) return for_vm(policy.vm, checked.error());
  if (auto checked = check(policy.scrub); !checked) return for_vm(policy.vm, checked.error());
  const VmProfile& profile = (*found)->profile;
  if (policy.group.is_set()) {
    auto group = find_group(policy.group, profile.customer);
    if (!group) return for_vm(policy.vm, group.error());
  }
  return policy.pool == profile.pool ? Result<void>() : check_other_pool(policy.vm, policy.pool);
}

void Tenants::change(const VmPolicy& policy) {
  Vm& vm = vms_.at(policy.vm);
  set_pool(vm.profile, policy.pool);
  set_group(vm.profile, policy.group);
  vm.profile.allowed = policy.allowed;
  vm.profile.scrub = policy.scrub;
  vm.profile.may_say = policy.may_say;
  if (!policy.may_say.enable.value_or(false) && vm.say.enable.value_or(false)) vm.say.enable.reset();
  if (!policy.may_say.recycle_on_reboot.value_or(false) && vm.say.recycle_on_reboot.value_or(false)) {
    vm.say.recycle_on_reboot.reset();
  }
}

Result<void> Tenants::change_placement(VmId vm, const Placement& placement) {
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  auto completed = complete(placement, (*found)->profile.placement);
  if (!completed) return completed.error();
  (*found)->profile.placement = *completed;
  return {};
}

Result<Tenants::Pool*> Tenants::find_pool(DedicatedPoolId pool) {
  const auto found = pools_.find(pool);
  if (unadopted_pools_.contains(pool)) {
    return Error{HostErrc::UnknownId,
                 fmt::format("pool {} had memory before the crash: adopt it first, or destroy it", pool.value())};
  }
  if (found == pools_.end()) return errors::unknown("pool", pool.value());
  if (!found->second.ready) {
    return Error{HostErrc::WrongState, fmt::format("pool {} is being filled: wait for its handler", pool.value())};
  }
  return &found->second;
}

Result<Tenants::Pool*> Tenants::find_idle_pool(DedicatedPoolId pool) {
  auto found = find_pool(pool);
  if (!found || ((*found)->vms == 0 && (*found)->claims == 0)) return found;
  return Error{HostErrc::WrongState, fmt::format("pool {} has {} VMs and {} pending claims: end them first",
                                                 pool.value(), (*found)->vms, (*found)->claims)};
}

Result<void> Tenants::check_pair(DedicatedPoolId pool, DedicatedPoolId other) {
  auto found = find_pool(pool);
  if (!found) return found.error();
  auto second = find_pool(other);
  if (!second) return second.error();
  if (pool == other) {
    return Error{HostErrc::InvalidArgument, fmt::format("pool {} and itself: give two pools", pool.value())};
  }
  if ((*second)->customer != (*found)->customer) {
    return errors::foreign("pool", other.value(), (*found)->customer);
  }
  if (auto same = complete((*second)->placement, (*found)->placement); !same) return same.error();
  return {};
}

void Tenants::move_vms(DedicatedPoolId from, DedicatedPoolId to) {
  for (auto& [id, vm] : vms_) {
    if (vm.profile.pool == from) vm.profile.pool = to;
  }
  pools_.at(to).vms += pools_.at(from).vms;
  pools_.at(from).vms = 0;
}

Result<void> Tenants::check_new_pool(DedicatedPoolId pool) const {
  if (!pool.is_set()) return errors::unset("pool");
  if (pools_.contains(pool) || ended_pools_.contains(pool)) return errors::used_before("pool", pool.value());
  if (!unadopted_pools_.contains(pool)) return {};
  return Error{HostErrc::WrongState,
               fmt::format("pool {} had memory before the crash: adopt it, or destroy it", pool.value())};
}

void Tenants::adopt_pool(DedicatedPoolId pool, const Pool& facts) {
  unadopted_pools_.erase(pool);
  add_pool(pool, facts);
}

void Tenants::end_pool(DedicatedPoolId pool) {
  unadopted_pools_.erase(pool);
  pools_.erase(pool);
  ended_pools_.insert(pool);
}

/// With the pages and the unit of `like`, where that has some.
Result<Placement> Tenants::complete(Placement placement, const Placement& like) const {
  const bool other_pages = like.pages && placement.pages && *placement.pages != *like.pages;
  const bool other_unit = like.unit && placement.unit && *placement.unit != *like.unit;
  if (other_pages || other_unit) {
    const ByteCount asked = other_pages ? page_length(*placement.pages) : *placement.unit;
    const ByteCount there = other_pages ? page_length(*like.pages) : *like.unit;
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} of {} bytes were asked for where they have {} bytes: leave them out, or choose those",
                             other_pages ? "pages" : "pieces", asked.value(), there.value())};
  }
  if (like.pages) placement.pages = like.pages;
  if (like.unit) placement.unit = like.unit;
  const Zone* smallest = nullptr;
  for (const Zone& zone : zones_) {
    const bool fits =
        placement.pages.value_or(zone.pages) == zone.pages && placement.unit.value_or(zone.unit) == zone.unit;
    const bool smaller =
        smallest == nullptr || std::tie(zone.pages, zone.unit) < std::tie(smallest->pages, smallest->unit);
    if (fits && smaller) smallest = &zone;
  }
  if (smallest == nullptr) return no_such_memory(placement);
  placement.pages = smallest->pages;
  placement.unit = smallest->unit;
  const auto there = [&](const Zone& zone) {
    return zone.pages == placement.pages && zone.unit == placement.unit &&
           zone.node == placement.node.value_or(zone.node);
  };
  if (std::none_of(zones_.begin(), zones_.end(), there)) return no_such_memory(placement);
  return placement;
}

Error Tenants::no_such_memory(const Placement& placement) const {
  const auto describe = [](ByteCount pages, std::optional<ByteCount> unit) {
    const bool pieces = unit && *unit != pages;
    return fmt::format("with pages of {} bytes{}", pages.value(),
                       pieces ? fmt::format(", in pieces of {} bytes", unit->value()) : "");
  };
  std::string there;
  for (const Zone& zone : zones_) {
    there +=
        fmt::format("{}node {} {}", there.empty() ? "" : ", ", zone.node, describe(page_length(zone.pages), zone.unit));
  }
  const std::string node = placement.node ? fmt::format(" of node {}", *placement.node) : "";
  const std::string wanted = placement.pages  ? " " + describe(page_length(*placement.pages), placement.unit)
                             : placement.unit ? fmt::format(" in pieces of {} bytes", placement.unit->value())
                                              : "";
  return {HostErrc::InvalidArgument, fmt::format("memory{}{}: the host has {}", node, wanted, there)};
}

Claim Tenants::claim_for(const Vm& vm, ClaimKind kind, ByteCount length) const {
  Claim claim;
  claim.kind = kind;
  claim.vm = vm.profile.vm;
  claim.pool = vm.profile.pool;
  claim.customer = vm.profile.customer;
  set_groups(claim);
  claim.allowed = vm.profile.allowed;
  claim.allowed.enable = vm.say.enable.value_or(claim.allowed.enable);
  claim.allowed.recycle_on_reboot = vm.say.recycle_on_reboot.value_or(claim.allowed.recycle_on_reboot);
  claim.boot = vm.boot;
  claim.has_rebooted = vm.has_rebooted;
  claim.pool_shares = claim.pool.is_set() && pools_.at(claim.pool).shares;
  claim.scrub = vm.profile.scrub;
  claim.placement = vm.profile.placement;
  claim.length = length;
  return claim;
}

Claim Tenants::claim_for(DedicatedPoolId pool, ByteCount length) const {
  const Pool& facts = pools_.at(pool);
  Claim claim;
  claim.kind = ClaimKind::Pool;
  claim.pool = pool;
  claim.customer = facts.customer;
  claim.placement = facts.placement;
  claim.length = length;
  return claim;
}

void Tenants::claim_started(const Claim& claim) {
  if (claim.vm.is_set()) ++vms_.at(claim.vm).claims;
  if (claim.kind == ClaimKind::Pool && !claim.by_rule) ++pools_.at(claim.pool).claims;
}

void Tenants::claim_notified(const Claim& claim) {
  if (claim.vm.is_set()) --vms_.at(claim.vm).claims;
  if (claim.kind == ClaimKind::Pool && pools_.contains(claim.pool)) --pools_.at(claim.pool).claims;
}

}  // namespace sluice::inline manager
