// SPDX-License-Identifier: Apache-2.0
// Templates, what policies are attached to what, and locks, by the web service.
#include <array>

#include "api_handlers.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

namespace {

constexpr std::array<std::string_view, 5> kScopes = {"instance", "trust-group", "user", "customer", "default"};
constexpr std::array<std::string_view, 4> kRoles = {"provider", "customer", "user", "instance"};

json::object template_json(const std::string& name, const PolicyTemplate& known) {
  return {
      {"name", name},
      {"owner", json::object{{"role", kRoles.at(static_cast<std::size_t>(known.owner.role))}, {"id", known.owner.id}}},
      {"policy", policy_json(known.policy)}};
}

}  // namespace

bool Api::Handlers::sees_template(const Caller& caller, const PolicyTemplate& known) {
  if (known.owner.role == Caller::Role::Provider || caller.role == Caller::Role::Provider) return true;
  if (known.owner.role != Caller::Role::User) return known.owner == caller;
  return sees_user(caller, UserId(known.owner.id));
}

ApiAnswer Api::Handlers::get_templates(const ApiCall& call) {
  json::array templates;
  for (const auto& [name, known] : policies_->book().templates()) {
    if (sees_template(call.caller, known)) templates.push_back(template_json(name, known));
  }
  return reply(json::object{{"templates", std::move(templates)}});
}

ApiAnswer Api::Handlers::get_template(const ApiCall& call) {
  const auto& templates = policies_->book().templates();
  const auto known = templates.find(call.parts.front());
  if (known == templates.end() || !sees_template(call.caller, known->second)) {
    return unknown("template", call.parts.front());
  }
  return reply(template_json(known->first, known->second));
}

ApiAnswer Api::Handlers::post_template(const ApiCall& call) {
  ApiBody body(call.body);
  const std::string name = body.text("name");
  const Policy policy = body.policy("policy");
  body.end();
  const auto created =
      policies_->apply([&](PolicyBook& book) { return book.create_template(call.caller, name, policy); });
  return stored(created, reply(template_json(name, {policy, call.caller}), 201));
}

ApiAnswer Api::Handlers::put_template(const ApiCall& call) {
  ApiBody body(call.body);
  const Policy policy = body.policy("policy");
  body.end();
  if (auto seen = get_template(call); !seen) return seen;
  return stored_changes(policies_->apply(
      [&](PolicyBook& book) { return book.change_template(call.caller, call.parts.front(), policy); }));
}

ApiAnswer Api::Handlers::delete_template(const ApiCall& call) {
  expect_no_body(call);
  if (auto seen = get_template(call); !seen) return seen;
  const std::string& name = call.parts.front();
  const auto named = registration_naming(
      [&](const VmRegistration& each) { return each.attachment && each.attachment->template_name == name; });
  if (!named) return named.error();
  if (!named->empty()) {
    return Error{HostErrc::WrongState,
                 fmt::format("the registration of a VM names template {}: change that first{}", in_quotes(name),
                             call.caller.role == Caller::Role::Provider ? ", of " + *named : "")};
  }
  return stored(policies_->apply([&](PolicyBook& book) { return book.remove_template(call.caller, name); }), nothing());
}

ApiAnswer Api::Handlers::copy_template(const ApiCall& call) {
  ApiBody body(call.body);
  const std::string copy = body.text("name");
  body.end();
  if (auto seen = get_template(call); !seen) return seen;
  const auto copied =
      policies_->apply([&](PolicyBook& book) { return book.copy_template(call.caller, call.parts.front(), copy); });
  if (!copied) return copied.error();
  return stored(reply(template_json(copy, policies_->book().templates().at(copy)), 201));
}

/// {scope}/{id}: of a VM its UUID. That the caller may do anything there is for the book to say.
Result<PolicyTarget> Api::Handlers::find_target(const ApiCall& call) const {
  const std::string& scope = call.parts.front();
  const std::string& id = call.parts.at(1);
  const auto known = std::ranges::find(kScopes, scope);
  if (known == kScopes.end()) {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("{} is no scope: give instance, trust-group, user, customer or default", in_quotes(scope))};
  }
  PolicyTarget target{static_cast<PolicyScope>(known - kScopes.begin()), 0};
  if (target.scope == PolicyScope::Instance) {
    const auto record = find_vm(call.caller, id);
    if (!record) return record.error();
    target.id = (*record)->vm.value();
    return target;
  }
  const auto number = parse_integer<std::uint64_t>(id);
  if (!number || (*number == 0) != (target.scope == PolicyScope::Default)) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} is no id of a {}: give a number from 1, or 0 for the default", in_quotes(id), scope)};
  }
  target.id = *number;
  return target;
}

