// SPDX-License-Identifier: Apache-2.0
// What the tests of the policy manager share.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "sluice/manager/policy_manager.hpp"

namespace sluice::test {

inline constexpr Caller kProvider = Caller::provider();

inline Policy policy(const std::string& json) { return Policy::from_json(json).value(); }

inline Result<ChangedVms> attach(PolicyManager& policies, const Caller& caller, PolicyTarget target,
                                 const std::string& json) {
  return policies.apply([&](PolicyBook& book) { return book.attach(caller, target, policy(json)); });
}

/// What the book and the manager say, each on its own side.
struct BothSides {
  PolicyBook book;
  std::map<VmId, std::optional<VmProfile>> profiles;
  std::map<TrustGroupId, std::optional<GroupFacts>> groups;
  std::map<DedicatedPoolId, std::optional<PoolFacts>> pools;
  bool operator==(const BothSides&) const = default;
};

inline BothSides both_sides(PolicyManager& policies) {
  BothSides sides;
  sides.book = policies.book();
  const MemoryManager& manager = policies.manager();
  for (const auto& [vm, subject] : sides.book.vms()) sides.profiles[vm] = manager.profile(vm);
  for (const auto& [group, customer] : sides.book.groups()) sides.groups[group] = manager.trust_group(group);
  for (const auto& [pool, customer] : sides.book.pools()) sides.pools[pool] = manager.dedicated_pool(pool);
  return sides;
}

/// Whether the manager has each VM as the book says that it is.
inline void expect_in_line(PolicyManager& policies) {
  const PolicyBook& book = policies.book();
  for (const auto& [vm, subject] : book.vms()) {
    const auto profile = policies.manager().profile(vm);
    if (!profile) continue;
    const EffectivePolicy says = book.effective_of(vm).value();
    EXPECT_EQ(profile->customer, subject.customer) << "VM " << vm.value();
    EXPECT_EQ(profile->group, says.group) << "VM " << vm.value();
    EXPECT_EQ(profile->pool, says.pool) << "VM " << vm.value();
    EXPECT_EQ(profile->allowed, says.recycle) << "VM " << vm.value();
    EXPECT_EQ(profile->scrub, says.scrub) << "VM " << vm.value();
    EXPECT_EQ(profile->may_say.enable, !says.locked.contains(PolicyField::Enable)) << "VM " << vm.value();
    EXPECT_EQ(profile->may_say.recycle_on_reboot, !says.locked.contains(PolicyField::RecycleOnReboot))
        << "VM " << vm.value();
  }
}

}  // namespace sluice::test
