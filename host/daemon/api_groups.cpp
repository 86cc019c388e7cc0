// SPDX-License-Identifier: Apache-2.0
// Trust groups and users by the web service.
#include "api_handlers.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

Result<TrustGroupId> Api::Handlers::find_group(const ApiCall& call) {
  const auto group = parse_id<TrustGroupId>(call.parts.front());
  if (!group) return group.error();
  const auto& groups = policies_->book().groups();
  const auto known = groups.find(*group);
  if (known == groups.end() || !sees(call.caller, known->second)) return unknown("trust group", call.parts.front());
  return *group;
}

json::object Api::Handlers::group_json(TrustGroupId group, CustomerId customer) const {
  const GroupFacts facts = policies_->manager().trust_group(group).value_or(GroupFacts{.customer = customer});
  return {{"id", group.value()},
          {"customer", customer.value()},
          {"inside", facts.inside.value()},
          {"enabled", facts.enabled},
          {"vms", facts.vms},
          {"groups", facts.groups}};
}

ApiAnswer Api::Handlers::get_groups(const ApiCall& call) {
  json::array groups;
  for (const auto& [group, customer] : policies_->book().groups()) {
    if (sees(call.caller, customer)) groups.push_back(group_json(group, customer));
  }
  return reply(json::object{{"trust_groups", std::move(groups)}});
}

ApiAnswer Api::Handlers::post_group(const ApiCall& call) {
  ApiBody body(call.body);
  const TrustGroupId group(body.number("id"));
  const CustomerId customer(body.number("customer"));
  const TrustGroupId inside(body.id("inside"));
  body.end();
  const auto created = policies_->create_trust_group(call.caller, group, customer, inside);
  if (!created) return created.error();
  return stored(reply(group_json(group, customer), 201));
}

ApiAnswer Api::Handlers::get_group(const ApiCall& call) {
  const auto group = find_group(call);
  if (!group) return group.error();
  return reply(group_json(*group, policies_->book().groups().at(*group)));
}

ApiAnswer Api::Handlers::patch_group(const ApiCall& call) {
  ApiBody body(call.body);
  const bool enabled = body.flag("enabled");
  body.end();
  const auto group = find_group(call);
  if (!group) return group.error();
  if (auto changed = policies_->enable_trust_group(call.caller, *group, enabled); !changed) return changed.error();
  return stored(reply(group_json(*group, policies_->book().groups().at(*group))));
}

ApiAnswer Api::Handlers::delete_group(const ApiCall& call) {
  expect_no_body(call);
  const auto group = find_group(call);
  if (!group) return group.error();
  const auto named = registration_naming([&](const VmRegistration& each) { return each.group == *group; });
  if (!named) return named.error();
  if (call.caller.role == Caller::Role::Provider && !named->empty()) {
    return Error{HostErrc::WrongState, fmt::format("the registration of VM {} names trust group {}: change that first",
                                                   *named, group->value())};
  }
  return stored(policies_->destroy_trust_group(call.caller, *group), nothing());
}

bool Api::Handlers::sees_user(const Caller& caller, UserId user) const {
  const auto known = policies_->book().users().find(user);
  return known != policies_->book().users().end() && (sees(caller, known->second) || caller == Caller::user(user));
}

ApiAnswer Api::Handlers::get_users(const ApiCall& call) {
  json::array users;
  for (const auto& [user, customer] : policies_->book().users()) {
    if (sees_user(call.caller, user)) {
      users.push_back(json::object{{"id", user.value()}, {"customer", customer.value()}});
    }
  }
  return reply(json::object{{"users", std::move(users)}});
}

ApiAnswer Api::Handlers::post_user(const ApiCall& call) {
  ApiBody body(call.body);
  const UserId user(body.number("id"));
  const CustomerId customer(body.number("customer"));
  body.end();
  const auto added = policies_->apply([&](PolicyBook& book) { return book.add_user(call.caller, user, customer); });
  return stored(added, reply(json::object{{"id", user.value()}, {"customer", customer.value()}}, 201));
}

ApiAnswer Api::Handlers::delete_user(const ApiCall& call) {
  expect_no_body(call);
  const auto user = parse_id<UserId>(call.parts.front());
  if (!user) return user.error();
  if (!sees_user(call.caller, *user)) return unknown("user", call.parts.front());
  const auto named = registration_naming([&](const VmRegistration& each) { return each.user == *user; });
  if (!named) return named.error();
  if (!named->empty()) {
    return Error{HostErrc::WrongState,
                 fmt::format("the registration of VM {} names user {}: change that first", *named, user->value())};
  }
  return stored(policies_->apply([&](PolicyBook& book) { return book.remove_user(call.caller, *user); }), nothing());
}

}  // namespace sluice::inline daemon