bool Api::Handlers::sees_target(const Caller& caller, PolicyTarget target) {
  if (caller.role == Caller::Role::Provider) return true;
  const PolicyBook& book = policies_->book();
  const auto of = [&](const auto& known, auto id) {
    const auto found = known.find(id);
    return found != known.end() && sees(caller, found->second);
  };
  switch (target.scope) {
    case PolicyScope::Instance: {
      const auto vm = book.vms().find(VmId(target.id));
      return vm != book.vms().end() && (sees(caller, vm->second.customer) || caller == Caller::user(vm->second.user));
    }
    case PolicyScope::TrustGroup:
      return of(book.groups(), TrustGroupId(target.id));
    case PolicyScope::User:
      return sees_user(caller, UserId(target.id));
    case PolicyScope::Customer:
      return sees(caller, CustomerId(target.id));
    case PolicyScope::Default:
      return false;
  }
  return false;
}

json::object Api::Handlers::target_json(PolicyTarget target) const {
  json::object entry = {{"scope", kScopes.at(static_cast<std::size_t>(target.scope))}, {"id", target.id}};
  if (target.scope != PolicyScope::Instance) return entry;
  const auto record = host_->vms().find(VmId(target.id));
  if (record != host_->vms().end()) entry["id"] = to_string(record->second.uuid);
  return entry;
}

json::object Api::Handlers::changed_json(const ChangedVms& changed) const {
  json::array vms;
  for (const VmId vm : changed) {
    const auto record = host_->vms().find(vm);
    vms.push_back(record == host_->vms().end() ? json::value(vm.value()) : json::value(to_string(record->second.uuid)));
  }
  return {{"changed_vms", std::move(vms)}};
}

json::object Api::Handlers::attachment_json(PolicyTarget target, const PolicyAttachment& attached) const {
  json::object entry = target_json(target);
  if (attached.template_name.empty()) {
    entry["policy"] = policy_json(attached.policy);
  } else {
    entry["template"] = attached.template_name;
  }
  return entry;
}

ApiAnswer Api::Handlers::get_attachments(const ApiCall& call) {
  json::array attachments;
  for (const auto& [target, attached] : policies_->book().attachments()) {
    if (sees_target(call.caller, target)) attachments.push_back(attachment_json(target, attached));
  }
  return reply(json::object{{"attachments", std::move(attachments)}});
}

ApiAnswer Api::Handlers::get_attachment(const ApiCall& call) {
  const auto target = find_target(call);
  if (!target) return target.error();
  const auto attached = policies_->book().attachments().find(*target);
  if (attached == policies_->book().attachments().end() || !sees_target(call.caller, *target)) {
    return unknown("attachment to", fmt::format("{}/{}", call.parts.at(0), call.parts.at(1)));
  }
  return reply(attachment_json(*target, attached->second));
}

ApiAnswer Api::Handlers::put_attachment(const ApiCall& call) {
  ApiBody body(call.body);
  const PolicyAttachment attachment = body.attachment();
  body.end();
  const auto target = find_target(call);
  if (!target) return target.error();
  return stored_changes(policies_->apply([&](PolicyBook& book) {
    return attachment.template_name.empty() ? book.attach(call.caller, *target, attachment.policy)
                                            : book.attach_template(call.caller, *target, attachment.template_name);
  }));
}

ApiAnswer Api::Handlers::delete_attachment(const ApiCall& call) {
  expect_no_body(call);
  const auto target = find_target(call);
  if (!target) return target.error();
  return stored_changes(policies_->apply([&](PolicyBook& book) { return book.detach(call.caller, *target); }));
}

ApiAnswer Api::Handlers::get_locks(const ApiCall& call) {
  json::array locks;
  for (const auto& [target, fields] : policies_->book().locks()) {
    if (!sees_target(call.caller, target)) continue;
    for (const PolicyField field : fields) {
      json::object entry = target_json(target);
      entry["field"] = to_string(field);
      locks.push_back(std::move(entry));
    }
  }
  return reply(json::object{{"locks", std::move(locks)}});
}

ApiAnswer Api::Handlers::put_lock(const ApiCall& call) {
  expect_no_body(call);
  const auto target = find_target(call);
  if (!target) return target.error();
  const auto field = parse_field(call.parts.at(2));
  if (!field) return field.error();
  return stored_changes(policies_->apply([&](PolicyBook& book) { return book.lock(call.caller, *target, *field); }));
}

ApiAnswer Api::Handlers::delete_lock(const ApiCall& call) {
  expect_no_body(call);
  const auto target = find_target(call);
  if (!target) return target.error();
  const auto field = parse_field(call.parts.at(2));
  if (!field) return field.error();
  return stored_changes(policies_->apply([&](PolicyBook& book) { return book.unlock(call.caller, *target, *field); }));
}

}  // namespace sluice::inline daemon
