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
    const bool fits = zones[zone].pages == placement.pages && zones[zone].unit == placement.unit;
    if (fits && (own_node || !placement.only_node)) found.push_back(zone);
  }
  if (found.size() < 2) return found;
  std::stable_sort(found.begin(), found.end(), [&](std::uint32_t a, std::uint32_t b) {
    const auto rank = [&](std::uint32_t zone) {
      const ByteCount own = claim.pool.is_set() ? table.free_bytes(claim.pool, zone, claim.vm) : ByteCount(0);
      return std::tuple(zones[zone].node == placement.node, own, table.clean_bytes({}, zone));
    };
    return rank(a) > rank(b);
  });
  return found;
}

namespace {

/// Of the reserved memory of a domain that the claim may have. bytes
template <class Counts>
ByteCount reserved_for(const ExtentTable& table, const Claim& claim, std::span<const std::uint32_t> zones,
                       const Domain& domain, Counts counts) {
  ByteCount bytes;
  if (domain.id == 0) return bytes;
  for (auto index = table.next_lineage(domain); index; index = table.next_lineage(domain, index)) {
    const Lineage& lineage = table.lineage(*index);
    const bool in_reach = std::find(zones.begin(), zones.end(), lineage.zone) != zones.end();
    if (!in_reach || !counts(lineage) || table.is_suspect(lineage.suspect, claim.vm)) continue;
    if (RecyclePolicy::decide(lineage, claim).recycle) bytes += table.reserved(*index);
  }
  return bytes;
}

}  // namespace

ByteCount available_for(const ExtentTable& table, const Claim& claim) {
  ByteCount available;
  const bool own_too = claim.kind != ClaimKind::Pool;
  const std::vector<std::uint32_t> zones = zones_for(table, claim);
  for (const std::uint32_t zone : zones) {
    available += table.free_bytes({}, zone, claim.vm);
    if (own_too && claim.pool.is_set()) available += table.free_bytes(claim.pool, zone, claim.vm);
  }
  if (!own_too) return available;
  available += reserved_for(table, claim, zones, Domain::holder(claim.vm), [](const Lineage&) { return true; });
  const auto lent = [&](const Lineage& lineage) {
    return lineage.owner.vm != claim.vm && (!lineage.pool.is_set() || lineage.pool == claim.pool);
  };
  available += reserved_for(table, claim, zones, Domain::lent(claim.group), lent);
  available += reserved_for(table, claim, zones, Domain::larger_lent(claim.larger_group), [&](const Lineage& lineage) {
    return lent(lineage) && (!claim.group.id.is_set() || lineage.owner.group != claim.group);  // those were counted
  });
  return available;
}

}  // namespace sluice::inline manager
