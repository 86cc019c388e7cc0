// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

#include "sluice/driver/units.hpp"
#include "sluice/host/ids.hpp"

namespace sluice {

struct Claim;

/// Who wrote an extent last, frozen when the memory was granted. All ids unset: nobody knows.
struct Owner {
  VmId vm;               ///< Held it last, so it has seen all that is in it.
  DedicatedPoolId pool;  ///< Everything in it was written inside this pool; unset: not so.
  CustomerId customer;   ///< Everything in it was written by this customer; unset: not so.
  TrustGroupId group;    ///< Everything in it was written inside this group at group_epoch; unset: not so.
  std::uint64_t group_epoch = 0;

  auto operator<=>(const Owner&) const = default;

  /// The owner of clean memory that is granted to `claim`.
  [[nodiscard]] static Owner of(const Claim& claim);
  /// The owner of memory that is handed to `claim` as it is: what was in it may still be in it, so only what both
  /// have in common remains.
  [[nodiscard]] Owner passed_on_to(const Claim& claim) const;
};

/// Which kinds of recycling a VM allows.
struct RecycleSettings {
  bool after_reboot = true;
  bool within_vm = true;
  bool dedicated_pool = true;
  bool trust_group = true;
};

enum class ClaimKind : std::uint8_t {
  Grow,    ///< A new VM, or a balloon that inflates.
  Reboot,  ///< A VM that comes back.
  Pool,    ///< Memory for a dedicated pool; it is always scrubbed.
};

/// Who asks for memory, how much, and under which policy.
struct Claim {
  ClaimKind kind = ClaimKind::Grow;
  VmId vm;
  DedicatedPoolId pool;
  CustomerId customer;
  TrustGroupId group;
  std::uint64_t group_epoch = 0;
  RecycleSettings allowed;
  ByteCount length;
};

}  // namespace sluice
