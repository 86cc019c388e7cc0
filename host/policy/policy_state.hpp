// SPDX-License-Identifier: Apache-2.0
// What the parts of the policy book have in common.
#pragma once

#include "sluice/policy/policy_book.hpp"

namespace sluice::inline policy {

using PolicyState = PolicyBook::State;

inline constexpr std::size_t kLongestTemplateName = 200;  // bytes

[[nodiscard]] std::string describe(PolicyTarget target);
[[nodiscard]] std::string describe(const Caller& caller);

/// The id that a field of FieldKind::Id has in the policy; nullopt: left open.
[[nodiscard]] std::optional<std::uint64_t> id_in(const Policy& policy, PolicyField field);
[[nodiscard]] const Policy& policy_of(const PolicyState& state, const PolicyAttachment& attachment);
[[nodiscard]] EffectivePolicy effective_policy(const PolicyState& state, const PolicySubject& subject);
/// Of the registered VMs of both.
[[nodiscard]] ChangedVms changed_vms(const PolicyState& before, const PolicyState& after);

/// Who may do what, besides check_provider(). Errors: NotPermitted.
[[nodiscard]] Result<void> check_may(const PolicyState& state, const Caller& caller, PolicyTarget target,
                                     std::string_view what);
[[nodiscard]] Result<void> check_may_say(const PolicyState& state, const Caller& caller, VmId vm, bool withdraws);
[[nodiscard]] Result<void> check_may_manage_users(const Caller& caller, CustomerId customer);
[[nodiscard]] Result<void> check_may_create(const PolicyState& state, const Caller& caller);
[[nodiscard]] Result<void> check_may_change(const PolicyState& state, const Caller& caller, const std::string& name);
[[nodiscard]] Result<void> check_may_use(const PolicyState& state, const Caller& caller, const std::string& name);

/// What must be true of a book.
[[nodiscard]] Result<void> check_name(const std::string& name);
[[nodiscard]] Result<void> check_target(const PolicyState& state, PolicyTarget target);
[[nodiscard]] Result<void> check_lock(const PolicyState& state, PolicyTarget target, PolicyField field);
[[nodiscard]] Result<void> check_say(const PolicyState& state, VmId vm, PolicyField field);
[[nodiscard]] Result<void> check_vm(const PolicyState& state, const PolicySubject& subject);
/// Two pools of one customer.
[[nodiscard]] Result<void> check_pools(const PolicyState& state, DedicatedPoolId pool, DedicatedPoolId other);
[[nodiscard]] Result<void> check_attachment(const PolicyState& state, PolicyTarget target);
[[nodiscard]] Result<void> check_attachments(const PolicyState& state);
/// All of them.
[[nodiscard]] Result<void> check_state(const PolicyState& state);
/// By owner, target and customer; true for the provider.
[[nodiscard]] bool may(const PolicyState& state, const Caller& caller, PolicyTarget target);
[[nodiscard]] CustomerId customer_of(const PolicyState& state, PolicyTarget target);
[[nodiscard]] Error unknown_template(const std::string& name);

}  // namespace sluice::inline policy
