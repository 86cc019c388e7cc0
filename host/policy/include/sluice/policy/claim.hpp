// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "sluice/base/ids.hpp"
#include "sluice/base/units.hpp"
#include "sluice/memory/lineage.hpp"
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
  /// What it gives back, or holds when it reboots, while this is set, and what it had given back and was not scrubbed
  /// when it was set, it does not get again, scrubbed or not, until that is absolved.
  bool force_new_memory = false;
  bool retain_memory = false;  ///< What it does not need after a reboot stays reserved for it; else it is released.
  bool grow_pool_on_reboot = false;   ///< What it holds beyond its dedicated pool joins that when it reboots.
  bool lend_reserved_memory = false;  ///< Its trust group may have what is reserved for it while it reboots.
  /// How long memory is reserved for it while it reboots; 0: for ever. After that others get it, scrubbed.
  std::chrono::nanoseconds reservation{std::chrono::hours(1)};
  bool operator==(const RecycleSettings&) const = default;
};

enum class ClaimKind : std::uint8_t {
  Grow,    ///< A new VM, or a balloon that deflates.
  Reboot,  ///< A VM that comes back.
  Pool,    ///< Memory for a dedicated pool; it is always scrubbed.
  Test,    ///< Suspect memory that is tested: nobody gets it.
};

/// Who asks for memory, how much, and under which policy.
struct Claim {
  ClaimKind kind = ClaimKind::Grow;
  VmId vm;
  DedicatedPoolId pool;
  CustomerId customer;
  GroupAt group;
  GroupAt larger_group;
  BootNumber boot = 0;        ///< Of the VM.
  bool has_rebooted = false;  ///< The VM, at least once.
  bool pool_shares = false;   ///< The VMs of its pool may have each other's memory.
  bool by_rule = false;       ///< A pool grows by its rule: no user waits for it.
  RecycleSettings allowed;
  ScrubSettings scrub;
  Placement placement;
  ByteCount length;
};

/// The owner of clean memory of `pool` (unset: the shared pool) that is granted to `claim`.
[[nodiscard]] Owner owner_of(const Claim& claim, DedicatedPoolId pool);
/// The owner of memory that is handed to `claim` as it is: what was in it may still be in it, so only what it was and
/// the claim have in common remains.
[[nodiscard]] Owner passed_on(const Lineage& before, const Claim& claim);

}  // namespace sluice::inline policy
