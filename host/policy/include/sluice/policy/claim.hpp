// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "sluice/base/ids.hpp"
#include "sluice/base/units.hpp"
#include "sluice/memory/owner.hpp"
#include "sluice/policy/placement.hpp"
#include "sluice/policy/scrub_settings.hpp"

namespace sluice::inline policy {

/// Which kinds of recycling a VM allows, and what becomes of its memory when it reboots.
struct RecycleSettings {
  bool enable = true;  ///< false: nothing is recycled, whatever the others say.
  bool recycle_on_reboot = true;
  bool recycle_within_vm = true;
  bool recycle_within_dedicated_pool = true;
  bool recycle_within_trust_group = true;
  bool force_new_memory = false;  ///< It comes back with none of the memory that it had.
  bool retain_memory = false;     ///< What it does not need after a reboot stays reserved for it; else it is released.
  bool grow_pool_on_reboot = false;  ///< What it holds beyond its dedicated pool joins that when it reboots.
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

/// The owner of clean memory that is granted to `claim`.
[[nodiscard]] Owner owner_of(const Claim& claim);
/// The owner of memory that is handed to `claim` as it is: what was in it may still be in it, so only what `before` and
/// the claim have in common remains.
[[nodiscard]] Owner passed_on(const Owner& before, const Claim& claim);

}  // namespace sluice::inline policy
