// SPDX-License-Identifier: Apache-2.0
// What is promised of policies, whatever they were written in.
#pragma once

#include "fuzz/fuzz.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/policy/policy_book.hpp"

namespace sluice::fuzz {

inline void check_policy(const Result<Policy>& policy) {
  if (!policy) return check_message(policy.error().message);
  const auto again = Policy::from_json(policy->to_json());
  enforce(again && *again == *policy, "a policy is written as it was read");
  PolicyBook book;
  const PolicyTarget target{PolicyScope::Instance, 1};
  enforce(!book.attach(Caller::provider(), {PolicyScope::Default, 1}, *policy), "a policy is attached to something");
  for (const PolicyExplanation& why : book.effective({}).explanation) {
    enforce(why.from == "built in", "a call that fails changes nothing");
  }
  for (const PolicyField field : {PolicyField::TrustGroup, PolicyField::DedicatedPool}) {
    const auto id = parse_integer<std::uint64_t>(policy->value(field).value_or("0")).value_or(0);
    if (id == 0) continue;
    enforce(!book.attach(Caller::provider(), target, *policy), "what a policy names is registered");
    enforce(field == PolicyField::TrustGroup
                ? book.add_group(Caller::provider(), TrustGroupId(id), CustomerId(1)).has_value()
                : book.add_pool(Caller::provider(), DedicatedPoolId(id), CustomerId(1)).has_value(),
            "an id is registered");
  }
  enforce(book.attach(Caller::provider(), target, *policy).has_value(), "a good policy can be attached");
  const EffectivePolicy effective = book.effective({VmId(1), {}, {}, CustomerId(1)});
  enforce(effective.explanation.size() == kPolicyFields, "each field is explained");
  for (const PolicyExplanation& why : effective.explanation) {
    const auto value = policy->value(why.field);
    enforce(!value || (why.value == *value && why.from == "VM 1"), "what a policy says holds");
    enforce(value || why.from == "built in" || why.from == "VM 1", "what it leaves open is built in");
  }
  const std::chrono::nanoseconds delay = effective.scrub.delay;
  enforce(delay.count() >= 0 && delay <= std::chrono::hours(24 * 365), "a delay is at most a year");
  const auto written = policy->value(PolicyField::ScrubDelay);
  enforce(!written || *written == "0" || delay.count() > 0, "a delay is not lost");
}

}  // namespace sluice::fuzz
