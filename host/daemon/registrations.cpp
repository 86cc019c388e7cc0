// SPDX-License-Identifier: Apache-2.0
#include "registrations.hpp"

#include <fmt/format.h>

#include <utility>

namespace sluice::inline daemon {

Result<AcquireRequest> as_registered(AcquireRequest request, const VmRegistration& registration) {
  const auto settle = [&](auto& asked, auto registered, std::string_view what, HostErrc code) -> Result<void> {
    if (asked.is_set() && asked != registered) {
      return Error{code,
                   fmt::format("VM {} is registered with {} {}, and the request names {}: leave it out, or change "
                               "the registration",
                               to_string(request.vm), what, registered.value(), asked.value())};
    }
    asked = registered;
    return {};
  };
  auto settled = settle(request.customer, registration.customer, "customer", HostErrc::ForeignCustomer);
  if (settled) settled = settle(request.group, registration.group, "trust group", HostErrc::InvalidArgument);
  if (settled) settled = settle(request.pool, registration.pool, "pool", HostErrc::InvalidArgument);
  if (!settled) return settled.error();
  return request;
}

Result<void> create_registered_vm(PolicyManager& policies, StateStore& state, PolicySubject subject,
                                  const Placement& placement, const VmRegistration& registration) {
  const Caller provider = Caller::provider();
  const PolicyTarget target{PolicyScope::Instance, subject.vm.value()};
  subject.user = registration.user;
  const auto undo = [&](Error error) {
    if (policies.book().vms().contains(subject.vm)) static_cast<void>(policies.terminate(provider, subject.vm));
    static_cast<void>(policies.apply([&](PolicyBook& book) { return book.detach(provider, target); }));
    return error;
  };
  if (const auto& attachment = registration.attachment) {
    auto attached = policies.apply([&](PolicyBook& book) {
      return attachment->template_name.empty() ? book.attach(provider, target, attachment->policy)
                                               : book.attach_template(provider, target, attachment->template_name);
    });
    if (!attached) return attached.error();
  }
  if (auto created = policies.create_vm(provider, subject, placement); !created) return undo(created.error());
  if (auto saved = state.put_policies(policies.save()); !saved) return undo(saved.error());
  return {};
}

}  // namespace sluice::inline daemon
