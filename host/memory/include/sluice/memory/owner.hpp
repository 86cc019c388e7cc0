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

/// Who wrote an extent last, frozen when the memory was granted. All ids unset: nobody knows.
struct Owner {
  VmId vm;               ///< Held it last, so it has seen all that is in it.
  DedicatedPoolId pool;  ///< Everything in it was written inside this pool; unset: not so.
  CustomerId customer;   ///< Everything in it was written by this customer; unset: not so.
  GroupAt group;         ///< Everything in it was written inside this group; unset: not so.
  GroupAt larger_group;  ///< The same of the group around that one, or of itself where there is none around.

  auto operator<=>(const Owner&) const = default;
};

}  // namespace sluice::inline memory
