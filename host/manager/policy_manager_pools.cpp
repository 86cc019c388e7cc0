// SPDX-License-Identifier: Apache-2.0
// Dedicated pools as the policy book and the manager both have them.
#include <fmt/format.h>

#include "errors.hpp"
#include "sluice/manager/policy_manager.hpp"

namespace sluice::inline manager {

/// A pool of the book that the manager has lost comes back as its customer's.
Result<void> PolicyManager::check_new_pools(const Caller& caller, DedicatedPoolId first, std::uint32_t count,
                                            CustomerId customer) const {
  if (auto checked = check_provider(caller, "create a dedicated pool"); !checked) return checked;
  for (auto known = book_.pools().lower_bound(first); known != book_.pools().end(); ++known) {
    const auto& [pool, owner] = *known;
    if (pool.value() - first.value() >= count) break;
    if (owner != customer) return errors::foreign("pool", pool.value(), customer);
  }
  return {};
}

Result<ClaimId> PolicyManager::create_dedicated_pool(const Caller& caller, DedicatedPoolId pool, CustomerId customer,
                                                     ByteCount length, PoolHandler handler,
                                                     const PoolOptions& options) {
  if (auto checked = check_new_pools(caller, pool, 1, customer); !checked) return checked.error();
  auto started = manager_->create_dedicated_pool(pool, customer, length, std::move(handler), options);
  if (started && !book().pools().contains(pool)) filling_.emplace(pool, customer);
  return started;
}

Result<std::vector<ClaimId>> PolicyManager::create_dedicated_pools(const Caller& caller, DedicatedPoolId first,
                                                                   std::uint32_t count, CustomerId customer,
                                                                   ByteCount length, const PoolsHandler& handler,
                                                                   const PoolOptions& options) {
  if (auto checked = check_new_pools(caller, first, count, customer); !checked) return checked.error();
  auto started = manager_->create_dedicated_pools(first, count, customer, length, handler, options);
  if (!started) return started;
  for (std::uint64_t id = first.value(); id < first.value() + count; ++id) {
    if (!book().pools().contains(DedicatedPoolId(id))) filling_.emplace(id, customer);
  }
  return started;
}

Result<void> PolicyManager::adopt_dedicated_pool(const Caller& caller, DedicatedPoolId pool, CustomerId customer,
                                                 const PoolOptions& options) {
  PolicyBook next = book();
  if (auto added = next.add_pool(caller, pool, customer); !added) return added;
  auto adopted = manager_->adopt_dedicated_pool(pool, customer, options);
  if (adopted) book_ = std::move(next);
  return adopted;
}

Result<ClaimId> PolicyManager::grow_dedicated_pool(const Caller& caller, DedicatedPoolId pool, ByteCount length,
                                                   PoolHandler handler) {
  if (auto checked = check_provider(caller, "grow a dedicated pool"); !checked) return checked.error();
  return manager_->grow_dedicated_pool(pool, length, std::move(handler));
}

Result<void> PolicyManager::shrink_dedicated_pool(const Caller& caller, DedicatedPoolId pool, ByteCount length) {
  if (auto checked = check_provider(caller, "shrink a dedicated pool"); !checked) return checked;
  return manager_->shrink_dedicated_pool(pool, length);
}

Result<void> PolicyManager::partition_dedicated_pool(const Caller& caller, DedicatedPoolId pool, DedicatedPoolId part,
                                                     ByteCount length) {
  if (auto checked = check_provider(caller, "partition a dedicated pool"); !checked) return checked;
  PolicyBook next = book();
  if (const auto known = next.pools().find(pool); known != next.pools().end()) {
    if (auto added = next.add_pool(caller, part, known->second); !added) return added;
  }
  auto partitioned = manager_->partition_dedicated_pool(pool, part, length);
  if (partitioned) book_ = std::move(next);
  return partitioned;
}

Result<void> PolicyManager::merge_dedicated_pools(const Caller& caller, DedicatedPoolId pool, DedicatedPoolId other) {
  PolicyBook next = book();
  if (auto merged = next.merge_pools(caller, pool, other); !merged) return merged.error();
  if (auto merged = manager_->merge_dedicated_pools(pool, other); !merged) return merged;
  book_ = std::move(next);
  lost_.erase(other);
  return {};
}

Result<void> PolicyManager::move_between_pools(const Caller& caller, DedicatedPoolId from, DedicatedPoolId to,
                                               ByteCount length) {
  if (auto checked = check_provider(caller, "move memory between pools"); !checked) return checked;
  return manager_->move_between_pools(from, to, length);
}

Result<void> PolicyManager::destroy_dedicated_pool(const Caller& caller, DedicatedPoolId pool) {
  PolicyBook next = book();
  if (auto removed = next.remove_pool(caller, pool); !removed) return removed;
  const bool is_lost = lost_.contains(pool) && !manager_->dedicated_pool(pool);
  if (!is_lost) {
    if (auto destroyed = manager_->destroy_dedicated_pool(pool); !destroyed) return destroyed;
  }
  book_ = std::move(next);
  lost_.erase(pool);
  return {};
}

std::map<DedicatedPoolId, LostPool> PolicyManager::lost_pools() const {
  std::map<DedicatedPoolId, LostPool> lost = lost_;
  std::erase_if(lost, [&](const auto& entry) { return manager_->dedicated_pool(entry.first).has_value(); });
  return lost;
}

}  // namespace sluice::inline manager
