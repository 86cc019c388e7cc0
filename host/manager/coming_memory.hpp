// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "sluice/base/ids.hpp"
#include "sluice/memory/extent_table.hpp"
#include "sluice/policy/claim.hpp"

namespace sluice::inline manager {

/// What a claim is short of, and the zones that it may have it from, best first.
struct Shortfall {
  const Claim* claim;
  ByteCount missing;
  std::vector<std::uint32_t> zones;
};

/// Memory that is free as soon as an engine lets go of it, by whom it can serve: a pool's VMs, in one zone, and none
/// for whom it is suspect.
class ComingMemory {
 public:
  /// `table` says for whom memory is suspect.
  explicit ComingMemory(const ExtentTable& table) : table_(table) {}

  void add(DedicatedPoolId pool, std::uint32_t zone, SuspectIndex suspect, ByteCount bytes);

  /// Shares it out in the order of the claims. The index of the first for which it is not enough; their count: for all
  /// of them it is. A claim takes first what those behind it cannot use.
  [[nodiscard]] std::size_t share_out(std::span<const Shortfall> claims);

 private:
  [[nodiscard]] bool take(const Shortfall& shortfall, const std::set<std::uint32_t>& spared);
  void take_from(DedicatedPoolId pool, std::uint32_t zone, VmId vm, ByteCount& missing);

  const ExtentTable& table_;
  std::map<std::tuple<DedicatedPoolId, std::uint32_t, SuspectIndex>, ByteCount> bytes_;
};

}  // namespace sluice::inline manager
