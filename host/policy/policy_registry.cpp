// SPDX-License-Identifier: Apache-2.0
// The users, groups, pools and VMs that the policy book knows.
#include <fmt/format.h>

#include "policy_state.hpp"

namespace sluice::inline policy {
namespace {

template <class Id>
Result<void> add(std::map<Id, CustomerId>& known, Id id, CustomerId customer, std::string_view what) {
  if (!id.is_set() || !customer.is_set()) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} {} of customer {}: give ids from 1", what, id.value(), customer.value())};
  }
  if (known.emplace(id, customer).second) return {};
  return Error{HostErrc::IdUsedBefore, fmt::format("{} {} is registered: choose another id", what, id.value())};
}

Error unknown(const std::string& whose) {
  return {HostErrc::UnknownId, fmt::format("{} is not registered: give one that is", whose)};
}

Error in_use(const std::string& whose, const std::string& by) {
  return {HostErrc::WrongState, fmt::format("{} cannot be removed while {}: end that first", whose, by)};
}

/// That a policy or a lock is on the target.
Result<void> check_bare(const PolicyState& state, PolicyTarget target) {
  if (state.attached.contains(target)) return in_use(describe(target), "a policy is attached to it");
  if (state.locks.contains(target)) return in_use(describe(target), "a field is locked for it");
  return {};
}

/// That a policy which is attached names the id.
Result<void> check_unnamed(const PolicyState& state, PolicyField field, std::uint64_t id, const std::string& whose) {
  for (const auto& [target, attachment] : state.attached) {
    if (id_in(policy_of(state, attachment), field) == id) {
      return in_use(whose, fmt::format("the policy for {} names it", describe(target)));
    }
  }
  return {};
}

template <class Covers>
Result<void> check_empty(const PolicyState& state, const std::string& whose, const Covers& covers) {
  for (const auto& [vm, subject] : state.vms) {
    if (covers(subject)) return in_use(whose, fmt::format("VM {} is registered with it", vm.value()));
  }
  return {};
}

}  // namespace

Result<void> PolicyBook::add_user(const Caller& caller, UserId user, CustomerId customer) {
  if (auto checked = check_may_manage_users(caller, customer); !checked) return checked;
  return add(state_.users, user, customer, "user");
}

Result<void> PolicyBook::remove_user(const Caller& caller, UserId user) {
  const PolicyTarget target{PolicyScope::User, user.value()};
  if (auto checked = check_may_manage_users(caller, customer_of(state_, target)); !checked) return checked;
  if (!state_.users.contains(user)) return unknown(describe(target));
  if (auto checked = check_bare(state_, target); !checked) return checked;
  auto empty =
      check_empty(state_, describe(target), [&](const PolicySubject& subject) { return subject.user == user; });
  if (!empty) return empty;
  for (const auto& [name, made] : state_.templates) {
    if (made.owner == Caller::user(user)) return in_use(describe(target), "it owns a policy template");
  }
  state_.users.erase(user);
  return {};
}

Result<void> PolicyBook::add_group(const Caller& caller, TrustGroupId group, CustomerId customer) {
  if (auto checked = check_provider(caller, "register a trust group"); !checked) return checked;
  return add(state_.groups, group, customer, "trust group");
}

Result<void> PolicyBook::remove_group(const Caller& caller, TrustGroupId group) {
  if (auto checked = check_provider(caller, "remove a trust group"); !checked) return checked;
  const PolicyTarget target{PolicyScope::TrustGroup, group.value()};
  if (!state_.groups.contains(group)) return unknown(describe(target));
  if (auto checked = check_bare(state_, target); !checked) return checked;
  auto unnamed = check_unnamed(state_, PolicyField::TrustGroup, group.value(), describe(target));
  if (!unnamed) return unnamed;
  auto empty =
      check_empty(state_, describe(target), [&](const PolicySubject& subject) { return subject.group == group; });
  if (!empty) return empty;
  state_.groups.erase(group);
  return {};
}

Result<void> PolicyBook::add_pool(const Caller& caller, DedicatedPoolId pool, CustomerId customer) {
  if (auto checked = check_provider(caller, "register a dedicated pool"); !checked) return checked;
  return add(state_.pools, pool, customer, "dedicated pool");
}

Result<void> PolicyBook::remove_pool(const Caller& caller, DedicatedPoolId pool) {
  if (auto checked = check_provider(caller, "remove a dedicated pool"); !checked) return checked;
  const std::string whose = fmt::format("dedicated pool {}", pool.value());
  if (!state_.pools.contains(pool)) return unknown(whose);
  auto unnamed = check_unnamed(state_, PolicyField::DedicatedPool, pool.value(), whose);
  if (!unnamed) return unnamed;
  auto empty = check_empty(state_, whose, [&](const PolicySubject& subject) { return subject.pool == pool; });
  if (!empty) return empty;
  state_.pools.erase(pool);
  return {};
}

Result<void> PolicyBook::register_vm(const Caller& caller, const PolicySubject& subject) {
  if (auto checked = check_provider(caller, "register a VM"); !checked) return checked;
  if (auto checked = check_vm(state_, subject); !checked) return checked;
  if (!state_.vms.emplace(subject.vm, subject).second) {
    return Error{HostErrc::IdUsedBefore,
                 fmt::format("VM {} is registered: change it, or choose another id", subject.vm.value())};
  }
  auto checked = check_attachment(state_, {PolicyScope::Instance, subject.vm.value()});
  if (!checked) state_.vms.erase(subject.vm);
  return checked;
}

Result<void> PolicyBook::forget_vm(const Caller& caller, VmId vm) {
  if (auto checked = check_provider(caller, "forget a VM"); !checked) return checked;
  const PolicyTarget target{PolicyScope::Instance, vm.value()};
  if (!state_.vms.contains(vm)) return unknown(describe(target));
  state_.vms.erase(vm);
  state_.attached.erase(target);
  state_.locks.erase(target);
  state_.says.erase(vm);
  return {};
}

}  // namespace sluice::inline policy
