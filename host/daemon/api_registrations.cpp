// SPDX-License-Identifier: Apache-2.0
// What VMs will be when they come, by the web service.
#include "api_handlers.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

namespace {

json::object registration_json(const VmRegistration& registration) {
  json::object entry = {{"uuid", to_string(registration.uuid)},
                        {"customer", registration.customer.value()},
                        {"trust_group", registration.group.value()},
                        {"pool", registration.pool.value()},
                        {"user", registration.user.value()}};
  if (!registration.attachment) return entry;
  if (registration.attachment->template_name.empty()) {
    entry["policy"] = policy_json(registration.attachment->policy);
  } else {
    entry["template"] = registration.attachment->template_name;
  }
  return entry;
}

Result<Uuid> uuid_in(const std::string& text) {
  const auto uuid = parse_uuid(text);
  if (uuid && uuid->is_set()) return *uuid;
  return Error{HostErrc::InvalidArgument,
               fmt::format("{} is no UUID: give one such as 123e4567-e89b-12d3-a456-426614174000", in_quotes(text))};
}

/// Whether a VM can be born so, as things are now: tried on a copy of the book.
Result<void> try_registration(PolicyBook book, const Caller& caller, const VmRegistration& registration) {
  // The customer changes what was registered for it as if the VM were there already.
  const VmId nobody(~0ULL);
  const PolicySubject subject{nobody, registration.group, registration.user, registration.customer, registration.pool};
  if (auto registered = book.register_vm(Caller::provider(), subject); !registered) return registered;
  if (!registration.attachment) return {};
  const PolicyTarget target{PolicyScope::Instance, nobody.value()};
  const std::string& name = registration.attachment->template_name;
  const auto attached = name.empty() ? book.attach(caller, target, registration.attachment->policy)
                                     : book.attach_template(caller, target, name);
  if (!attached) return attached.error();
  return {};
}

}  // namespace

ApiAnswer Api::Handlers::get_registrations(const ApiCall& call) {
  const auto all = state_->registrations();
  if (!all) return all.error();
  json::array registrations;
  for (const VmRegistration& each : *all) {
    if (sees(call.caller, each.customer)) registrations.push_back(registration_json(each));
  }
  return reply(json::object{{"registrations", std::move(registrations)}});
}

ApiAnswer Api::Handlers::get_registration(const ApiCall& call) {
  const auto uuid = uuid_in(call.parts.front());
  if (!uuid) return uuid.error();
  const auto found = state_->registration(*uuid);
  if (!found) return found.error();
  if (!*found || !sees(call.caller, (*found)->customer)) return unknown("registration", to_string(*uuid));
  return reply(registration_json(**found));
}

/// The provider registers; a customer changes what is registered for it, but not whose it is.
ApiAnswer Api::Handlers::put_registration(const ApiCall& call) {
  ApiBody body(call.body);
  VmRegistration wanted;
  wanted.customer = CustomerId(body.number("customer"));
  wanted.group = TrustGroupId(body.id("trust_group"));
  wanted.pool = DedicatedPoolId(body.id("pool"));
  wanted.user = UserId(body.id("user"));
  if (body.has("policy") || body.has("template")) wanted.attachment = body.attachment();
  body.end();
  const auto uuid = uuid_in(call.parts.front());
  if (!uuid) return uuid.error();
  wanted.uuid = *uuid;
  const auto before = state_->registration(*uuid);
  if (!before) return before.error();
  if (call.caller.role != Caller::Role::Provider) {
    if (!*before || !sees(call.caller, (*before)->customer)) return unknown("registration", to_string(*uuid));
    if ((*before)->customer != wanted.customer) {
      return Error{HostErrc::NotPermitted, fmt::format("VM {} is registered for customer {}, and only the provider may "
                                                       "change that",
                                                       to_string(*uuid), (*before)->customer.value())};
    }
  }
  if (auto tried = try_registration(policies_->book(), call.caller, wanted); !tried) return tried.error();
  if (auto put = state_->put_registration(wanted); !put) return put.error();
  return reply(registration_json(wanted), *before ? 200 : 201);
}

ApiAnswer Api::Handlers::delete_registration(const ApiCall& call) {
  expect_no_body(call);
  const auto uuid = uuid_in(call.parts.front());
  if (!uuid) return uuid.error();
  const auto before = state_->registration(*uuid);
  if (!before) return before.error();
  if (!*before || !sees(call.caller, (*before)->customer)) return unknown("registration", to_string(*uuid));
  // A VM without one is of the customer of VMs that name none, whose groups may have its memory.
  if (auto checked = check_provider(call.caller, "delete a registration"); !checked) return checked.error();
  if (auto erased = state_->erase_registration(*uuid); !erased) return erased.error();
  return nothing();
}

}  // namespace sluice::inline daemon
