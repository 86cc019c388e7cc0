// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/policy/caller.hpp"
#include "sluice/policy/claim.hpp"
#include "sluice/policy/policy.hpp"

namespace sluice::inline policy {

/// What a policy is attached to; the nearest to the VM decides.
enum class PolicyScope : std::uint8_t { Instance, TrustGroup, User, Customer, Default };

struct PolicyTarget {
  PolicyScope scope = PolicyScope::Default;
  std::uint64_t id = 0;  ///< Of the VM, group, user or customer; 0 for Default.
  auto operator<=>(const PolicyTarget&) const = default;
};

/// By whom a VM is covered. Unset ids: by none.
struct PolicySubject {
  VmId vm;
  TrustGroupId group;  ///< Where no policy names another.
  UserId user;
  CustomerId customer;
  DedicatedPoolId pool;  ///< Where no policy names another.
  bool operator==(const PolicySubject&) const = default;
};

/// One field of what holds for a VM, and who said so: "trust group 7, template 'web'", "locked by the provider for
/// customer 3", "VM 3 itself", "as registered" (its group and its pool), "built in by the provider", "built in".
struct PolicyExplanation {
  PolicyField field;
  std::string value;
  std::string from;
};

struct EffectivePolicy {
  RecycleSettings recycle;
  ScrubSettings scrub;
  TrustGroupId group;                          ///< Unset: none.
  DedicatedPoolId pool;                        ///< Unset: none.
  std::set<PolicyField> locked;                ///< By the provider.
  std::vector<PolicyExplanation> explanation;  ///< Every field, in their order.
};

struct PolicyTemplate {
  Policy policy;
  Caller owner;
  bool operator==(const PolicyTemplate&) const = default;
};

struct PolicyAttachment {
  std::string template_name;  ///< Empty: `policy`.
  Policy policy;
  bool operator==(const PolicyAttachment&) const = default;
};

/// The VMs whose settings, group or pool a call has changed, by their id. They are registered; what holds for them now
/// is in effective_of().
using ChangedVms = std::vector<VmId>;

/// Who is covered by what: users, groups, pools and VMs with their customers; templates, what policies are attached to
/// what, what the provider has locked, and what VMs say themselves. Not thread-safe. A call that returns an error has
/// changed nothing.
///
/// Each call that changes something is given its caller, and fails with NotPermitted unless that may do it: the
/// provider everything; a customer what concerns its own VMs, users, groups and templates; a user what concerns its own
/// VMs, itself and its own templates; a VM only say(). Only the provider registers VMs, groups and pools, locks, and
/// attaches to Default. A template can be attached and copied by its owner, by the customer of a user that owns it, by
/// the provider, and by everybody if it is the provider's.
class PolicyBook {
 public:
  using Attachments = std::map<PolicyTarget, PolicyAttachment>;
  using Locks = std::map<PolicyTarget, std::set<PolicyField>>;

  PolicyBook() = default;
  /// What holds where nobody says anything. Throws std::invalid_argument if it names a group or a pool, which are one
  /// customer's.
  explicit PolicyBook(Policy built_in);

  /// Errors: InvalidArgument (unset ids), IdUsedBefore.
  [[nodiscard]] Result<void> add_user(const Caller& caller, UserId user, CustomerId customer);
  /// Errors: UnknownId, WrongState while a VM is registered for it, a policy or a lock is on it, or it owns a template.
  [[nodiscard]] Result<void> remove_user(const Caller& caller, UserId user);
  /// Groups and pools that policies can name. Errors: as of users; also WrongState while a policy names it.
  [[nodiscard]] Result<void> add_group(const Caller& caller, TrustGroupId group, CustomerId customer);
  [[nodiscard]] Result<void> remove_group(const Caller& caller, TrustGroupId group);
  [[nodiscard]] Result<void> add_pool(const Caller& caller, DedicatedPoolId pool, CustomerId customer);
  [[nodiscard]] Result<void> remove_pool(const Caller& caller, DedicatedPoolId pool);
  /// `other` has become a part of `pool`: VMs that are registered with it and policies that name it, templates too,
  /// have that instead. Errors: UnknownId, InvalidArgument (one pool twice), ForeignCustomer.
  [[nodiscard]] Result<ChangedVms> merge_pools(const Caller& caller, DedicatedPoolId pool, DedicatedPoolId other);

  /// A VM whose policy is watched from now on. The provider may attach a policy to it before. Errors: InvalidArgument
  /// (no id, no customer), IdUsedBefore, UnknownId (its user, group or pool), ForeignCustomer (one of these is another
  /// customer's, or a group or pool is that a policy attached to the VM names).
  [[nodiscard]] Result<void> register_vm(const Caller& caller, const PolicySubject& subject);
  /// It has another group or pool. Errors: as register_vm, UnknownId, InvalidArgument (another user or customer).
  [[nodiscard]] Result<ChangedVms> change_vm(const Caller& caller, const PolicySubject& subject);
  /// And what is attached to it, locked for it, and said by it. Errors: UnknownId.
  [[nodiscard]] Result<void> forget_vm(const Caller& caller, VmId vm);

