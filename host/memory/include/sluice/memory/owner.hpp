// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

#include "sluice/base/ids.hpp"

namespace sluice::inline memory {

/// A trust group as it was at one time: a change of its members makes it another one.
struct GroupAt {
  TrustGroupId id;  ///< Unset: none.
  std::uint64_t epoch = 0;
  auto operator<=>(const GroupAt&) const = default;
};

/// A boot of a VM: no two have the same number, and a later one has a higher one.
using BootNumber = std::uint64_t;

/// Who wrote an extent last, frozen when the memory was granted. All unset: nobody knows.
struct Owner {
  VmId vm;               ///< Held it last, so it has seen all that is in it.
  DedicatedPoolId pool;  ///< Everything in it was written inside this pool; unset: not so.
  CustomerId customer;   ///< Everything in it was written by this customer; unset: not so.
  GroupAt group;         ///< Everything in it was written inside this group; unset: not so.
  GroupAt larger_group;  ///< The same of the group around that one, or of itself where there is none around.
  bool left = false;     ///< That VM has left it for good, or it has left that VM's pool: nobody owns it.
  BootNumber boot = 0;   ///< Of the VM that held it last, when it was granted.
  BootNumber since = 0;  ///< Nothing in it is older than this boot. The same as `boot`: no other VM has written in it.

  auto operator<=>(const Owner&) const = default;
};

}  // namespace sluice::inline memory
