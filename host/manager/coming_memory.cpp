// SPDX-License-Identifier: Apache-2.0
#include "coming_memory.hpp"

#include <algorithm>

namespace sluice::inline manager {

void ComingMemory::add(DedicatedPoolId pool, std::uint32_t zone, SuspectIndex suspect, ByteCount bytes) {
  if (bytes > ByteCount(0)) bytes_[{pool, zone, suspect}] += bytes;
}

std::size_t ComingMemory::share_out(std::span<const Shortfall> claims) {
  for (std::size_t index = 0; index < claims.size(); ++index) {
    std::set<std::uint32_t> spared;
    for (const Shortfall& later : claims.subspan(index + 1)) spared.insert(later.zones.begin(), later.zones.end());
    if (!take(claims[index], spared)) return index;
  }
  return claims.size();
}

bool ComingMemory::take(const Shortfall& shortfall, const std::set<std::uint32_t>& spared) {
  const Claim& claim = *shortfall.claim;
  ByteCount missing = shortfall.missing;
  for (const bool sparing : {true, false}) {
    for (const std::uint32_t zone : shortfall.zones) {
      if (sparing && spared.contains(zone)) continue;
      if (claim.kind != ClaimKind::Pool && claim.pool.is_set()) take_from(claim.pool, zone, claim.vm, missing);
      take_from({}, zone, claim.vm, missing);
    }
  }
  return missing == ByteCount(0);
}

void ComingMemory::take_from(DedicatedPoolId pool, std::uint32_t zone, VmId vm, ByteCount& missing) {
  for (auto found = bytes_.lower_bound({pool, zone, 0}); found != bytes_.end(); ++found) {
    const auto& [in_pool, in_zone, suspect] = found->first;
    if (in_pool != pool || in_zone != zone) return;
    if (table_.is_suspect(suspect, vm)) continue;
    const ByteCount taken = std::min(missing, found->second);
    found->second -= taken;
    missing -= taken;
  }
}

}  // namespace sluice::inline manager