  /// A policy with a name of 1 to 200 bytes in UTF-8; the caller owns it. Errors: InvalidArgument for another name, or
  /// one that is taken.
  [[nodiscard]] Result<void> create_template(const Caller& caller, const std::string& name, const Policy& policy);
  /// Everything that the template is attached to follows. Errors: UnknownId, and those of attach().
  [[nodiscard]] Result<ChangedVms> change_template(const Caller& caller, const std::string& name, const Policy& policy);
  /// The caller owns the copy. Errors: as create_template, UnknownId.
  [[nodiscard]] Result<void> copy_template(const Caller& caller, const std::string& name, const std::string& copy);
  /// Errors: UnknownId, WrongState while it is attached.
  [[nodiscard]] Result<void> remove_template(const Caller& caller, const std::string& name);

  /// In place of what was attached there; to all of the targets, or none. Errors: InvalidArgument (no target, an id
  /// that does not fit the scope, a policy that names a group or pool for Default, or a group for a group), UnknownId
  /// (a user or group as target, a group or pool that the policy names), ForeignCustomer (that is another customer's,
  /// or the template is).
  [[nodiscard]] Result<ChangedVms> attach(const Caller& caller, PolicyTarget target, const Policy& policy);
  [[nodiscard]] Result<ChangedVms> attach(const Caller& caller, std::span<const PolicyTarget> targets,
                                          const Policy& policy);
  /// Errors: also UnknownId for a template that is not there.
  [[nodiscard]] Result<ChangedVms> attach_template(const Caller& caller, PolicyTarget target, const std::string& name);
  [[nodiscard]] Result<ChangedVms> attach_template(const Caller& caller, std::span<const PolicyTarget> targets,
                                                   const std::string& name);
  /// Nothing, where nothing is attached.
  [[nodiscard]] Result<ChangedVms> detach(const Caller& caller, PolicyTarget target);
  [[nodiscard]] Result<ChangedVms> detach(const Caller& caller, std::span<const PolicyTarget> targets);

  /// The provider's word: for all VMs that the target covers, the field is off whatever anybody says. Errors:
  /// InvalidArgument for a field that cannot be off; those of targets as attach().
  [[nodiscard]] Result<ChangedVms> lock(const Caller& caller, PolicyTarget target, PolicyField field);
  [[nodiscard]] Result<ChangedVms> unlock(const Caller& caller, PolicyTarget target, PolicyField field);

  /// What a VM says of itself: only Enable and RecycleOnReboot, and nearer than any policy; nullopt: nothing, which
  /// also its user and its customer may restore. Errors: InvalidArgument for other fields, UnknownId.
  [[nodiscard]] Result<ChangedVms> say(const Caller& caller, VmId vm, PolicyField field, std::optional<bool> value);

  /// What holds for a VM now. Field by field: a lock, else what the VM says, else instance, trust group, user,
  /// customer, default, else what the provider has built in, else RecycleSettings{} and ScrubSettings{}.
  [[nodiscard]] EffectivePolicy effective(const PolicySubject& subject) const;
  /// Of a registered VM. Errors: UnknownId.
  [[nodiscard]] Result<EffectivePolicy> effective_of(VmId vm) const;

  [[nodiscard]] const std::map<std::string, PolicyTemplate>& templates() const { return state_.templates; }
  [[nodiscard]] const Attachments& attachments() const { return state_.attached; }
  /// nullopt: nothing is attached there.
  [[nodiscard]] std::optional<PolicyAttachment> attached(PolicyTarget target) const;
  [[nodiscard]] const Locks& locks() const { return state_.locks; }
  [[nodiscard]] const std::map<UserId, CustomerId>& users() const { return state_.users; }
  [[nodiscard]] const std::map<TrustGroupId, CustomerId>& groups() const { return state_.groups; }
  [[nodiscard]] const std::map<DedicatedPoolId, CustomerId>& pools() const { return state_.pools; }
  [[nodiscard]] const std::map<VmId, PolicySubject>& vms() const { return state_.vms; }

  /// All of it but what is built in, as one JSON document; equal books give equal text.
  [[nodiscard]] std::string save() const;
  /// What save() gave, at most 64 MiB. Errors: InvalidArgument for what is no such document, with the place in it;
  /// else as the calls that would have made the book.
  [[nodiscard]] static Result<PolicyBook> load(std::string_view text, Policy built_in = {});

  /// Whether the caller may do what concerns the target and is no call of the book, such as "enable". Errors:
  /// NotPermitted.
  [[nodiscard]] Result<void> check_caller(const Caller& caller, PolicyTarget target, std::string_view what) const;

  bool operator==(const PolicyBook&) const = default;

  /// What a book holds.
  struct State {
    Policy built_in;
    std::map<UserId, CustomerId> users;
    std::map<TrustGroupId, CustomerId> groups;
    std::map<DedicatedPoolId, CustomerId> pools;
    std::map<VmId, PolicySubject> vms;
    std::map<std::string, PolicyTemplate> templates;
    Attachments attached;
    Locks locks;
    std::map<VmId, std::map<PolicyField, bool>> says;
    bool operator==(const State&) const = default;
  };

 private:
  template <class Edit>
  [[nodiscard]] Result<ChangedVms> change(const Edit& edit);
  [[nodiscard]] Result<ChangedVms> put(const Caller& caller, std::span<const PolicyTarget> targets,
                                       const PolicyAttachment& attachment);

  State state_;
};

}  // namespace sluice::inline policy
