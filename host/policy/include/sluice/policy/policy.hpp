// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/memory/error.hpp"
#include "sluice/policy/claim.hpp"

namespace sluice::inline policy {

using UserId = StrongId<struct UserKind>;

/// What can be said about a VM's memory. Each field can be left open.
enum class PolicyField : std::uint8_t {
  Enable,
  RecycleOnReboot,
  RecycleWithinVm,
  RecycleWithinDedicatedPool,
  RecycleWithinTrustGroup,
  ForceNewMemory,
  RetainMemory,
  GrowPoolOnReboot,
  ScrubTiming,
  ScrubDelay,
  Fill,
  FillPattern,
};
inline constexpr std::size_t kPolicyFields = 12;

/// As in documents: "recycle_on_reboot".
[[nodiscard]] std::string_view to_string(PolicyField field);

/// A policy document: some fields with their values, as they stand in a document.
class Policy {
 public:
  /// One object with the fields of docs/policy.schema.json. Errors: InvalidArgument for text that does not parse, for
  /// fields and values that do not exist, and for what contradicts itself; they say where and what.
  [[nodiscard]] static Result<Policy> from_json(std::string_view text);
  [[nodiscard]] static Result<Policy> from_toml(std::string_view text);
  [[nodiscard]] std::string to_json() const;
  /// The JSON Schema (2020-12) of documents.
  [[nodiscard]] static std::string schema();

  /// nullopt: left open.
  [[nodiscard]] std::optional<std::string> value(PolicyField field) const;
  bool operator==(const Policy&) const = default;

 private:
  friend class PolicyReader;
  std::map<PolicyField, std::string> values_;
};

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
  TrustGroupId group;
  UserId user;
  CustomerId customer;
};

/// One field of what holds for a VM, and who said so: "trust group 7, template 'web'", "locked by the provider for
/// customer 3", "built in".
struct PolicyExplanation {
  PolicyField field;
  std::string value;
  std::string from;
};

struct EffectivePolicy {
  RecycleSettings recycle;
  ScrubSettings scrub;
  std::vector<PolicyExplanation> explanation;  ///< Every field, in their order.
};

/// Templates, what policies are attached to what, and what the provider has locked. Not thread-safe. A call that
/// returns an error has changed nothing.
class PolicyBook {
 public:
  /// A template: a policy with a name. Errors: InvalidArgument for an empty name or one that is taken.
  [[nodiscard]] Result<void> create_template(const std::string& name, const Policy& policy);
  /// Everything that the template is attached to follows. Errors: UnknownId.
  [[nodiscard]] Result<void> change_template(const std::string& name, const Policy& policy);
  /// Errors: as create_template, UnknownId.
  [[nodiscard]] Result<void> copy_template(const std::string& name, const std::string& copy);
  /// Errors: UnknownId, WrongState while it is attached.
  [[nodiscard]] Result<void> remove_template(const std::string& name);
  [[nodiscard]] const std::map<std::string, Policy>& templates() const { return templates_; }

  /// In place of what was attached there. Errors: InvalidArgument (an id that does not fit the scope).
  [[nodiscard]] Result<void> attach(PolicyTarget target, const Policy& policy);
  /// Errors: also UnknownId for a template that is not there.
  [[nodiscard]] Result<void> attach_template(PolicyTarget target, const std::string& name);
  void detach(PolicyTarget target) { attached_.erase(target); }

  /// The provider's word: for all VMs that the target covers, the field is off whatever anybody says. Errors:
  /// InvalidArgument for a field that cannot be off.
  [[nodiscard]] Result<void> lock(PolicyTarget target, PolicyField field);
  void unlock(PolicyTarget target, PolicyField field);

  /// What holds for a VM now. Field by field: a lock, else instance, trust group, user, customer, default, else what is
  /// built in (RecycleSettings{}, ScrubSettings{}).
  [[nodiscard]] EffectivePolicy effective(const PolicySubject& subject) const;

 private:
  struct Attached {
    std::string template_name;  ///< Empty: `policy`.
    Policy policy;
  };
  [[nodiscard]] const Policy& policy_of(const Attached& attached) const;

  std::map<std::string, Policy> templates_;
  std::map<PolicyTarget, Attached> attached_;
  std::map<PolicyTarget, std::set<PolicyField>> locks_;
};

}  // namespace sluice::inline policy
