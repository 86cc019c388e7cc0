// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "sluice/vmm/leases.hpp"

namespace sluice::inline vmm {

/// Bricks on their way back from a VM that runs on.
struct Leases::Return {
  std::vector<std::uint32_t> bricks;
  ReturnHandler handler;
};

struct Leases::Lease {
  LeaseFacts facts;
  std::optional<ClaimId> claim;
  bool abandoned = false;  ///< Nobody waits for the claim's memory any more.
  bool reboots = false;    ///< When it has ended.
  std::optional<Return> giving_back;
  std::set<std::uint32_t> taken;    ///< Of the bricks that should come back: those of which we have sole access.
  std::set<std::uint32_t> renewed;  ///< Of those taken.
  std::optional<std::chrono::nanoseconds> since;  ///< The first look.
  std::chrono::nanoseconds pause{0};              ///< Until the next look.
  std::optional<std::chrono::nanoseconds> due;    ///< The next look.

  [[nodiscard]] bool ends() const {
    return facts.state == LeaseState::Ending || facts.state == LeaseState::Quarantined;
  }
};

}  // namespace sluice::inline vmm
