// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

#include "sluice/policy/claim.hpp"

namespace sluice::inline policy {

/// Why memory is handed over as it is, or why it is not.
enum class Reason : std::uint8_t {
  SameVmAfterReboot,  ///< recycle
  SameVm,             ///< recycle: the VM gave it back (balloon) and gets it again
  DedicatedPool,      ///< recycle: the same inside its dedicated pool, or between the VMs of a pool that share
  TrustGroup,         ///< recycle
  LargerGroup,        ///< recycle: both VMs' groups lie inside one
  UnknownOwner,       ///< scrub: nobody knows what is in it
  Forbidden,          ///< scrub: it could be recycled, but the VM's settings forbid it
  GroupChanged,       ///< scrub: the trust group's membership has changed since it was written
  OtherDomain,        ///< scrub
  BeforeGrant,        ///< scrub: it is clean, and the VM wants it scrubbed right before the grant (never of decide())
};
inline constexpr std::size_t kReasons = 10;
inline constexpr std::array<Reason, 5> kRecycleReasons = {
    Reason::SameVmAfterReboot, Reason::SameVm, Reason::DedicatedPool, Reason::TrustGroup, Reason::LargerGroup};

[[nodiscard]] std::string_view to_string(Reason reason);

struct Decision {
  bool recycle = false;
  Reason reason = Reason::UnknownOwner;
  bool operator==(const Decision&) const = default;
};

/// The one place that decides whether memory may cross over without a scrub. Pure.
struct RecyclePolicy {
  [[nodiscard]] static Decision decide(const Lineage& lineage, const Claim& claim);
};

}  // namespace sluice::inline policy
