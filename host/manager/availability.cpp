// SPDX-License-Identifier: Apache-2.0
#include "availability.hpp"

#include <algorithm>
#include <tuple>

#include "sluice/policy/recycle_policy.hpp"

namespace sluice::inline manager {

std::vector<std::uint32_t> zones_for(const ExtentTable& table, const Claim& claim) {
  const Placement& placement = claim.placement;
  const auto zones = table.zones();
  std::vector<std::uint32_t> found;
  for (std::uint32_t zone = 0; zone < zones.size(); ++zone) {
    const bool own_node = !placement.node || zones[zone].node == *placement.node;
    if (zones[zone].pages == placement.pages && (own_node || !placement.only_node)) found.push_back(zone);
  }
  if (found.size() < 2) return found;
  std::stable_sort(found.begin(), found.end(), [&](std::uint32_t a, std::uint32_t b) {
    const auto rank = [&](std::uint32_t zone) {
      const ByteCount own = claim.pool.is_set() ? table.free_bytes(claim.pool, zone) : ByteCount(0);
      return std::tuple(zones[zone].node == placement.node, own, table.clean_bytes({}, zone));
    };
    return rank(a) > rank(b);
  });
  return found;
}

ByteCount available_for(const ExtentTable& table, const Claim& claim) {
  ByteCount available;
  const bool own_too = claim.kind != ClaimKind::Pool;
  const std::vector<std::uint32_t> zones = zones_for(table, claim);
  for (const std::uint32_t zone : zones) {
    available += table.free_bytes({}, zone);
    if (own_too && claim.pool.is_set()) available += table.free_bytes(claim.pool, zone);
  }
  if (!own_too || claim.allowed.force_new_memory) return available;
  const Domain own = Domain::holder(claim.vm);
  for (auto index = table.next_lineage(own); index; index = table.next_lineage(own, index)) {
    const Lineage& lineage = table.lineage(*index);
    const bool in_reach = std::find(zones.begin(), zones.end(), lineage.zone) != zones.end();
    if (in_reach && RecyclePolicy::decide(lineage.owner, claim).recycle) available += table.reserved(*index);
  }
  return available;
}

}  // namespace sluice::inline manager
