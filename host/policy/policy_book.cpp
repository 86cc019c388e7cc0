// SPDX-License-Identifier: Apache-2.0
// The calls that change which policy holds for VMs.
#include <fmt/format.h>

#include <stdexcept>

#include "policy_state.hpp"
#include "sluice/base/parse.hpp"

namespace sluice::inline policy {

PolicyBook::PolicyBook(Policy built_in) {
  for (const PolicyField field : {PolicyField::TrustGroup, PolicyField::DedicatedPool}) {
    if (id_in(built_in, field).value_or(0) == 0) continue;
    throw std::invalid_argument(fmt::format("built-in policy has '{}' {}, which belongs to one customer: leave it out",
                                            to_string(field), id_in(built_in, field).value_or(0)));
  }
  state_.built_in = std::move(built_in);
}

/// Makes the change in a copy, so that an error leaves everything as it is.
template <class Edit>
Result<ChangedVms> PolicyBook::change(const Edit& edit) {
  State next = state_;
  if (Result<void> edited = edit(next); !edited) return edited.error();
  if (auto checked = check_attachments(next); !checked) return checked.error();
  ChangedVms changed = changed_vms(state_, next);
  state_ = std::move(next);
  return changed;
}

Result<ChangedVms> PolicyBook::change_vm(const Caller& caller, const PolicySubject& subject) {
  if (auto checked = check_provider(caller, "change the group or the pool of a VM"); !checked) return checked.error();
  return change([&](State& next) -> Result<void> {
    const auto found = next.vms.find(subject.vm);
    if (found == next.vms.end()) {
      return Error{HostErrc::UnknownId, fmt::format("VM {} is not registered: register it first", subject.vm.value())};
    }
    if (found->second.user != subject.user || found->second.customer != subject.customer) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("VM {} of user {} and customer {} keeps them: give the same", subject.vm.value(),
                               found->second.user.value(), found->second.customer.value())};
    }
    found->second = subject;
    return check_vm(next, subject);
  });
}

Result<ChangedVms> PolicyBook::merge_pools(const Caller& caller, DedicatedPoolId pool, DedicatedPoolId other) {
  if (auto checked = check_provider(caller, "merge dedicated pools"); !checked) return checked.error();
  if (auto checked = check_pools(state_, pool, other); !checked) return checked.error();
  return change([&](State& next) -> Result<void> {
    for (auto& [vm, subject] : next.vms) {
      if (subject.pool == other) subject.pool = pool;
    }
    for (auto& [target, attachment] : next.attached) attachment.policy.rename_pool(other, pool);
    for (auto& [name, made] : next.templates) made.policy.rename_pool(other, pool);
    next.pools.erase(other);
    return {};
  });
}

Result<void> PolicyBook::create_template(const Caller& caller, const std::string& name, const Policy& policy) {
  if (auto checked = check_may_create(state_, caller); !checked) return checked;
  if (auto checked = check_name(name); !checked) return checked;
  if (state_.templates.emplace(name, PolicyTemplate{policy, caller}).second) return {};
  return Error{HostErrc::InvalidArgument,
               fmt::format("policy template {} exists: change it, or choose another name", in_quotes(name))};
}

Result<ChangedVms> PolicyBook::change_template(const Caller& caller, const std::string& name, const Policy& policy) {
  if (auto checked = check_may_change(state_, caller, name); !checked) return checked.error();
  return change([&](State& next) -> Result<void> {
    next.templates.at(name).policy = policy;
    return {};
  });
}

Result<void> PolicyBook::copy_template(const Caller& caller, const std::string& name, const std::string& copy) {
  if (auto checked = check_may_use(state_, caller, name); !checked) return checked;
  return create_template(caller, copy, Policy(state_.templates.at(name).policy));
}

Result<void> PolicyBook::remove_template(const Caller& caller, const std::string& name) {
  if (auto checked = check_may_change(state_, caller, name); !checked) return checked;
  for (const auto& [target, attachment] : state_.attached) {
    if (attachment.template_name != name) continue;
    return Error{HostErrc::WrongState, fmt::format("policy template {} is attached to {}: detach it first",
                                                   in_quotes(name), describe(target))};
  }
  state_.templates.erase(name);
  return {};
}

