// SPDX-License-Identifier: Apache-2.0
// Who may do what with the policy book.
#include <fmt/format.h>

#include "policy_state.hpp"
#include "sluice/base/parse.hpp"

namespace sluice::inline policy {
namespace {

Error not_permitted(const Caller& caller, const std::string& what, std::string_view who) {
  return {HostErrc::NotPermitted, fmt::format("{} may not {}: only {} may", describe(caller), what, who)};
}

std::string_view who_may(PolicyScope scope) {
  switch (scope) {
    case PolicyScope::Instance:
      return "the provider, and the VM's customer and user if it is registered with them,";
    case PolicyScope::TrustGroup:
      return "the provider, and the group's customer if it is registered,";
    case PolicyScope::User:
      return "the provider, that user, and its customer if it is registered,";
    case PolicyScope::Customer:
      return "the provider and that customer";
    case PolicyScope::Default:
      return "the provider";
  }
  return "the provider";
}

/// An id that means somebody; users are known.
bool is_known(const PolicyState& state, const Caller& caller) {
  if (caller.role == Caller::Role::Provider) return true;
  return caller.id != 0 && (caller.role != Caller::Role::User || state.users.contains(UserId(caller.id)));
}

bool manages(const PolicyState& state, const Caller& caller, const Caller& owner) {
  if (caller.role == Caller::Role::Provider || caller == owner) return true;
  if (caller.role != Caller::Role::Customer || owner.role != Caller::Role::User || caller.id == 0) return false;
  return customer_of(state, {PolicyScope::User, owner.id}) == CustomerId(caller.id);
}

Result<void> check_template(const PolicyState& state, const Caller& caller, const std::string& name, bool uses) {
  const auto found = state.templates.find(name);
  if (found == state.templates.end()) return unknown_template(name);
  const Caller& owner = found->second.owner;
  const bool known = is_known(state, caller) && caller.role != Caller::Role::Instance;
  const bool provided = uses && owner.role == Caller::Role::Provider;
  if (known && (provided || manages(state, caller, owner))) return {};
  return not_permitted(
      caller, fmt::format("{} policy template {}, which is not its own", uses ? "use" : "change", in_quotes(name)),
      "its owner, the customer of a user that owns it, and the provider");
}

}  // namespace

std::string describe(const Caller& caller) {
  switch (caller.role) {
    case Caller::Role::Provider:
      return "the provider";
    case Caller::Role::Customer:
      return fmt::format("customer {}", caller.id);
    case Caller::Role::User:
      return fmt::format("user {}", caller.id);
    case Caller::Role::Instance:
      return fmt::format("VM {}", caller.id);
  }
  return "nobody";
}

bool may(const PolicyState& state, const Caller& caller, PolicyTarget target) {
  if (!is_known(state, caller)) return false;
  switch (caller.role) {
    case Caller::Role::Provider:
      return true;
    case Caller::Role::Customer:
      return customer_of(state, target) == CustomerId(caller.id);
    case Caller::Role::User: {
      if (target.scope == PolicyScope::User) return target.id == caller.id;
      if (target.scope != PolicyScope::Instance) return false;
      const auto vm = state.vms.find(VmId(target.id));
      return vm != state.vms.end() && vm->second.user == UserId(caller.id);
    }
    case Caller::Role::Instance:
      return false;
  }
  return false;
}

Result<void> check_provider(const Caller& caller, std::string_view what) {
  if (caller.role == Caller::Role::Provider) return {};
  return not_permitted(caller, std::string(what), "the provider");
}

Result<void> check_may(const PolicyState& state, const Caller& caller, PolicyTarget target, std::string_view what) {
  if (may(state, caller, target)) return {};
  return not_permitted(caller, fmt::format("{} {}", what, describe(target)), who_may(target.scope));
}

Result<void> PolicyBook::check_caller(const Caller& caller, PolicyTarget target, std::string_view what) const {
  return check_may(state_, caller, target, what);
}

Result<void> check_may_say(const PolicyState& state, const Caller& caller, VmId vm, bool withdraws) {
  if (caller.role == Caller::Role::Provider || (vm.is_set() && caller == Caller::instance(vm))) return {};
  if (withdraws) return check_may(state, caller, {PolicyScope::Instance, vm.value()}, "withdraw what is said by");
  return not_permitted(caller, fmt::format("say anything for VM {}", vm.value()), "that VM and the provider");
}

Result<void> check_may_manage_users(const Caller& caller, CustomerId customer) {
  if (caller.role == Caller::Role::Provider || caller == Caller::customer(customer)) return {};
  return not_permitted(caller, "add or remove this user", "its customer and the provider");
}

Result<void> check_may_create(const PolicyState& state, const Caller& caller) {
  if (is_known(state, caller) && caller.role != Caller::Role::Instance) return {};
  return not_permitted(caller, "own a policy template", "the provider, customers and registered users");
}

Result<void> check_may_change(const PolicyState& state, const Caller& caller, const std::string& name) {
  return check_template(state, caller, name, false);
}

Result<void> check_may_use(const PolicyState& state, const Caller& caller, const std::string& name) {
  return check_template(state, caller, name, true);
}

}  // namespace sluice::inline policy
