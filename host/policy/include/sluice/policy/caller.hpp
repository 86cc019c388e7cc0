// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

#include "sluice/base/ids.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::inline policy {

using UserId = StrongId<struct UserKind>;

/// On whose behalf a call is made, as whoever took the call has proved it. Who that is proves nothing here.
struct Caller {
  enum class Role : std::uint8_t { Provider, Customer, User, Instance };
  Role role = Role::Provider;
  std::uint64_t id = 0;  ///< Of the customer, user or VM; 0 for the provider.

  static constexpr Caller provider() { return {}; }
  static constexpr Caller customer(CustomerId customer) { return {Role::Customer, customer.value()}; }
  static constexpr Caller user(UserId user) { return {Role::User, user.value()}; }
  static constexpr Caller instance(VmId vm) { return {Role::Instance, vm.value()}; }
  auto operator<=>(const Caller&) const = default;
};

/// For what only the provider may do, such as "lock a policy field". Errors: NotPermitted.
[[nodiscard]] Result<void> check_provider(const Caller& caller, std::string_view what);

}  // namespace sluice::inline policy