Result<ChangedVms> PolicyBook::put(const Caller& caller, std::span<const PolicyTarget> targets,
                                   const PolicyAttachment& attachment) {
  if (targets.empty()) {
    return Error{HostErrc::InvalidArgument, "a policy is attached to no target: give at least one"};
  }
  return change([&](State& next) -> Result<void> {
    for (const PolicyTarget target : targets) {
      if (auto checked = check_may(next, caller, target, "attach a policy to"); !checked) return checked;
      if (auto checked = check_target(next, target); !checked) return checked;
      next.attached[target] = attachment;
    }
    return {};
  });
}

Result<ChangedVms> PolicyBook::attach(const Caller& caller, std::span<const PolicyTarget> targets,
                                      const Policy& policy) {
  return put(caller, targets, {{}, policy});
}

Result<ChangedVms> PolicyBook::attach(const Caller& caller, PolicyTarget target, const Policy& policy) {
  return put(caller, {&target, 1}, {{}, policy});
}

Result<ChangedVms> PolicyBook::attach_template(const Caller& caller, std::span<const PolicyTarget> targets,
                                               const std::string& name) {
  if (auto checked = check_may_use(state_, caller, name); !checked) return checked.error();
  return put(caller, targets, {name, {}});
}

Result<ChangedVms> PolicyBook::attach_template(const Caller& caller, PolicyTarget target, const std::string& name) {
  return attach_template(caller, std::span<const PolicyTarget>(&target, 1), name);
}

Result<ChangedVms> PolicyBook::detach(const Caller& caller, std::span<const PolicyTarget> targets) {
  return change([&](State& next) -> Result<void> {
    for (const PolicyTarget target : targets) {
      if (auto checked = check_may(next, caller, target, "detach a policy from"); !checked) return checked;
      next.attached.erase(target);
    }
    return {};
  });
}

Result<ChangedVms> PolicyBook::detach(const Caller& caller, PolicyTarget target) {
  return detach(caller, std::span<const PolicyTarget>(&target, 1));
}

Result<ChangedVms> PolicyBook::lock(const Caller& caller, PolicyTarget target, PolicyField field) {
  if (auto checked = check_provider(caller, "lock a policy field"); !checked) return checked.error();
  if (auto checked = check_lock(state_, target, field); !checked) return checked.error();
  return change([&](State& next) -> Result<void> {
    next.locks[target].insert(field);
    return {};
  });
}

Result<ChangedVms> PolicyBook::unlock(const Caller& caller, PolicyTarget target, PolicyField field) {
  if (auto checked = check_provider(caller, "unlock a policy field"); !checked) return checked.error();
  return change([&](State& next) -> Result<void> {
    const auto found = next.locks.find(target);
    if (found == next.locks.end()) return {};
    found->second.erase(field);
    if (found->second.empty()) next.locks.erase(found);
    return {};
  });
}

Result<ChangedVms> PolicyBook::say(const Caller& caller, VmId vm, PolicyField field, std::optional<bool> value) {
  if (auto checked = check_may_say(state_, caller, vm, !value); !checked) return checked.error();
  if (auto checked = check_say(state_, vm, field); !checked) return checked.error();
  return change([&](State& next) -> Result<void> {
    auto& says = next.says[vm];
    if (value) {
      says[field] = *value;
    } else {
      says.erase(field);
    }
    if (says.empty()) next.says.erase(vm);
    return {};
  });
}

EffectivePolicy PolicyBook::effective(const PolicySubject& subject) const { return effective_policy(state_, subject); }

Result<EffectivePolicy> PolicyBook::effective_of(VmId vm) const {
  const auto found = state_.vms.find(vm);
  if (found != state_.vms.end()) return effective_policy(state_, found->second);
  return Error{HostErrc::UnknownId, fmt::format("VM {} is not registered: register it first", vm.value())};
}

std::optional<PolicyAttachment> PolicyBook::attached(PolicyTarget target) const {
  const auto found = state_.attached.find(target);
  return found == state_.attached.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace sluice::inline policy
