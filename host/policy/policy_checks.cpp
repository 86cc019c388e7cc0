// SPDX-License-Identifier: Apache-2.0
// What is true of every policy book.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "policy_fields.hpp"
#include "policy_state.hpp"
#include "sluice/base/parse.hpp"

namespace sluice::inline policy {
namespace {

Error invalid(std::string message) { return {HostErrc::InvalidArgument, std::move(message)}; }

/// `what` ("trust group 7") is registered, and with `customer`, where one is given.
template <class Id>
Result<void> check_belongs(const std::map<Id, CustomerId>& known, Id id, CustomerId customer, const std::string& what,
                           const std::string& whose) {
  const auto found = known.find(id);
  if (found == known.end()) {
    return Error{HostErrc::UnknownId, fmt::format("{} has {}, which is not registered: register it first, or choose "
                                                  "another",
                                                  whose, what)};
  }
  if (!customer.is_set() || found->second == customer) return {};
  return Error{HostErrc::ForeignCustomer, fmt::format("{} is of customer {} and has {}, which belongs to another: "
                                                      "choose one of its own",
                                                      whose, customer.value(), what)};
}

Result<void> check_named(const PolicyState& state, PolicyTarget target, const Policy& policy) {
  const std::string whose = "the policy for " + describe(target);
  for (const PolicyField field : {PolicyField::TrustGroup, PolicyField::DedicatedPool}) {
    const std::uint64_t id = id_in(policy, field).value_or(0);
    const bool group = field == PolicyField::TrustGroup;
    if (group && id_in(policy, field) && target.scope == PolicyScope::TrustGroup) {
      return invalid(whose + " has 'trust_group': attach it to VMs, users or the customer instead");
    }
    if (id == 0) continue;
    if (target.scope == PolicyScope::Default) {
      return invalid(
          fmt::format("{} has '{}' {}, which belongs to one customer: attach it to that customer, or to its "
                      "users or VMs",
                      whose, to_string(field), id));
    }
    const CustomerId customer = customer_of(state, target);
    auto checked =
        group ? check_belongs(state.groups, TrustGroupId(id), customer, fmt::format("trust group {}", id), whose)
              : check_belongs(state.pools, DedicatedPoolId(id), customer, fmt::format("dedicated pool {}", id), whose);
    if (!checked) return checked;
  }
  return {};
}

template <class Id>
Result<void> check_registered(const std::map<Id, CustomerId>& known, std::string_view what) {
  for (const auto& [id, customer] : known) {
    if (!id.is_set() || !customer.is_set()) {
      return invalid(fmt::format("{} {} of customer {}: give ids from 1", what, id.value(), customer.value()));
    }
  }
  return {};
}

Result<void> check_templates(const PolicyState& state) {
  for (const auto& [name, made] : state.templates) {
    if (auto checked = check_name(name); !checked) return checked;
    if (auto checked = check_may_create(state, made.owner); !checked) return checked;
  }
  return {};
}

}  // namespace

std::string describe(PolicyTarget target) {
  switch (target.scope) {
    case PolicyScope::Instance:
      return fmt::format("VM {}", target.id);
    case PolicyScope::TrustGroup:
      return fmt::format("trust group {}", target.id);
    case PolicyScope::User:
      return fmt::format("user {}", target.id);
    case PolicyScope::Customer:
      return fmt::format("customer {}", target.id);
    case PolicyScope::Default:
      return "default";
  }
  return "nobody";
}

Error unknown_template(const std::string& name) {
  return {HostErrc::UnknownId, fmt::format("policy template {} does not exist: create it first", in_quotes(name))};
}

CustomerId customer_of(const PolicyState& state, PolicyTarget target) {
  const auto in = [](const auto& known, auto id) {
    const auto found = known.find(id);
    return found == known.end() ? CustomerId() : found->second;
  };
  switch (target.scope) {
    case PolicyScope::Instance: {
      const auto vm = state.vms.find(VmId(target.id));
      return vm == state.vms.end() ? CustomerId() : vm->second.customer;
    }
    case PolicyScope::TrustGroup:
      return in(state.groups, TrustGroupId(target.id));
    case PolicyScope::User:
      return in(state.users, UserId(target.id));
    case PolicyScope::Customer:
      return CustomerId(target.id);
    case PolicyScope::Default:
      return {};
  }
  return {};
}

Result<void> check_name(const std::string& name) {
  if (name.empty()) return invalid("a policy template needs a name: give one");
  boost::json::error_code code;
  static_cast<void>(boost::json::parse(boost::json::serialize(boost::json::string(name)), code));
  if (!code && name.size() <= kLongestTemplateName) return {};
  return invalid(fmt::format("policy template {}: give a name of at most {} bytes in UTF-8", in_quotes(name),
                             kLongestTemplateName));
}

Result<void> check_target(const PolicyState& state, PolicyTarget target) {
  if ((target.id == 0) != (target.scope == PolicyScope::Default)) {
    return invalid(
        fmt::format("a policy for {} with id {}: give an id from 1, and 0 for default", describe(target), target.id));
  }
  const bool registers = target.scope == PolicyScope::User || target.scope == PolicyScope::TrustGroup;
  if (!registers || customer_of(state, target).is_set()) return {};
  return Error{HostErrc::UnknownId, fmt::format("{} is not registered: add it first", describe(target))};
}

Result<void> check_lock(const PolicyState& state, PolicyTarget target, PolicyField field) {
  if (auto checked = check_target(state, target); !checked) return checked;
  const FieldFacts& facts = kFields.at(static_cast<std::size_t>(field));
  if (facts.recycles || field == PolicyField::Enable) return {};
  return invalid(fmt::format("policy field '{}' cannot be denied: lock 'enable' or a field that lets memory be reused",
                             facts.name));
}

Result<void> check_say(const PolicyState& state, VmId vm, PolicyField field) {
  if (field != PolicyField::Enable && field != PolicyField::RecycleOnReboot) {
    return invalid(fmt::format("VM {} has no say in policy field '{}': it has one in 'enable' and 'recycle_on_reboot'",
                               vm.value(), to_string(field)));
  }
  if (state.vms.contains(vm)) return {};
  return Error{HostErrc::UnknownId, fmt::format("VM {} is not registered: register it first", vm.value())};
}

Result<void> check_vm(const PolicyState& state, const PolicySubject& subject) {
  const std::string whose = fmt::format("VM {}", subject.vm.value());
  if (!subject.vm.is_set() || !subject.customer.is_set()) {
    return invalid(fmt::format("{} of customer {}: give ids from 1", whose, subject.customer.value()));
  }
  const auto belongs = [&](const auto& known, auto id, std::string_view what) -> Result<void> {
    if (!id.is_set()) return {};
    return check_belongs(known, id, subject.customer, fmt::format("{} {}", what, id.value()), whose);
  };
  if (auto checked = belongs(state.users, subject.user, "user"); !checked) return checked;
  if (auto checked = belongs(state.groups, subject.group, "trust group"); !checked) return checked;
  return belongs(state.pools, subject.pool, "dedicated pool");
}

Result<void> check_pools(const PolicyState& state, DedicatedPoolId pool, DedicatedPoolId other) {
  const std::string whose = fmt::format("the merge into dedicated pool {}", pool.value());
  if (pool == other) return invalid(fmt::format("dedicated pool {} and itself: give two pools", pool.value()));
  auto known = check_belongs(state.pools, pool, {}, fmt::format("dedicated pool {}", pool.value()), whose);
  if (!known) return known;
  const CustomerId customer = state.pools.at(pool);
  return check_belongs(state.pools, other, customer, fmt::format("dedicated pool {}", other.value()), whose);
}

Result<void> check_attachment(const PolicyState& state, PolicyTarget target) {
  const auto found = state.attached.find(target);
  if (found == state.attached.end()) return {};
  if (auto checked = check_target(state, target); !checked) return checked;
  const std::string& name = found->second.template_name;
  if (!name.empty()) {
    const auto made = state.templates.find(name);
    if (made == state.templates.end()) return unknown_template(name);
    if (!may(state, made->second.owner, target)) {
      return Error{HostErrc::ForeignCustomer,
                   fmt::format("policy template {} of {} does not go with {}, which is not its own: copy the template",
                               in_quotes(name), describe(made->second.owner), describe(target))};
    }
  }
  return check_named(state, target, policy_of(state, found->second));
}

Result<void> check_attachments(const PolicyState& state) {
  for (const auto& [target, attachment] : state.attached) {
    if (auto checked = check_attachment(state, target); !checked) return checked;
  }
  return {};
}

Result<void> check_state(const PolicyState& state) {
  if (auto checked = check_registered(state.users, "user"); !checked) return checked;
  if (auto checked = check_registered(state.groups, "trust group"); !checked) return checked;
  if (auto checked = check_registered(state.pools, "dedicated pool"); !checked) return checked;
  for (const auto& [vm, subject] : state.vms) {
    if (auto checked = check_vm(state, subject); !checked) return checked;
  }
  if (auto checked = check_templates(state); !checked) return checked;
  if (auto checked = check_attachments(state); !checked) return checked;
  for (const auto& [target, fields] : state.locks) {
    for (const PolicyField field : fields) {
      if (auto checked = check_lock(state, target, field); !checked) return checked;
    }
  }
  for (const auto& [vm, said] : state.says) {
    for (const auto& [field, value] : said) {
      if (auto checked = check_say(state, vm, field); !checked) return checked;
    }
  }
  return {};
}

}  // namespace sluice::inline policy
