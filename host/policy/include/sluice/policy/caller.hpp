// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

#include "sluice/base/ids.hpp"

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

}  // namespace sluice::inline policy
