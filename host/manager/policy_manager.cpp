// SPDX-License-Identifier: Apache-2.0
// Calls that change the policy book and the manager: the book's side in a copy, then the manager's, which may refuse.
#include "sluice/manager/policy_manager.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "errors.hpp"
#include "sluice/base/enforce.hpp"
#include "sluice/base/parse.hpp"

namespace sluice::inline manager {
namespace {

VmPolicy policy_of(const PolicyBook& book, VmId vm) {
  const EffectivePolicy effective = book.effective_of(vm).value();
  const auto may_say = [&](PolicyField field) { return !effective.locked.contains(field); };
  return {vm,
          effective.pool,
          effective.group,
          effective.recycle,
          effective.scrub,
          {may_say(PolicyField::Enable), may_say(PolicyField::RecycleOnReboot)}};
}

VmProfile profile_of(const PolicyBook& book, VmId vm, const Placement& placement) {
  const VmPolicy policy = policy_of(book, vm);
  return {vm,
          book.vms().at(vm).customer,
          policy.pool,
          policy.group,
          policy.allowed,
          policy.scrub,
          placement,
          policy.may_say};
}

VmPolicy policy_of(const VmProfile& profile) {
  return {profile.vm, profile.pool, profile.group, profile.allowed, profile.scrub, profile.may_say};
}

bool same_vms(const PolicyBook& one, const PolicyBook& other) {
  return std::equal(one.vms().begin(), one.vms().end(), other.vms().begin(), other.vms().end(),
                    [](const auto& a, const auto& b) { return a.first == b.first; });
}

/// The pool that a policy names which is attached to the target; unset: none.
DedicatedPoolId pool_named(const PolicyBook& book, PolicyTarget target) {
  const auto attached = book.attached(target);
  if (!attached) return {};
  const std::string& name = attached->template_name;
  const Policy& policy = name.empty() ? attached->policy : book.templates().at(name).policy;
  const auto id = policy.value(PolicyField::DedicatedPool);
  return DedicatedPoolId(id ? parse_integer<std::uint64_t>(*id).value_or(0) : 0);
}

}  // namespace

PolicyManager::PolicyManager(PolicyBook book, MemoryManager& manager) : book_(std::move(book)), manager_(&manager) {
  if (book_.vms().empty() && book_.groups().empty() && book_.pools().empty()) return;
  throw std::invalid_argument(
      fmt::format("the policy book has {} VMs, {} groups and {} pools that the manager was not asked for: give one "
                  "without, and create them, or load what a policy manager saved",
                  book_.vms().size(), book_.groups().size(), book_.pools().size()));
}

/// Pools that the manager has filled since.
void PolicyManager::add_filled(PolicyBook& book) const {
  for (const auto& [pool, customer] : filling_) {
    const auto facts = manager_->dedicated_pool(pool);
    if (!facts || !facts->ready) continue;
    enforce(book.add_pool(Caller::provider(), pool, customer).has_value(), "a pool that is filled is new to the book");
  }
}

const PolicyBook& PolicyManager::book() {
  add_filled(book_);
  std::erase_if(filling_, [&](const auto& entry) {
    return book_.pools().contains(entry.first) || !manager_->dedicated_pool(entry.first);
  });
  return book_;
}

/// Has every VM follow another book with the same VMs, groups and pools, or none.
Result<void> PolicyManager::follow(PolicyBook next) {
  if (!same_vms(next, book_) || next.groups() != book_.groups() || next.pools() != book_.pools()) {
    return Error{HostErrc::InvalidArgument,
                 "a change of policies has added or removed VMs, groups or pools: use the calls that create and end "
                 "them"};
  }
  if (auto checked = check_named_pools(next); !checked) return checked;
  std::vector<VmPolicy> changed;
  for (const auto& [vm, subject] : next.vms()) {
    const auto profile = manager_->profile(vm);
    if (!profile) continue;  // it follows when it is adopted
    VmPolicy policy = policy_of(next, vm);
    if (policy_of(*profile) != policy) changed.push_back(std::move(policy));
  }
  if (auto followed = manager_->change_vms(changed); !followed) return followed;
  book_ = std::move(next);
  return {};
}

/// Whether the manager has the pools that policies name now and did not name before.
Result<void> PolicyManager::check_named_pools(const PolicyBook& next) const {
  for (const auto& [target, attachment] : next.attachments()) {
    const DedicatedPoolId pool = pool_named(next, target);
    if (!pool.is_set() || pool == pool_named(book_, target)) continue;
    const auto facts = manager_->dedicated_pool(pool);
    if (facts && facts->ready) continue;
    return Error{facts ? HostErrc::WrongState : HostErrc::UnknownId,
                 fmt::format("a policy names pool {}, {}", pool.value(),
                             facts ? "which is being filled: wait for its handler"
                                   : "whose memory was not found: create it again first")};
  }
  return {};
}

Result<void> PolicyManager::create_vm(const Caller& caller, const PolicySubject& subject, const Placement& placement) {
  PolicyBook next = book();
  if (auto known = next.register_vm(caller, subject); !known) return known;
  auto created = manager_->create_vm(profile_of(next, subject.vm, placement));
  if (created) book_ = std::move(next);
  return created;
}

Result<Grant> PolicyManager::adopt_as(const PolicyBook& next, VmId vm, const Placement& placement) {
  const VmProfile profile = profile_of(next, vm, placement);
  const std::vector<VmId> held = manager_->unadopted();
  if (std::find(held.begin(), held.end(), vm) != held.end()) return manager_->adopt(profile);
  if (auto created = manager_->create_vm(profile); !created) return created.error();
  return Grant{{}, vm, {}, false};
}

Result<Grant> PolicyManager::adopt(const Caller& caller, VmId vm, const std::optional<Placement>& placement) {
  if (auto checked = check_provider(caller, "adopt a VM"); !checked) return checked.error();
  const auto saved = unadopted_.find(vm);
  if (saved == unadopted_.end()) {
    if (!book_.vms().contains(vm)) return errors::unknown("VM", vm.value());
    return Error{HostErrc::WrongState, fmt::format("VM {} was adopted or created already: go on with it", vm.value())};
  }
  auto grant = adopt_as(book(), vm, placement.value_or(saved->second));
  if (grant) unadopted_.erase(saved);
  return grant;
}

Result<Grant> PolicyManager::adopt(const Caller& caller, const PolicySubject& subject, const Placement& placement) {
  PolicyBook next = book();
  const auto known = next.vms().find(subject.vm);
  if (known != next.vms().end() && known->second == subject) return adopt(caller, subject.vm, placement);
  if (auto registered = next.register_vm(caller, subject); !registered) return registered.error();
  auto grant = adopt_as(next, subject.vm, placement);
  if (grant) book_ = std::move(next);
  return grant;
}

std::vector<VmId> PolicyManager::unadopted() const {
  std::vector<VmId> vms;
  for (const auto& [vm, placement] : unadopted_) vms.push_back(vm);
  return vms;
}

Result<void> PolicyManager::terminate(const Caller& caller, VmId vm) {
  if (auto checked = check_provider(caller, "end a VM"); !checked) return checked;
  PolicyBook next = book();
  const bool registered = next.forget_vm(caller, vm).has_value();
  const std::vector<VmId> held = manager_->unadopted();
  // One that was registered and held nothing the manager does not know.
  if (!registered || !unadopted_.contains(vm) || std::find(held.begin(), held.end(), vm) != held.end()) {
    if (auto ended = manager_->terminate(vm); !ended) return ended;
  }
  book_ = std::move(next);
  unadopted_.erase(vm);
  return {};
}

Result<void> PolicyManager::create_trust_group(const Caller& caller, TrustGroupId group, CustomerId customer,
                                               TrustGroupId inside) {
  PolicyBook next = book();
  if (auto added = next.add_group(caller, group, customer); !added) return added;
  if (inside.is_set() && !book_.groups().contains(inside)) return errors::unknown("trust group", inside.value());
  const bool is_there = group == customer_group(customer) && !inside.is_set();
  auto created =
      is_there ? manager_->enable_trust_group(group, true) : manager_->create_trust_group(group, customer, inside);
  if (created) book_ = std::move(next);
  return created;
}

Result<void> PolicyManager::enable_trust_group(const Caller& caller, TrustGroupId group, bool enabled) {
  const PolicyTarget target{PolicyScope::TrustGroup, group.value()};
  const std::string_view what = enabled ? "enable" : "disable";
  if (auto checked = book_.check_caller(caller, target, what); !checked) return checked;
  if (!book_.groups().contains(group)) return errors::unknown("trust group", group.value());
  return manager_->enable_trust_group(group, enabled);
}

Result<void> PolicyManager::destroy_trust_group(const Caller& caller, TrustGroupId group) {
  PolicyBook next = book();
  if (auto removed = next.remove_group(caller, group); !removed) return removed;
  if (group != customer_group(book_.groups().at(group))) {
    if (auto destroyed = manager_->destroy_trust_group(group); !destroyed) return destroyed;
  } else if (const auto facts = manager_->trust_group(group); facts && facts->groups > 0) {
    return Error{HostErrc::WrongState,
                 fmt::format("trust group {:#x} has {} groups: destroy them first", group.value(), facts->groups)};
  }
  book_ = std::move(next);
  return {};
}

}  // namespace sluice::inline manager
