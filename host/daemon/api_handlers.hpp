// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <boost/json.hpp>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api_body.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/daemon/api.hpp"

namespace sluice::inline daemon {

/// One request, when it is known which route it takes.
struct ApiCall {
  const Caller& caller;
  std::vector<std::string> parts;  ///< What stands for {...} in the path, one after the other.
  std::string_view body;
};

using ApiAnswer = Result<ApiResponse>;

/// What each route does. Files: api_page.cpp, api_memory.cpp, api_events.cpp, api_vms.cpp, api_pools.cpp,
/// api_groups.cpp, api_policies.cpp, api_registrations.cpp, api_metrics.cpp, api_audit.cpp.
class Api::Handlers {
 public:
  using Handler = ApiAnswer (Handlers::*)(const ApiCall&);
  struct Entry {
    ApiRoute route;
    Handler handler;
  };

  Handlers(Host& host, PolicyManager& policies, StateStore& state, const BackingMemory& memory, const Engine& engine,
           const Series& series, const Events& events)
      : host_(&host),
        policies_(&policies),
        state_(&state),
        memory_(&memory),
        engine_(&engine),
        series_(&series),
        events_(&events) {}

  [[nodiscard]] static std::span<const Entry> table();
  void restore_pools();
  /// Errors: NotPermitted.
  [[nodiscard]] Result<void> check_caller(const Caller& caller) const;

 private:
  // api_metrics.cpp
  ApiAnswer get_host(const ApiCall& call);
  ApiAnswer get_metrics(const ApiCall& call);
  // api_page.cpp
  ApiAnswer get_page(const ApiCall& call);
  ApiAnswer get_page_script(const ApiCall& call);
  ApiAnswer get_page_style(const ApiCall& call);
  // api_memory.cpp
  ApiAnswer get_memory(const ApiCall& call);
  ApiAnswer get_quarantine(const ApiCall& call);
  ApiAnswer get_series(const ApiCall& call);
  // api_events.cpp
  ApiAnswer get_events(const ApiCall& call);
  ApiAnswer get_events_after(const ApiCall& call);
  // api_audit.cpp
  ApiAnswer get_audit(const ApiCall& call);
  ApiAnswer get_audit_lines(const ApiCall& call);
  ApiAnswer verify_audit(const ApiCall& call);
  ApiAnswer get_erasure(const ApiCall& call);
  // api_vms.cpp
  ApiAnswer get_vms(const ApiCall& call);
  ApiAnswer get_vm(const ApiCall& call);
  ApiAnswer reboot_vm(const ApiCall& call);
  ApiAnswer give_up_vm(const ApiCall& call);
  ApiAnswer put_vm_group(const ApiCall& call);
  ApiAnswer put_vm_pool(const ApiCall& call);
  ApiAnswer put_vm_say(const ApiCall& call);
  // api_groups.cpp
  ApiAnswer get_groups(const ApiCall& call);
  ApiAnswer post_group(const ApiCall& call);
  ApiAnswer get_group(const ApiCall& call);
  ApiAnswer patch_group(const ApiCall& call);
  ApiAnswer delete_group(const ApiCall& call);
  ApiAnswer get_users(const ApiCall& call);
  ApiAnswer post_user(const ApiCall& call);
  ApiAnswer delete_user(const ApiCall& call);
  // api_pools.cpp
  ApiAnswer get_pools(const ApiCall& call);
  ApiAnswer post_pool(const ApiCall& call);
  ApiAnswer get_pool(const ApiCall& call);
  ApiAnswer delete_pool(const ApiCall& call);
  ApiAnswer grow_pool(const ApiCall& call);
  ApiAnswer shrink_pool(const ApiCall& call);
  ApiAnswer partition_pool(const ApiCall& call);
  ApiAnswer merge_pool(const ApiCall& call);
  ApiAnswer change_pool_rule(const ApiCall& call);
  // api_policies.cpp
  ApiAnswer get_templates(const ApiCall& call);
  ApiAnswer post_template(const ApiCall& call);
  ApiAnswer get_template(const ApiCall& call);
  ApiAnswer put_template(const ApiCall& call);
  ApiAnswer delete_template(const ApiCall& call);
  ApiAnswer copy_template(const ApiCall& call);
  ApiAnswer get_attachments(const ApiCall& call);
  ApiAnswer get_attachment(const ApiCall& call);
  ApiAnswer put_attachment(const ApiCall& call);
  ApiAnswer delete_attachment(const ApiCall& call);
  ApiAnswer get_locks(const ApiCall& call);
  ApiAnswer put_lock(const ApiCall& call);
  ApiAnswer delete_lock(const ApiCall& call);
  // api_registrations.cpp
  ApiAnswer get_registrations(const ApiCall& call);
  ApiAnswer get_registration(const ApiCall& call);
  ApiAnswer put_registration(const ApiCall& call);
  ApiAnswer delete_registration(const ApiCall& call);

