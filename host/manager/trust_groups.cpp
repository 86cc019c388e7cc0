// SPDX-License-Identifier: Apache-2.0
// Trust groups: who is a member of what, and since when.
#include <fmt/format.h>

#include "errors.hpp"
#include "tenants.hpp"

namespace sluice::inline manager {
namespace {

constexpr std::uint64_t kCustomerBit = 1ULL << 63;

}  // namespace

TrustGroupId customer_group(CustomerId customer) { return TrustGroupId(kCustomerBit | customer.value()); }

Result<void> Tenants::create_trust_group(TrustGroupId group, CustomerId customer, TrustGroupId inside) {
  if (!group.is_set()) return errors::unset("trust group");
  if (!customer.is_set()) return errors::unset("customer");
  if ((group.value() & kCustomerBit) != 0) {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("trust group {:#x}: ids from {:#x} are customers' and need no creation, give a smaller one",
                    group.value(), kCustomerBit)};
  }
  if (inside.is_set()) {
    auto larger = find_group(inside, customer);
    if (!larger) return larger.error();
    if ((*larger)->inside.is_set()) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("trust group {} lies inside group {} itself: put group {} inside that one",
                               inside.value(), (*larger)->inside.value(), group.value())};
    }
  }
  if (groups_.contains(group) || ended_groups_.contains(group)) {
    return errors::used_before("trust group", group.value());
  }
  groups_.emplace(group, Group{customer, inside});
  if (inside.is_set()) ++groups_.at(inside).groups;
  return {};
}

Result<void> Tenants::destroy_trust_group(TrustGroupId group) {
  const auto found = groups_.find(group);
  if (found == groups_.end()) return errors::unknown("trust group", group.value());
  if ((group.value() & kCustomerBit) != 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("trust group {:#x} is that of all VMs of a customer: disable it instead", group.value())};
  }
  if (found->second.vms > 0 || found->second.groups > 0) {
    return Error{HostErrc::WrongState, fmt::format("trust group {} has {} VMs and {} groups: move them out first",
                                                   group.value(), found->second.vms, found->second.groups)};
  }
  if (found->second.inside.is_set()) --groups_.at(found->second.inside).groups;
  groups_.erase(found);
  ended_groups_.insert(group);
  return {};
}

Result<void> Tenants::enable_trust_group(TrustGroupId group, bool enabled) {
  const CustomerId customer(group.value() & ~kCustomerBit);
  if (customer.is_set() && group == customer_group(customer)) groups_.try_emplace(group, Group{customer});
  const auto found = groups_.find(group);
  if (found == groups_.end()) return errors::unknown("trust group", group.value());
  if (found->second.enabled && !enabled) {
    ++found->second.epoch;
    if (found->second.inside.is_set()) ++groups_.at(found->second.inside).epoch;
  }
  found->second.enabled = enabled;
  return {};
}

Result<Tenants::Group*> Tenants::find_group(TrustGroupId group, CustomerId customer) {
  if (group == customer_group(customer)) return &groups_.try_emplace(group, Group{customer}).first->second;
  const auto found = groups_.find(group);
  if (found == groups_.end()) return errors::unknown("trust group", group.value());
  if (found->second.customer != customer) return errors::foreign("trust group", group.value(), customer);
  return &found->second;
}

Result<void> Tenants::change_trust_group(VmId vm, TrustGroupId group) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  VmProfile& profile = (*found)->profile;
  if (group.is_set()) {
    if (auto target = find_group(group, profile.customer); !target) return target.error();
  }
  set_group(profile, group);
  return {};
}

/// One of its customer's.
void Tenants::set_group(VmProfile& profile, TrustGroupId group) {
  if (group == profile.group) return;
  const TrustGroupId left = root_of(profile.group);
  const TrustGroupId joined = root_of(group);
  for (const TrustGroupId changed : {profile.group, group}) {
    if (changed.is_set()) ++groups_.at(changed).epoch;
  }
  // Moves inside a larger group leave that as it is, but into and out of a disabled one: that is outside.
  const auto is_disabled = [&](TrustGroupId id) { return id.is_set() && !groups_.at(id).enabled; };
  if (left != joined || is_disabled(profile.group) || is_disabled(group)) {
    if (left.is_set() && left != profile.group) ++groups_.at(left).epoch;
    if (joined.is_set() && joined != group) ++groups_.at(joined).epoch;
  }
  if (profile.group.is_set()) --groups_.at(profile.group).vms;
  if (group.is_set()) ++groups_.at(group).vms;
  profile.group = group;
}

std::optional<GroupFacts> Tenants::trust_group(TrustGroupId group) const {
  const auto found = groups_.find(group);
  if (found == groups_.end()) return std::nullopt;
  const Group& facts = found->second;
  return GroupFacts{facts.customer, facts.inside, facts.enabled, facts.vms, facts.groups};
}

/// The larger group around this one, or itself.
TrustGroupId Tenants::root_of(TrustGroupId group) const {
  if (!group.is_set()) return {};
  const TrustGroupId inside = groups_.at(group).inside;
  return inside.is_set() ? inside : group;
}

void Tenants::set_groups(Claim& claim) const {
  const TrustGroupId group = vms_.at(claim.vm).profile.group;
  const TrustGroupId root = root_of(group);
  claim.group = claim.larger_group = {};
  if (!group.is_set() || !groups_.at(group).enabled) return;
  claim.group = {group, groups_.at(group).epoch};
  if (groups_.at(root).enabled) claim.larger_group = {root, groups_.at(root).epoch};
}

}  // namespace sluice::inline manager
