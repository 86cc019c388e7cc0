// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace sluice::inline base {

/// An identifier of one kind. 0 means none. Identifiers of VMs, pools and trust groups are never used again.
template <class Kind>
class StrongId {
 public:
  constexpr StrongId() = default;
  constexpr explicit StrongId(std::uint64_t value) : value_(value) {}

  [[nodiscard]] constexpr std::uint64_t value() const { return value_; }
  [[nodiscard]] constexpr bool is_set() const { return value_ != 0; }
  constexpr auto operator<=>(const StrongId&) const = default;

 private:
  std::uint64_t value_ = 0;
};

using VmId = StrongId<struct VmKind>;
using CustomerId = StrongId<struct CustomerKind>;
using DedicatedPoolId = StrongId<struct DedicatedPoolKind>;
using TrustGroupId = StrongId<struct TrustGroupKind>;
using ClaimId = StrongId<struct ClaimKindTag>;

}  // namespace sluice::inline base

/// @cond
template <class Kind>
struct std::hash<sluice::StrongId<Kind>> {
  std::size_t operator()(sluice::StrongId<Kind> id) const noexcept { return std::hash<std::uint64_t>{}(id.value()); }
};
/// @endcond
