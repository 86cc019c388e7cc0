// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

#include "sluice/driver/units.hpp"
#include "sluice/host/ids.hpp"
#include "sluice/host/placement.hpp"
#include "sluice/host/scrub_settings.hpp"

namespace sluice {

struct Claim;

/// A trust group as it was at one time: a change of its members makes it another one.
struct GroupAt {
  TrustGroupId id;  ///< Unset: none.
  std::uint64_t epoch = 0;
  auto operator<=>(const GroupAt&) const = default;
};

/// Who wrote an extent last, frozen when the memory was granted. All ids unset: nobody knows.
struct Owner {
  VmId vm;               ///< Held it last, so it has seen all that is in it.
  DedicatedPoolId pool;  ///< Everything in it was written inside this pool; unset: not so.
  CustomerId customer;   ///< Everything in it was written by this customer; unset: not so.
  GroupAt group;         ///< Everything in it was written inside this group; unset: not so.
  GroupAt larger_group;  ///< The same of the group around that one, or of itself where there is none around.

  auto operator<=>(const Owner&) const = default;

  /// The owner of clean memory that is granted to `claim`.
  [[nodiscard]] static Owner of(const Claim& claim);
  /// The owner of memory that is handed to `claim` as it is: what was in it may still be in it, so only what both
  /// have in common remains.
  [[nodiscard]] Owner passed_on_to(const Claim& claim) const;
};

/// Which kinds of recycling a VM allows, and what becomes of its memory when it reboots.
struct RecycleSettings {
  bool enabled = true;  ///< false: nothing is recycled, whatever the others say.
  bool after_reboot = true;
  bool within_vm = true;
  bool dedicated_pool = true;
  bool trust_group = true;
  bool new_memory_after_reboot = false;  ///< It comes back with none of the memory that it had.
  bool keeps_left_over = false;  ///< What it does not need after a reboot stays reserved for it; else it is released.
  bool pool_grows_on_reboot = false;  ///< What it holds beyond its dedicated pool joins that when it reboots.
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
  GroupAt group;
  GroupAt larger_group;
  RecycleSettings allowed;
  ScrubSettings scrub;
  Placement placement;
  ByteCount length;
};

}  // namespace sluice
