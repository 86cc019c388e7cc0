// SPDX-License-Identifier: Apache-2.0
#include "sluice/host/recycle_policy.hpp"

namespace sluice {

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
    case Reason::UnknownOwner:
      return "unknown owner";
    case Reason::Forbidden:
      return "forbidden by settings";
    case Reason::GroupChanged:
      return "trust group changed";
    case Reason::OtherDomain:
      return "other domain";
  }
  return "unknown";
}

Owner Owner::of(const Claim& claim) { return {claim.vm, claim.pool, claim.customer, claim.group, claim.group_epoch}; }

Owner Owner::passed_on_to(const Claim& claim) const {
  Owner owner = of(claim);
  if (pool != claim.pool) owner.pool = {};
  if (customer != claim.customer) owner.customer = {};
  if (group != claim.group || group_epoch != claim.group_epoch) {
    owner.group = {};
    owner.group_epoch = 0;
  }
  return owner;
}

Decision RecyclePolicy::decide(const Owner& owner, const Claim& claim) {
  if (owner == Owner{}) return {false, Reason::UnknownOwner};
  bool forbidden = false;
  if (claim.vm.is_set() && owner.vm == claim.vm) {
    const bool reboot = claim.kind == ClaimKind::Reboot;
    if (reboot ? claim.allowed.after_reboot : claim.allowed.within_vm) {
      return {true, reboot ? Reason::SameVmAfterReboot : Reason::SameVm};
    }
    // A VM that wants no memory of its own back gets none by way of its pool or its group either.
    return {false, Reason::Forbidden};
  }
  const bool same_customer = claim.customer.is_set() && owner.customer == claim.customer;
  if (same_customer && claim.pool.is_set() && owner.pool == claim.pool) {
    if (claim.allowed.dedicated_pool) return {true, Reason::DedicatedPool};
    forbidden = true;
  }
  if (same_customer && claim.group.is_set() && owner.group == claim.group) {
    if (owner.group_epoch != claim.group_epoch) return {false, Reason::GroupChanged};
    if (claim.allowed.trust_group) return {true, Reason::TrustGroup};
    forbidden = true;
  }
  return {false, forbidden ? Reason::Forbidden : Reason::OtherDomain};
}

}  // namespace sluice
