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
  bool enabled = true;  ///< false: nothing is recycled, whatever the others say.
  bool after_reboot = true;
  bool within_vm = true;
  bool dedicated_pool = true;
  bool trust_group = true;
  bool new_memory_after_reboot = false;  ///< It comes back with none of the memory that it had.
  bool retains_memory = false;  ///< What it does not need after a reboot stays reserved for it; else it is released.
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

/// The owner of clean memory that is granted to `claim`.
[[nodiscard]] Owner owner_of(const Claim& claim);
/// The owner of memory that is handed to `claim` as it is: what was in it may still be in it, so only what `before` and
/// the claim have in common remains.
[[nodiscard]] Owner passed_on(const Owner& before, const Claim& claim);

}  // namespace sluice::inline policy
