// SPDX-License-Identifier: Apache-2.0
// Dedicated pools: filled from the shared pool, cut, joined, and given back.
#include <fmt/format.h>

#include "errors.hpp"
#include "scrubber.hpp"
#include "sluice/manager/memory_manager.hpp"

namespace sluice::inline manager {
namespace {

Error too_small(DedicatedPoolId pool, ByteCount wanted, ByteCount free) {
  return {HostErrc::OutOfMemory,
          fmt::format("{} bytes of pool {} were asked for and {} are free: ask for less, or have "
                      "its VMs release memory",
                      wanted.value(), pool.value(), free.value())};
}

}  // namespace

Result<MemoryManager::Pool*> MemoryManager::find_pool(DedicatedPoolId pool) {
  const auto found = pools_.find(pool);
  if (found == pools_.end()) return errors::unknown("pool", pool.value());
  if (!found->second.ready) {
    return Error{HostErrc::WrongState, fmt::format("pool {} is being filled: wait for its handler", pool.value())};
  }
  return &found->second;
}

Result<void> MemoryManager::check_new_pool(DedicatedPoolId pool) const {
  if (!pool.is_set()) return errors::unset("pool");
  if (pools_.contains(pool) || ended_pools_.contains(pool)) return errors::used_before("pool", pool.value());
  return {};
}

Result<ClaimId> MemoryManager::fill_pool(DedicatedPoolId pool, const Pool& facts, ByteCount length,
                                         PoolHandler handler) {
  Claim claim;
  claim.kind = ClaimKind::Pool;
  claim.pool = pool;
  claim.customer = facts.customer;
  claim.placement = facts.placement;
  claim.length = length;
  return start_claim(claim, {}, std::move(handler));
}

Result<ClaimId> MemoryManager::create_dedicated_pool(DedicatedPoolId pool, CustomerId customer, ByteCount length,
                                                     PoolHandler handler, const Placement& placement) {
  if (auto checked = check_new_pool(pool); !checked) return checked.error();
  if (!customer.is_set()) return errors::unset("customer");
  auto completed = complete(placement, std::nullopt);
  if (!completed) return completed.error();
  const Pool facts{customer, *completed};
  pools_.emplace(pool, facts);
  auto started = fill_pool(pool, facts, length, std::move(handler));
  if (!started) pools_.erase(pool);
  return started;
}

Result<ClaimId> MemoryManager::grow_dedicated_pool(DedicatedPoolId pool, ByteCount length, PoolHandler handler) {
  auto found = find_pool(pool);
  if (!found) return found.error();
  return fill_pool(pool, **found, length, std::move(handler));
}

Result<void> MemoryManager::destroy_dedicated_pool(DedicatedPoolId pool) {
  auto found = find_pool(pool);
  if (!found) return found.error();
  if (auto idle = check_idle(pool, **found); !idle) return idle;
  for (Extent* extent : table_.members(pool)) table_.move_to_pool(*extent, {});
  pools_.erase(pool);
  ended_pools_.insert(pool);
  scrubber_.pump();
  return {};
}

Result<void> MemoryManager::check_idle(DedicatedPoolId pool, const Pool& facts) {
  if (facts.vms == 0 && facts.claims == 0) return {};
  return Error{HostErrc::WrongState, fmt::format("pool {} has {} VMs and {} pending claims: end them first",
                                                 pool.value(), facts.vms, facts.claims)};
}

Result<void> MemoryManager::shrink_dedicated_pool(DedicatedPoolId pool, ByteCount length) {
  auto found = find_pool(pool);
  if (!found) return found.error();
  if (auto moved = move_free(pool, **found, {}, length); !moved) return moved;
  scrubber_.pump();
  return {};
}

Result<void> MemoryManager::partition_dedicated_pool(DedicatedPoolId pool, DedicatedPoolId part, ByteCount length) {
  auto found = find_pool(pool);
  if (!found) return found.error();
  if (auto checked = check_new_pool(part); !checked) return checked;
  if (auto moved = move_free(pool, **found, part, length); !moved) return moved;
  Pool facts{(*found)->customer, (*found)->placement};
  facts.ready = true;
  pools_.emplace(part, facts);
  return {};
}

Result<void> MemoryManager::merge_dedicated_pools(DedicatedPoolId pool, DedicatedPoolId other) {
  auto found = find_pool(pool);
  if (!found) return found.error();
  auto joining = find_pool(other);
  if (!joining) return joining.error();
  if (pool == other) {
    return Error{HostErrc::InvalidArgument, fmt::format("pool {} and itself: give two pools", pool.value())};
  }
  if ((*joining)->customer != (*found)->customer) {
    return errors::foreign("pool", other.value(), (*found)->customer);
  }
  if (auto same = complete((*joining)->placement, (*found)->placement.pages); !same) return same.error();
  if (auto idle = check_idle(other, **joining); !idle) return idle;
  for (Extent* extent : table_.members(other)) table_.move_to_pool(*extent, pool);
  pools_.erase(other);
  ended_pools_.insert(other);
  return {};
}

/// Moves free memory that no engine works on, clean memory first. What is dirty keeps its owner: where that is of
/// another domain than the next claim's, it is scrubbed.
Result<void> MemoryManager::move_free(DedicatedPoolId from, const Pool& facts, DedicatedPoolId to, ByteCount length) {
  if (auto checked = errors::check_length(length, *facts.placement.pages); !checked) return checked;
  ByteCount free;
  const auto zones = static_cast<std::uint32_t>(table_.zones().size());
  for (std::uint32_t zone = 0; zone < zones; ++zone) free += table_.idle_bytes(from, zone);
  if (free < length) return too_small(from, length, free);
  if (auto room = table_.make_room(1); !room) return room;
  ByteCount missing = length;
  const auto move_while = [&](auto find) {
    for (std::uint32_t zone = 0; zone < zones; ++zone) {
      for (Extent* extent = find(zone); extent != nullptr && missing > ByteCount(0); extent = find(zone)) {
        if (extent->length() > missing) table_.split(*extent, missing);
        missing -= extent->length();
        table_.move_to_pool(*extent, to);
        table_.coalesce(*extent);
      }
    }
  };
  move_while([&](std::uint32_t zone) { return table_.longest_clean(from, zone); });
  move_while([&](std::uint32_t zone) { return table_.oldest_dirty(from, zone); });
  return {};
}

std::optional<PoolFacts> MemoryManager::dedicated_pool(DedicatedPoolId pool) const {
  const auto found = pools_.find(pool);
  if (found == pools_.end()) return std::nullopt;
  return PoolFacts{found->second.customer, *found->second.placement.pages, found->second.vms,
                   found->second.ready,    table_.bytes_in(pool),          table_.free_bytes(pool)};
}

}  // namespace sluice::inline manager
