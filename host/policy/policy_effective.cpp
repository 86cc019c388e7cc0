// SPDX-License-Identifier: Apache-2.0
// Which policy holds for a VM, and why.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "policy_fields.hpp"
#include "policy_state.hpp"
#include "sluice/base/parse.hpp"

namespace sluice::inline policy {
namespace {

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

/// Policies of groups name no group, so that those of the group that this finds cannot lead to another.
TrustGroupId group_of(const PolicyState& state, PolicySubject subject) {
  const TrustGroupId registered = subject.group;
  subject.group = {};
  for (const PolicyTarget target : targets_of(subject)) {
    const auto attached = state.attached.find(target);
    if (attached == state.attached.end()) continue;
    if (const auto id = id_in(policy_of(state, attached->second), PolicyField::TrustGroup)) return TrustGroupId(*id);
  }
  return id_in(state.built_in, PolicyField::TrustGroup) ? TrustGroupId() : registered;
}

std::string built_in(const FieldFacts& facts) {
  switch (facts.kind) {
    case FieldKind::Switch:
      return RecycleSettings{}.*facts.flag ? "true" : "false";
    case FieldKind::Seconds:
      if (facts.field != PolicyField::Reservation) return "0";
      return fmt::format("{}", std::chrono::floor<std::chrono::seconds>(RecycleSettings{}.reservation).count());
    case FieldKind::Choice:
      return std::string(facts.choices.front());
    case FieldKind::Pattern:
      return "0x0000000000000000";
    case FieldKind::Id:
      return "0";
  }
  return {};
}

template <class Enum>
Enum choice_of(std::span<const std::string_view> choices, std::string_view value) {
  const auto found = std::find(choices.begin(), choices.end(), value);
  return static_cast<Enum>(found - choices.begin());
}

std::chrono::nanoseconds seconds_of(std::string_view value) {
  return std::chrono::nanoseconds(std::llround(parse_real(value).value_or(0.0) * 1e9));
}

void apply(EffectivePolicy& effective, const FieldFacts& facts, const std::string& value) {
  if (facts.kind == FieldKind::Switch) {
    effective.recycle.*facts.flag = value == "true";
  } else if (facts.field == PolicyField::ScrubTiming) {
    effective.scrub.timing = choice_of<ScrubTiming>(kTimings, value);
  } else if (facts.field == PolicyField::ScrubDelay) {
    effective.scrub.delay = seconds_of(value);
  } else if (facts.field == PolicyField::Fill) {
    effective.scrub.method = choice_of<FillMethod>(kMethods, value);
  } else if (facts.field == PolicyField::FillPattern) {
    effective.scrub.pattern = pattern_of(value).value_or(0);
  } else if (facts.field == PolicyField::TrustGroup) {
    effective.group = TrustGroupId(parse_integer<std::uint64_t>(value).value_or(0));
  } else if (facts.field == PolicyField::DedicatedPool) {
    effective.pool = DedicatedPoolId(parse_integer<std::uint64_t>(value).value_or(0));
  } else if (facts.field == PolicyField::Reservation) {
    effective.recycle.reservation = seconds_of(value);
  }
}

/// Fields that only make sense together come from one document.
PolicyField leader_of(PolicyField field) {
  if (field == PolicyField::ScrubDelay) return PolicyField::ScrubTiming;
  if (field == PolicyField::FillPattern) return PolicyField::Fill;
  return field;
}

/// What holds where no policy says anything.
PolicyExplanation unsaid(const PolicyState& state, const PolicySubject& subject, const FieldFacts& facts) {
  const auto provided = [&](PolicyField field) { return state.built_in.value(field); };
  if (provided(leader_of(facts.field))) {
    return {facts.field, provided(facts.field).value_or(built_in(facts)), "built in by the provider"};
  }
  const std::uint64_t registered = facts.field == PolicyField::TrustGroup      ? subject.group.value()
                                   : facts.field == PolicyField::DedicatedPool ? subject.pool.value()
                                                                               : 0;
  if (registered != 0) return {facts.field, fmt::format("{}", registered), "as registered"};
  return {facts.field, built_in(facts), "built in"};
}

PolicyExplanation by_policies(const PolicyState& state, std::span<const PolicyTarget> targets, PolicyExplanation why) {
  const PolicyField leader = leader_of(why.field);
  for (const PolicyTarget target : targets) {
    const auto found = state.attached.find(target);
    if (found == state.attached.end()) continue;
    const Policy& policy = policy_of(state, found->second);
    if (!policy.value(leader)) continue;
    const FieldFacts& facts = kFields.at(static_cast<std::size_t>(why.field));
    why.value = policy.value(why.field).value_or(built_in(facts));
    why.from = describe(target);
    const std::string& name = found->second.template_name;
    if (!name.empty()) why.from += fmt::format(", template {}", in_quotes(name));
    break;
  }
  return why;
}

PolicyExplanation by_itself(const PolicyState& state, VmId vm, PolicyExplanation why) {
  const auto says = state.says.find(vm);
  if (says == state.says.end()) return why;
  const auto said = says->second.find(why.field);
  if (said == says->second.end()) return why;
  return {why.field, said->second ? "true" : "false", fmt::format("VM {} itself", vm.value())};
}

/// The nearest that the field is locked for; nullopt: none.
std::optional<PolicyTarget> lock_on(const PolicyState& state, std::span<const PolicyTarget> targets,
                                    PolicyField field) {
  for (const PolicyTarget target : targets) {
    const auto locked = state.locks.find(target);
    if (locked != state.locks.end() && locked->second.contains(field)) return target;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> id_in(const Policy& policy, PolicyField field) {
  const auto value = policy.value(field);
  return value ? parse_integer<std::uint64_t>(*value) : std::nullopt;
}

const Policy& policy_of(const PolicyState& state, const PolicyAttachment& attachment) {
  return attachment.template_name.empty() ? attachment.policy : state.templates.at(attachment.template_name).policy;
}

EffectivePolicy effective_policy(const PolicyState& state, const PolicySubject& subject) {
  PolicySubject covered = subject;
  covered.group = group_of(state, subject);
  const std::vector<PolicyTarget> targets = targets_of(covered);
  EffectivePolicy effective;
  for (const FieldFacts& facts : kFields) {
    PolicyExplanation why = by_policies(state, targets, unsaid(state, subject, facts));
    why = by_itself(state, subject.vm, std::move(why));
    if (const auto lock = lock_on(state, targets, facts.field)) {
      why = {facts.field, "false", "locked by the provider for " + describe(*lock)};
      effective.locked.insert(facts.field);
    }
    apply(effective, facts, why.value);
    effective.explanation.push_back(std::move(why));
  }
  return effective;
}

ChangedVms changed_vms(const PolicyState& before, const PolicyState& after) {
  ChangedVms changed;
  for (const auto& [vm, subject] : after.vms) {
    const auto was = before.vms.find(vm);
    if (was == before.vms.end()) continue;
    const EffectivePolicy old = effective_policy(before, was->second);
    const EffectivePolicy now = effective_policy(after, subject);
    const bool same =
        old.recycle == now.recycle && old.scrub == now.scrub && old.group == now.group && old.pool == now.pool;
    if (!same) changed.push_back(vm);
  }
  return changed;
}

}  // namespace sluice::inline policy
