// SPDX-License-Identifier: Apache-2.0
#include "sluice/policy/recycle_policy.hpp"

#include <algorithm>

namespace sluice::inline policy {

std::string_view to_string(Reason reason) {
  switch (reason) {
    case Reason::SameVmAfterReboot:
      return "same VM after reboot";
    case Reason::SameVm:
      return "same VM";
    case Reason::DedicatedPool:
      return "dedicated pool";
    case Reason::TrustGroup:
      return "trust group";
    case Reason::LargerGroup:
      return "larger trust group";
    case Reason::UnknownOwner:
      return "unknown owner";
    case Reason::Forbidden:
      return "forbidden by settings";
    case Reason::GroupChanged:
      return "trust group changed";
    case Reason::OtherDomain:
      return "other domain";
    case Reason::BeforeGrant:
      return "scrub before grant";
  }
  return "unknown";
}

Owner owner_of(const Claim& claim, DedicatedPoolId pool) {
  return {claim.vm, pool, claim.customer, claim.group, claim.larger_group, false, claim.boot, claim.boot};
}

Owner passed_on(const Lineage& before, const Claim& claim) {
  Owner owner = owner_of(claim, before.pool);
  const Owner& old = before.owner;
  if (old.pool != before.pool) owner.pool = {};
  if (old.customer != claim.customer) owner.customer = {};
  if (old.group != claim.group) owner.group = {};
  if (old.larger_group != claim.larger_group) owner.larger_group = {};
  owner.since = old.since;
  // Another VM wrote in it: that must show also where this VM's boot is older than what the other one wrote.
  if (old.vm != claim.vm) owner.since = std::min(old.since, claim.boot - std::min<BootNumber>(claim.boot, 1));
  return owner;
}

namespace {

RecycleSettings allowed_by(const Claim& claim) {
  RecycleSettings allowed = claim.allowed;
  if (!allowed.enable) {
    allowed.recycle_on_reboot = allowed.recycle_within_vm = allowed.recycle_within_dedicated_pool =
        allowed.recycle_within_trust_group = false;
  }
  return allowed;
}

/// What the VM itself held last. There is one way for each piece of memory, so that none gets around a denial.
Decision decide_own(const Lineage& lineage, const Claim& claim, const RecycleSettings& allowed) {
  const auto by = [&](bool permitted, Reason reason) {
    const bool recycle = permitted && !allowed.force_new_memory;
    return Decision{recycle, recycle ? reason : Reason::Forbidden};
  };
  const bool of_this_boot = lineage.owner.boot == claim.boot;
  if (of_this_boot && lineage.owner.since != claim.boot && !allowed.recycle_on_reboot) return by(false, Reason::SameVm);
  if (!of_this_boot) return by(allowed.recycle_on_reboot, Reason::SameVmAfterReboot);
  if (lineage.pool.is_set() || lineage.owner.left) {
    return by(allowed.recycle_within_dedicated_pool, Reason::DedicatedPool);
  }
  return by(allowed.recycle_within_vm, Reason::SameVm);
}

/// Whether memory of others may have in it what the VM wrote before its reboot.
bool may_hold_earlier_boots(const Owner& owner, const Claim& claim) {
  const bool one_boot_wrote = owner.since == owner.boot;
  return claim.has_rebooted && !one_boot_wrote && owner.since < claim.boot;
}

/// Whether memory that another VM held last may have in it what the VM wrote in this boot: it went from one to the
/// other as it was. Only boots are known, so what neither of them wrote first may be taken for it.
bool may_hold_this_boot(const Owner& owner, const Claim& claim) {
  const bool one_boot_wrote = owner.since == owner.boot;
  return owner.vm != claim.vm && !one_boot_wrote && owner.since <= claim.boot;
}

}  // namespace

Decision RecyclePolicy::decide(const Lineage& lineage, const Claim& claim) {
  const Owner& owner = lineage.owner;
  if (owner == Owner{}) return {false, Reason::UnknownOwner};
  if (claim.kind == ClaimKind::Pool) return {false, Reason::OtherDomain};  // also of what its own VMs wrote
  const RecycleSettings allowed = allowed_by(claim);
  if (claim.vm.is_set() && owner.vm == claim.vm) {
    // What it has left only its group may give it back, and a denial of its own closes that way too.
    const Decision own = decide_own(lineage, claim, allowed);
    if (!owner.left || !own.recycle) return own;
  }
  if (!allowed.recycle_on_reboot && may_hold_earlier_boots(owner, claim)) return {false, Reason::Forbidden};
  // What is in a pool was written there. What is elsewhere the VM may have written in its pool all the same, which it
  // left.
  const bool own_allowed =
      allowed.recycle_within_dedicated_pool && (lineage.pool.is_set() || allowed.recycle_within_vm);
  if (!own_allowed && may_hold_this_boot(owner, claim)) return {false, Reason::Forbidden};
  bool forbidden = false;
  bool changed = false;
  const bool same_customer = claim.customer.is_set() && owner.customer == claim.customer;
  const bool same_pool = claim.pool.is_set() && lineage.pool == claim.pool && owner.pool == claim.pool;
  if (same_customer && same_pool && claim.pool_shares) {
    if (allowed.recycle_within_dedicated_pool) return {true, Reason::DedicatedPool};
    forbidden = true;
  }
  for (const Reason by : {Reason::TrustGroup, Reason::LargerGroup}) {
    const bool own = by == Reason::TrustGroup;
    const GroupAt& writers = own ? owner.group : owner.larger_group;
    const GroupAt& readers = own ? claim.group : claim.larger_group;
    if (!same_customer || !readers.id.is_set() || writers.id != readers.id) continue;
    if (writers.epoch != readers.epoch) {
      changed = true;  // the group around it may be as it was
      continue;
    }
    if (allowed.recycle_within_trust_group) return {true, by};
    forbidden = true;
  }
  if (forbidden) return {false, Reason::Forbidden};
  return {false, changed ? Reason::GroupChanged : Reason::OtherDomain};
}

}  // namespace sluice::inline policy