  /// A pool that is not filled yet, or could not be.
  struct Filling {
    CustomerId customer;
    std::string failure;  ///< Empty: it is being filled.
  };
  using Fillings = std::map<DedicatedPoolId, Filling>;

  /// Of a VM that the caller sees. Errors: InvalidArgument (no UUID), UnknownId.
  [[nodiscard]] Result<const VmRecord*> find_vm(const ApiCall& call) const;
  [[nodiscard]] Result<const VmRecord*> find_vm(const Caller& caller, std::string_view uuid) const;
  /// A user sees those that policies say are its.
  [[nodiscard]] bool sees_vm(const Caller& caller, VmId vm) const;
  [[nodiscard]] bool sees_user(const Caller& caller, UserId user) const;
  /// Errors: InvalidArgument (no number), UnknownId (also: it is another customer's).
  [[nodiscard]] Result<TrustGroupId> find_group(const ApiCall& call);
  [[nodiscard]] Result<DedicatedPoolId> find_pool(const ApiCall& call);
  [[nodiscard]] Result<PolicyTarget> find_target(const ApiCall& call) const;
  [[nodiscard]] bool sees_target(const Caller& caller, PolicyTarget target);
  [[nodiscard]] bool sees_template(const Caller& caller, const PolicyTemplate& known);
  [[nodiscard]] boost::json::object target_json(PolicyTarget target) const;
  [[nodiscard]] boost::json::object attachment_json(PolicyTarget target, const PolicyAttachment& attached) const;
  [[nodiscard]] boost::json::object vm_summary(const Caller& caller, const VmRecord& record) const;
  [[nodiscard]] boost::json::value uuid_json(VmId vm) const;
  [[nodiscard]] static boost::json::array holders_json(const LeaseFacts& lease);
  template <class Id>
  ApiAnswer put_subject(const ApiCall& call, Id PolicySubject::*field);
  [[nodiscard]] boost::json::object group_json(TrustGroupId group, CustomerId customer) const;
  [[nodiscard]] boost::json::object pool_json(DedicatedPoolId pool, const PoolFacts& facts) const;
  [[nodiscard]] boost::json::object changed_json(const ChangedVms& changed) const;
  [[nodiscard]] PoolHandler when_filled(DedicatedPoolId pool, CustomerId customer);
  /// The registration that names this, for a refusal; empty: none. Errors: of the store.
  template <class Names>
  [[nodiscard]] Result<std::string> registration_naming(const Names& names) {
    const auto all = state_->registrations();
    if (!all) return all.error();
    for (const VmRegistration& each : *all) {
      if (names(each)) return to_string(each.uuid);
    }
    return std::string();
  }

  /// Saves the policies and gives `answer`, or what is to be said where they could not be saved.
  [[nodiscard]] ApiResponse stored(ApiResponse answer);
  /// The same where the call itself may have failed.
  template <class Value>
  [[nodiscard]] ApiAnswer stored(const Result<Value>& done, ApiResponse answer) {
    if (!done) return done.error();
    return stored(std::move(answer));
  }
  [[nodiscard]] ApiAnswer stored_changes(const Result<ChangedVms>& done);

  Host* host_;
  PolicyManager* policies_;
  StateStore* state_;
  const BackingMemory* memory_;
  const Engine* engine_;
  const Series* series_;
  const Events* events_;
  /// What handlers of the manager, which outlives this, have of it.
  std::shared_ptr<Fillings> fillings_ = std::make_shared<Fillings>();
};

[[nodiscard]] inline ApiResponse reply(const boost::json::value& value, unsigned status = 200) {
  return {.status = status, .type = "application/json", .body = boost::json::serialize(value) + "\n", .allow = {}};
}
/// 204
[[nodiscard]] inline ApiResponse nothing() { return {.status = 204, .type = {}, .body = {}, .allow = {}}; }

[[nodiscard]] inline bool sees(const Caller& caller, CustomerId customer) {
  return caller.role == Caller::Role::Provider || caller == Caller::customer(customer);
}
[[nodiscard]] inline Error unknown(std::string_view what, std::string_view id) {
  return {HostErrc::UnknownId, fmt::format("there is no {} {}: list what there is", what, in_quotes(id))};
}
/// An id in a path.
template <class Id>
[[nodiscard]] Result<Id> parse_id(std::string_view text) {
  const auto number = parse_integer<std::uint64_t>(text);
  if (number && *number != 0) return Id(*number);
  return Error{HostErrc::InvalidArgument, fmt::format("{} is no id: give a number from 1", in_quotes(text))};
}
[[nodiscard]] Result<PolicyField> parse_field(std::string_view text);
/// As names are written in JSON and in labels: "same_vm_after_reboot".
[[nodiscard]] std::string label(std::string_view words);
[[nodiscard]] boost::json::value policy_json(const Policy& policy);
/// A call whose body is to be empty, or an empty object.
void expect_no_body(const ApiCall& call);

}  // namespace sluice::inline daemon
