// SPDX-License-Identifier: Apache-2.0
// VMs as the web service shows them, and what can be said of one.
#include "api_handlers.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

namespace {

/// The setting without which memory is not recycled for this reason.
PolicyField setting_for(Reason reason) {
  switch (reason) {
    case Reason::SameVmAfterReboot:
      return PolicyField::RecycleOnReboot;
    case Reason::SameVm:
      return PolicyField::RecycleWithinVm;
    case Reason::DedicatedPool:
      return PolicyField::RecycleWithinDedicatedPool;
    case Reason::TrustGroup:
    case Reason::LargerGroup:
      return PolicyField::RecycleWithinTrustGroup;
    case Reason::UnknownOwner:
    case Reason::Forbidden:
    case Reason::GroupChanged:
    case Reason::OtherDomain:
    case Reason::BeforeGrant:
      break;
  }
  return PolicyField::Enable;
}

json::array bricks_json(const Host& host, const LeaseFacts& lease) {
  json::array bricks;
  for (const LeasedBrick& brick : lease.bricks) {
    const auto& recycled = host.last_of(brick.number).recycled;
    json::object entry = {
        {"number", brick.number}, {"length", brick.length.value()}, {"recycled", recycled.has_value()}};
    if (recycled) {
      entry["reason"] = to_string(*recycled);
      entry["allowed_by"] = to_string(setting_for(*recycled));
    }
    bricks.push_back(std::move(entry));
  }
  return bricks;
}

json::object effective_json(const EffectivePolicy& effective) {
  json::object policy;
  for (const PolicyExplanation& each : effective.explanation) {
    policy[to_string(each.field)] =
        json::object{{"value", each.value}, {"from", each.from}, {"locked", effective.locked.contains(each.field)}};
  }
  return policy;
}

}  // namespace

Result<const VmRecord*> Api::Handlers::find_vm(const Caller& caller, std::string_view text) const {
  const auto uuid = parse_uuid(text);
  if (!uuid) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} is no UUID: give one such as 123e4567-e89b-12d3-a456-426614174000", in_quotes(text))};
  }
  const LeaseStatus status = host_->status(*uuid);
  const auto record = host_->vms().find(status.lease.vm);
  if (!status.state || record == host_->vms().end() || !sees_vm(caller, record->first)) {
    return unknown("VM", to_string(*uuid));
  }
  return &record->second;
}

bool Api::Handlers::sees_vm(const Caller& caller, VmId vm) const {
  if (caller.role == Caller::Role::User) {
    const auto subject = policies_->book().vms().find(vm);
    return subject != policies_->book().vms().end() && caller == Caller::user(subject->second.user);
  }
  const auto record = host_->vms().find(vm);
  return record != host_->vms().end() && sees(caller, record->second.customer);
}

Result<const VmRecord*> Api::Handlers::find_vm(const ApiCall& call) const {
  return find_vm(call.caller, call.parts.front());
}

json::object Api::Handlers::vm_summary(const Caller& caller, const VmRecord& record) const {
  const auto lease = host_->leases().find(record.vm);
  std::uint64_t held = 0;
  if (lease) {
    for (const LeasedBrick& brick : lease->bricks) held += brick.length.value();
  }
  json::object vm;
  vm["uuid"] = record.uuid.is_set() ? json::value(to_string(record.uuid)) : json::value(nullptr);
  vm["id"] = record.vm.value();
  vm["name"] = printable(record.name, record.name.size());
  vm["customer"] = record.customer.value();
  vm["state"] = lease ? to_string(lease->state) : "ended";
  vm["epoch"] = record.epoch;
  vm["bytes"] = held;
  vm["unleased_bytes"] = host_->unleased(record.vm).value();
  if (caller.role == Caller::Role::Provider) vm["process"] = record.process.process;
  return vm;
}

ApiAnswer Api::Handlers::get_vms(const ApiCall& call) {
  json::array vms;
  for (const auto& [vm, record] : host_->vms()) {
    if (sees_vm(call.caller, vm)) vms.push_back(vm_summary(call.caller, record));
  }
  return reply(json::object{{"vms", std::move(vms)}});
}

ApiAnswer Api::Handlers::get_vm(const ApiCall& call) {
  const auto record = find_vm(call);
  if (!record) return record.error();
  json::object vm = vm_summary(call.caller, **record);
  vm["unit"] = (*record)->unit.value();
  vm["filtered"] = (*record)->filtered;
  if (const auto lease = host_->leases().find((*record)->vm)) {
    vm["bricks"] = bricks_json(*host_, *lease);
    if (call.caller.role == Caller::Role::Provider) {  // processes are the host's
      vm["holders"] = holders_json(*lease);
      vm["obstacle"] = lease->obstacle;
    }
  }
  if (const auto subject = policies_->book().vms().find((*record)->vm); subject != policies_->book().vms().end()) {
    vm["user"] = subject->second.user.value();
  }
  if (const auto effective = policies_->book().effective_of((*record)->vm)) {
    vm["trust_group"] = effective->group.value();
    vm["pool"] = effective->pool.value();
    vm["policy"] = effective_json(*effective);
  }
  return reply(vm);
}

ApiAnswer Api::Handlers::reboot_vm(const ApiCall& call) {
  expect_no_body(call);
  const auto record = find_vm(call);
  if (!record) return record.error();
  const auto rebooted = host_->reboot((*record)->vm);
  if (!rebooted) return rebooted.error();
  json::object vm = vm_summary(call.caller, **record);
  vm["reboot"] = *rebooted == Host::Reboot::Reset ? "reset" : "announced";
  return reply(vm, 202);
}

ApiAnswer Api::Handlers::give_up_vm(const ApiCall& call) {
  expect_no_body(call);
  const auto record = find_vm(call);
  if (!record) return record.error();
  if (auto given_up = host_->leases().give_up((*record)->vm); !given_up) return given_up.error();
  return nothing();
}

/// A field of what a VM belongs to: {"id": 7}, or null for none.
template <class Id>
ApiAnswer Api::Handlers::put_subject(const ApiCall& call, Id PolicySubject::*field) {
  ApiBody body(call.body);
  const Id id(body.is_null("id") ? 0 : body.number("id"));
  body.end();
  const auto record = find_vm(call);
  if (!record) return record.error();
  return stored_changes(policies_->apply([&](PolicyBook& book) -> Result<ChangedVms> {
    const auto subject = book.vms().find((*record)->vm);
    if (subject == book.vms().end()) return unknown("VM", call.parts.front());
    PolicySubject changed = subject->second;
    changed.*field = id;
    return book.change_vm(call.caller, changed);
  }));
}

ApiAnswer Api::Handlers::put_vm_group(const ApiCall& call) { return put_subject(call, &PolicySubject::group); }

ApiAnswer Api::Handlers::put_vm_pool(const ApiCall& call) { return put_subject(call, &PolicySubject::pool); }

ApiAnswer Api::Handlers::put_vm_say(const ApiCall& call) {
  ApiBody body(call.body);
  const std::optional<bool> value = body.is_null("value") ? std::nullopt : std::optional(body.flag("value"));
  body.end();
  const auto field = parse_field(call.parts.at(1));
  if (!field) return field.error();
  const auto record = find_vm(call);
  if (!record) return record.error();
  return stored_changes(
      policies_->apply([&](PolicyBook& book) { return book.say(call.caller, (*record)->vm, *field, value); }));
}

}  // namespace sluice::inline daemon
