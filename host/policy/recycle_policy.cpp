// SPDX-License-Identifier: Apache-2.0
#include "sluice/policy/recycle_policy.hpp"

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

Fill fill_of(const ScrubSettings& settings) {
  switch (settings.method) {
    case FillMethod::Zeros:
      return {0, false};
    case FillMethod::Ones:
      return {~0ULL, false};
    case FillMethod::Pattern:
      return {settings.pattern, false};
    case FillMethod::Random:
      return {0, true};
  }
  return {};
}

Owner owner_of(const Claim& claim) { return {claim.vm, claim.pool, claim.customer, claim.group, claim.larger_group}; }

Owner passed_on(const Owner& before, const Claim& claim) {
  Owner owner = owner_of(claim);
  if (before.pool != claim.pool) owner.pool = {};
  if (before.customer != claim.customer) owner.customer = {};
  if (before.group != claim.group) owner.group = {};
  if (before.larger_group != claim.larger_group) owner.larger_group = {};
  return owner;
}

Decision RecyclePolicy::decide(const Owner& owner, const Claim& claim) {
  if (owner == Owner{}) return {false, Reason::UnknownOwner};
  if (claim.kind == ClaimKind::Pool) return {false, Reason::OtherDomain};  // also of what its own VMs wrote
  bool forbidden = false;
  bool changed = false;
  RecycleSettings allowed = claim.allowed;
  if (!allowed.enable) {
    allowed.recycle_on_reboot = allowed.recycle_within_vm = allowed.recycle_within_dedicated_pool =
        allowed.recycle_within_trust_group = false;
  }
  if (claim.vm.is_set() && owner.vm == claim.vm) {
    const bool reboot = claim.kind == ClaimKind::Reboot;
    if (reboot ? allowed.recycle_on_reboot && !allowed.force_new_memory : allowed.recycle_within_vm) {
      return {true, reboot ? Reason::SameVmAfterReboot : Reason::SameVm};
    }
    // A VM that wants no memory of its own back gets none by way of its pool or its group either.
    return {false, Reason::Forbidden};
  }
  const bool same_customer = claim.customer.is_set() && owner.customer == claim.customer;
  if (same_customer && claim.pool.is_set() && owner.pool == claim.pool) {
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
