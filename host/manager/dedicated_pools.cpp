// SPDX-License-Identifier: Apache-2.0
// Dedicated pools: filled from the shared pool, cut, joined, and given back.
#include <fmt/format.h>

#include "errors.hpp"
#include "parts.hpp"
#include "pool_memory.hpp"

namespace sluice::inline manager {

Result<ClaimId> MemoryManager::create_dedicated_pool(DedicatedPoolId pool, CustomerId customer, ByteCount length,
                                                     PoolHandler handler, const Placement& placement) {
  Tenants& tenants = parts_->tenants;
  if (auto checked = tenants.check_new_pool(pool); !checked) return checked.error();
  if (!customer.is_set()) return errors::unset("customer");
  auto completed = tenants.complete(placement, std::nullopt);
  if (!completed) return completed.error();
  tenants.add_pool(pool, {customer, *completed});
  auto started = parts_->claims.start(tenants.claim_for(pool, length), {}, std::move(handler));
  if (!started) tenants.forget_pool(pool);
  return started;
}

Result<ClaimId> MemoryManager::grow_dedicated_pool(DedicatedPoolId pool, ByteCount length, PoolHandler handler) {
  if (auto found = parts_->tenants.find_pool(pool); !found) return found.error();
  return parts_->claims.start(parts_->tenants.claim_for(pool, length), {}, std::move(handler));
}

Result<void> MemoryManager::destroy_dedicated_pool(DedicatedPoolId pool) {
  if (auto found = parts_->tenants.find_idle_pool(pool); !found) return found.error();
  move_all(parts_->table, pool, {});
  parts_->tenants.end_pool(pool);
  parts_->scrubber.pump();
  return {};
}

Result<void> MemoryManager::shrink_dedicated_pool(DedicatedPoolId pool, ByteCount length) {
  auto found = parts_->tenants.find_pool(pool);
  if (!found) return found.error();
  if (auto moved = move_free(parts_->table, pool, *(*found)->placement.pages, {}, length); !moved) return moved;
  parts_->scrubber.pump();
  return {};
}

Result<void> MemoryManager::partition_dedicated_pool(DedicatedPoolId pool, DedicatedPoolId part, ByteCount length) {
  Tenants& tenants = parts_->tenants;
  auto found = tenants.find_pool(pool);
  if (!found) return found.error();
  if (auto checked = tenants.check_new_pool(part); !checked) return checked;
  const Tenants::Pool facts{.customer = (*found)->customer, .placement = (*found)->placement, .ready = true};
  if (auto moved = move_free(parts_->table, pool, *facts.placement.pages, part, length); !moved) return moved;
  tenants.add_pool(part, facts);
  return {};
}

Result<void> MemoryManager::merge_dedicated_pools(DedicatedPoolId pool, DedicatedPoolId other) {
  Tenants& tenants = parts_->tenants;
  auto found = tenants.find_pool(pool);
  if (!found) return found.error();
  auto joining = tenants.find_pool(other);
  if (!joining) return joining.error();
  if (pool == other) {
    return Error{HostErrc::InvalidArgument, fmt::format("pool {} and itself: give two pools", pool.value())};
  }
  if ((*joining)->customer != (*found)->customer) {
    return errors::foreign("pool", other.value(), (*found)->customer);
  }
  if (auto same = tenants.complete((*joining)->placement, (*found)->placement.pages); !same) return same.error();
  if (auto idle = tenants.find_idle_pool(other); !idle) return idle.error();
  move_all(parts_->table, other, pool);
  tenants.end_pool(other);
  return {};
}

std::optional<PoolFacts> MemoryManager::dedicated_pool(DedicatedPoolId pool) const {
  const auto found = parts_->tenants.pools().find(pool);
  if (found == parts_->tenants.pools().end()) return std::nullopt;
  return PoolFacts{found->second.customer, *found->second.placement.pages, found->second.vms,
                   found->second.ready,    parts_->table.bytes_in(pool),   parts_->table.free_bytes(pool)};
}

}  // namespace sluice::inline manager
