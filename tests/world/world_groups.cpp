// SPDX-License-Identifier: Apache-2.0
// Trust groups.
#include "world.hpp"

namespace sluice::world {

void World::take_group_step(const Step& step) {
  if (step.act == Act::CreateGroup) {
    if (groups_.size() >= 6) return;
    const Id id = next_id_++;
    const Id owner = customer(step.a);
    Id inside = 0;
    if (auto* const larger = pick(groups_, step.b); larger != nullptr && step.c % 2 == 0) inside = larger->first;
    const bool fits = inside == 0 || (groups_[inside].customer == owner && groups_[inside].inside == 0);
    expect(fits, manager_->create_trust_group(TrustGroupId(id), CustomerId(owner), TrustGroupId(inside)).has_value(),
           "creating a group");
    if (!fits) return;
    groups_[id] = {owner, inside, true};
    memory_.create_group(id, owner, inside);
    return;
  }
  auto* const group = pick(groups_, step.b);
  if (group == nullptr) return;
  const auto [id, facts] = *group;
  rules_change();
  if (step.act == Act::EnableGroup) {
    const bool enabled = step.c % 2 == 0;
    expect(true, manager_->enable_trust_group(TrustGroupId(id), enabled).has_value(), "enabling a group");
    group->second.enabled = enabled;
    memory_.enable_group(id, enabled);
  } else if (step.act == Act::DestroyGroup) {
    bool empty = true;
    for (const auto& [number, vm] : vms_) empty = empty && vm.who.group != id;
    for (const auto& [number, other] : groups_) empty = empty && other.inside != id;
    expect(empty, manager_->destroy_trust_group(TrustGroupId(id)).has_value(), "the end of a group");
    if (!empty) return;
    memory_.destroy_group(id);
    groups_.erase(id);
  } else if (auto* const found = pick(vms_, step.a); found != nullptr) {
    Vm& vm = found->second;
    const Id to = step.c % 4 == 0 ? 0 : id;
    const bool fits = to == 0 || facts.customer == vm.who.customer;
    expect(fits, manager_->change_trust_group(VmId(vm.who.vm), TrustGroupId(to)).has_value(), "a change of group");
    if (!fits) return;
    memory_.moved(vm.who.group, to);
    vm.who.group = to;
  }
}

}  // namespace sluice::world
