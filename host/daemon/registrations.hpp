// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "sluice/daemon/stores.hpp"
#include "sluice/daemon/wire.hpp"
#include "sluice/manager/policy_manager.hpp"

namespace sluice::inline daemon {

/// The request with what is registered in place of what it leaves open. Errors, where both speak and differ:
/// ForeignCustomer, InvalidArgument (group or pool).
[[nodiscard]] Result<AcquireRequest> as_registered(AcquireRequest request, const VmRegistration& registration);

/// Creates a VM that is registered, with its policy from birth, and saves that: it must hold for the VM also when
/// another sluiced goes on with it. Errors: as PolicyManager::create_vm(), PolicyBook::attach(), and of the store;
/// there is no such VM then.
[[nodiscard]] Result<void> create_registered_vm(PolicyManager& policies, StateStore& state, PolicySubject subject,
                                                const Placement& placement, const VmRegistration& registration);

}  // namespace sluice::inline daemon
