// SPDX-License-Identifier: Apache-2.0
// Which policy holds for a VM, and why.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "policy_fields.hpp"
#include "sluice/base/parse.hpp"

namespace sluice::inline policy {
namespace {

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

Result<void> check(PolicyTarget target) {
  if ((target.id == 0) == (target.scope == PolicyScope::Default)) return {};
  return Error{
      HostErrc::InvalidArgument,
      fmt::format("a policy for {} with id {}: give an id from 1, and 0 for default", describe(target), target.id)};
}

Error unknown_template(const std::string& name) {
  return {HostErrc::UnknownId, fmt::format("policy template {} does not exist: create it first", in_quotes(name))};
}

/// By precedence.
std::vector<PolicyTarget> targets_of(const PolicySubject& subject) {
  std::vector<PolicyTarget> targets;
  const auto add = [&](PolicyScope scope, std::uint64_t id) {
    if (id != 0) targets.push_back({scope, id});
  };
  add(PolicyScope::Instance, subject.vm.value());
  add(PolicyScope::TrustGroup, subject.group.value());
  add(PolicyScope::User, subject.user.value());
  add(PolicyScope::Customer, subject.customer.value());
  targets.push_back({PolicyScope::Default, 0});
  return targets;
}

std::string built_in(const FieldFacts& facts) {
  switch (facts.kind) {
    case FieldKind::Switch:
      return RecycleSettings{}.*facts.flag ? "true" : "false";
    case FieldKind::Seconds:
      return "0";
    case FieldKind::Choice:
      return std::string(facts.choices.front());
    case FieldKind::Pattern:
      return "0x0000000000000000";
  }
  return {};
}

template <class Enum>
Enum choice_of(std::span<const std::string_view> choices, std::string_view value) {
  const auto found = std::find(choices.begin(), choices.end(), value);
  return static_cast<Enum>(found - choices.begin());
}

void apply(EffectivePolicy& effective, const FieldFacts& facts, const std::string& value) {
  if (facts.kind == FieldKind::Switch) {
    effective.recycle.*facts.flag = value == "true";
  } else if (facts.field == PolicyField::ScrubTiming) {
    effective.scrub.timing = choice_of<ScrubTiming>(kTimings, value);
  } else if (facts.field == PolicyField::ScrubDelay) {
    effective.scrub.delay = std::chrono::nanoseconds(std::llround(parse_real(value).value_or(0.0) * 1e9));
  } else if (facts.field == PolicyField::Fill) {
    effective.scrub.method = choice_of<FillMethod>(kMethods, value);
  } else if (facts.field == PolicyField::FillPattern) {
    effective.scrub.pattern = pattern_of(value).value_or(0);
  }
}

/// Fields that only make sense together come from one document.
PolicyField leader_of(PolicyField field) {
  if (field == PolicyField::ScrubDelay) return PolicyField::ScrubTiming;
  if (field == PolicyField::FillPattern) return PolicyField::Fill;
  return field;
}

}  // namespace

Result<void> PolicyBook::create_template(const std::string& name, const Policy& policy) {
  if (name.empty()) return Error{HostErrc::InvalidArgument, "a policy template needs a name: give one"};
  if (templates_.emplace(name, policy).second) return {};
  return Error{HostErrc::InvalidArgument,
               fmt::format("policy template {} exists: change it, or choose another name", in_quotes(name))};
}

Result<void> PolicyBook::change_template(const std::string& name, const Policy& policy) {
  const auto found = templates_.find(name);
  if (found == templates_.end()) return unknown_template(name);
  found->second = policy;
  return {};
}

Result<void> PolicyBook::copy_template(const std::string& name, const std::string& copy) {
  const auto found = templates_.find(name);
  if (found == templates_.end()) return unknown_template(name);
  return create_template(copy, Policy(found->second));
}

Result<void> PolicyBook::remove_template(const std::string& name) {
  if (!templates_.contains(name)) return unknown_template(name);
  for (const auto& [target, attached] : attached_) {
    if (attached.template_name != name) continue;
    return Error{HostErrc::WrongState, fmt::format("policy template {} is attached to {}: detach it first",
                                                   in_quotes(name), describe(target))};
  }
  templates_.erase(name);
  return {};
}

Result<void> PolicyBook::attach(PolicyTarget target, const Policy& policy) {
  if (auto checked = check(target); !checked) return checked;
  attached_[target] = {{}, policy};
  return {};
}

Result<void> PolicyBook::attach_template(PolicyTarget target, const std::string& name) {
  if (auto checked = check(target); !checked) return checked;
  if (!templates_.contains(name)) return unknown_template(name);
  attached_[target] = {name, {}};
  return {};
}

Result<void> PolicyBook::lock(PolicyTarget target, PolicyField field) {
  if (auto checked = check(target); !checked) return checked;
  const FieldFacts& facts = kFields.at(static_cast<std::size_t>(field));
  if (!facts.recycles && field != PolicyField::Enable) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("policy field '{}' cannot be denied: lock 'enable' or a field that lets memory be reused",
                             facts.name)};
  }
  locks_[target].insert(field);
  return {};
}

void PolicyBook::unlock(PolicyTarget target, PolicyField field) {
  const auto found = locks_.find(target);
  if (found == locks_.end()) return;
  found->second.erase(field);
  if (found->second.empty()) locks_.erase(found);
}

const Policy& PolicyBook::policy_of(const Attached& attached) const {
  return attached.template_name.empty() ? attached.policy : templates_.at(attached.template_name);
}

EffectivePolicy PolicyBook::effective(const PolicySubject& subject) const {
  const std::vector<PolicyTarget> targets = targets_of(subject);
  EffectivePolicy effective;
  for (const FieldFacts& facts : kFields) {
    PolicyExplanation why{facts.field, built_in(facts), "built in"};
    const PolicyField leader = leader_of(facts.field);
    for (const PolicyTarget target : targets) {
      const auto attached = attached_.find(target);
      if (attached == attached_.end() || !policy_of(attached->second).value(leader)) continue;
      const auto value = policy_of(attached->second).value(facts.field);
      if (value) why.value = *value;
      why.from = describe(target);
      if (!attached->second.template_name.empty()) {
        why.from += fmt::format(", template {}", in_quotes(attached->second.template_name));
      }
      break;
    }
    for (const PolicyTarget target : targets) {
      const auto locked = locks_.find(target);
      if (locked == locks_.end() || !locked->second.contains(facts.field)) continue;
      why.value = "false";
      why.from = "locked by the provider for " + describe(target);
      break;
    }
    apply(effective, facts, why.value);
    effective.explanation.push_back(std::move(why));
  }
  return effective;
}

}  // namespace sluice::inline policy
