// SPDX-License-Identifier: Apache-2.0
// Dedicated pools: filled from the shared pool, cut, joined, and given back.
#include <fmt/format.h>

#include <algorithm>

#include "availability.hpp"
#include "errors.hpp"
#include "parts.hpp"
#include "pool_memory.hpp"
#include "sluice/base/enforce.hpp"

namespace sluice::inline manager {

Result<ClaimId> MemoryManager::create_dedicated_pool(DedicatedPoolId pool, CustomerId customer, ByteCount length,
                                                     PoolHandler handler, const PoolOptions& options) {
  Tenants& tenants = parts_->tenants;
  if (auto checked = tenants.check_new_pool(pool); !checked) return checked.error();
  if (!customer.is_set()) return errors::unset("customer");
  auto completed = tenants.complete(options.placement);
  if (!completed) return completed.error();
  if (auto checked = PoolRules::check(options.rule, *completed->unit); !checked) return checked.error();
  if (auto checked = parts_->check_shared_minimum(length); !checked) return checked.error();
  if (auto entered = parts_->enter_pools(pool, 1); !entered) return entered.error();
  tenants.add_pool(pool,
                   {.customer = customer, .placement = *completed, .shares = options.shares, .rule = options.rule});
  auto started = parts_->claims.start(tenants.claim_for(pool, length), {}, std::move(handler));
  if (!started) {
    tenants.forget_pool(pool);
    parts_->forget_pool(pool);
  }
  return started;
}

Result<std::vector<ClaimId>> MemoryManager::create_dedicated_pools(DedicatedPoolId first, std::uint32_t count,
                                                                   CustomerId customer, ByteCount length,
                                                                   const PoolsHandler& handler,
                                                                   const PoolOptions& options) {
  if (count == 0 || first.value() > ~0ULL - count) {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("{} pools with ids from {}: give at least one, with ids below 2^64", count, first.value())};
  }
  if (length.value() % count != 0) {
    return Error{HostErrc::InvalidArgument, fmt::format("{} bytes for {} pools of equal length: give a multiple of {}",
                                                        length.value(), count, count)};
  }
  if (auto checked = parts_->check_new_pools(first, count, customer, length, options); !checked) return checked.error();
  std::vector<ClaimId> started;
  for (std::uint64_t id = first.value(); id < first.value() + count; ++id) {
    const DedicatedPoolId pool(id);
    PoolHandler of_one;
    if (handler) of_one = [handler, pool](Result<void> result) { handler(pool, std::move(result)); };
    auto one = create_dedicated_pool(pool, customer, ByteCount(length.value() / count), std::move(of_one), options);
    enforce(one.has_value(), "what was checked for all pools holds for each");
    started.push_back(*one);
  }
  return started;
}

/// Whether all of these pools can be filled with what is free now.
Result<void> MemoryManager::Parts::check_new_pools(DedicatedPoolId first, std::uint32_t count, CustomerId customer,
                                                   ByteCount length, const PoolOptions& options) {
  for (std::uint64_t id = first.value(); id < first.value() + count; ++id) {
    if (auto checked = tenants.check_new_pool(DedicatedPoolId(id)); !checked) return checked;
  }
  if (!customer.is_set()) return errors::unset("customer");
  auto completed = tenants.complete(options.placement);
  if (!completed) return completed.error();
  if (auto checked = errors::check_length(ByteCount(length.value() / count), *completed->unit); !checked) {
    return checked;
  }
  if (auto checked = PoolRules::check(options.rule, *completed->unit); !checked) return checked;
  if (auto checked = check_shared_minimum(length); !checked) return checked;
  if (claims.closed()) return errors::scrub_unavailable({HostErrc::ScrubUnavailable, "the memory manager was stopped"});
  claims.serve_waiting();
  Claim all;
  all.kind = ClaimKind::Pool;
  all.placement = *completed;
  if (const ByteCount available = available_for(table, all); available < length) {
    return Error{HostErrc::OutOfMemory, fmt::format("{} bytes for {} pools and {} could be granted: ask for less",
                                                    length.value(), count, available.value())};
  }
  if (auto room = table.make_room(std::size_t{2} * count); !room) return room;
  return enter_pools(first, count);
}

Result<void> MemoryManager::Parts::enter_pools(DedicatedPoolId first, std::uint32_t count) {
  for (std::uint32_t number = 0; ledger != nullptr && number < count; ++number) {
    if (auto entered = ledger->enter({}, DedicatedPoolId(first.value() + number)); !entered) {
      while (number > 0) forget_pool(DedicatedPoolId(first.value() + --number));
      return entered;
    }
  }
  return {};
}

/// What a dedicated pool takes must leave the shared pool its minimum.
Result<void> MemoryManager::Parts::check_shared_minimum(ByteCount length) const {
  const ByteCount pending = claims.claimed_by_pools();
  if (length <= table.total() && tenants.may_leave_shared(table, length + pending)) return {};
  if (tenants.shared_minimum() == ByteCount(0)) return {};  // then its claim says what is missing
  return Error{HostErrc::OutOfMemory,
               fmt::format("{} bytes for a dedicated pool: the shared pool has {} and keeps {}: ask for less, or keep "
                           "less shared",
                           length.value(), table.bytes_in({}).value(), tenants.shared_minimum().value())};
}

ByteCount MemoryManager::shared_minimum() const { return parts_->tenants.shared_minimum(); }

void MemoryManager::keep_shared(ByteCount minimum) {
  parts_->tenants.keep_shared(minimum);
  parts_->rules.limits_changed();
}

Result<ClaimId> MemoryManager::grow_dedicated_pool(DedicatedPoolId pool, ByteCount length, PoolHandler handler) {
  if (auto found = parts_->tenants.find_pool(pool); !found) return found.error();
  if (auto checked = parts_->rules.check_growth(pool, length); !checked) return checked.error();
  if (auto checked = parts_->check_shared_minimum(length); !checked) return checked.error();
  auto started = parts_->claims.start(parts_->tenants.claim_for(pool, length), {}, std::move(handler));
  parts_->rules.limits_changed();
  return started;
}

Result<void> MemoryManager::change_pool_rule(DedicatedPoolId pool, const std::optional<PoolRule>& rule) {
  auto found = parts_->tenants.find_pool(pool);
  if (!found) return found.error();
  if (auto checked = PoolRules::check(rule, *(*found)->placement.unit); !checked) return checked;
  parts_->rules.forget(pool);
  parts_->tenants.set_rule(pool, rule);
  return {};
}

Result<void> MemoryManager::destroy_dedicated_pool(DedicatedPoolId pool) {
  if (!parts_->tenants.unadopted_pools().contains(pool)) {
    if (auto found = parts_->tenants.find_idle_pool(pool); !found) return found.error();
  }
  parts_->rules.forget(pool);
  move_all(parts_->table, pool, {});
  parts_->tenants.end_pool(pool);
  parts_->forget_pool(pool);
  parts_->scrubber.pump();
  return {};
}

Result<void> MemoryManager::shrink_dedicated_pool(DedicatedPoolId pool, ByteCount length) {
  auto found = parts_->tenants.find_pool(pool);
  if (!found) return found.error();
  if (auto checked = parts_->rules.check_shrinking(pool, length); !checked) return checked;
  if (auto moved = move_free(parts_->table, pool, *(*found)->placement.unit, {}, length); !moved) return moved;
  parts_->scrubber.pump();
  return {};
}

Result<void> MemoryManager::partition_dedicated_pool(DedicatedPoolId pool, DedicatedPoolId part, ByteCount length) {
  Tenants& tenants = parts_->tenants;
  auto found = tenants.find_pool(pool);
  if (!found) return found.error();
  if (auto checked = tenants.check_new_pool(part); !checked) return checked;
  if (auto checked = parts_->rules.check_shrinking(pool, length); !checked) return checked;
  Tenants::Pool facts{.customer = (*found)->customer, .placement = (*found)->placement, .shares = (*found)->shares};
  facts.ready = true;
  if (auto entered = parts_->enter_pools(part, 1); !entered) return entered;
  if (auto moved = move_free(parts_->table, pool, *facts.placement.unit, part, length); !moved) {
    parts_->forget_pool(part);
    return moved;
  }
  tenants.add_pool(part, facts);
  parts_->scrubber.pump();
  return {};
}

Result<void> MemoryManager::move_between_pools(DedicatedPoolId from, DedicatedPoolId to, ByteCount length) {
  if (auto checked = parts_->tenants.check_pair(to, from); !checked) return checked;
  if (auto checked = parts_->rules.check_shrinking(from, length); !checked) return checked;
  if (auto checked = parts_->rules.check_growth(to, length); !checked) return checked;
  const ByteCount unit = *parts_->tenants.pools().at(from).placement.unit;
  if (auto moved = move_free(parts_->table, from, unit, to, length); !moved) return moved;
  parts_->rules.limits_changed();
  parts_->scrubber.pump();
  return {};
}

Result<void> MemoryManager::merge_dedicated_pools(DedicatedPoolId pool, DedicatedPoolId other) {
  Tenants& tenants = parts_->tenants;
  if (auto checked = tenants.check_pair(pool, other); !checked) return checked;
  if (tenants.pools().at(other).claims > 0) {
    return Error{HostErrc::WrongState, fmt::format("pool {} is growing: wait for its handler", other.value())};
  }
  if (auto checked = parts_->rules.check_growth(pool, parts_->table.bytes_in(other)); !checked) return checked;
  if (parts_->ledger != nullptr) {
    if (auto entered = parts_->ledger->enter_all(other, pool); !entered) return entered;
  }
  parts_->rules.forget(other);
  std::vector<VmId> moved;
  for (const auto& [id, vm] : tenants.vms()) {
    if (vm.profile.pool == other) moved.push_back(id);
  }
  std::sort(moved.begin(), moved.end());
  for (const VmId vm : moved) parts_->claims.take_back(vm);
  move_all(parts_->table, other, pool);
  tenants.move_vms(other, pool);
  tenants.end_pool(other);
  parts_->forget_pool(other);
  parts_->rules.limits_changed();
  parts_->claims.choose_anew(moved);
  parts_->scrubber.pump();
  return {};
}

Result<void> MemoryManager::change_dedicated_pool(VmId vm, DedicatedPoolId pool) {
  const Tenants::Vm* const found = parts_->tenants.look_up(vm);
  const DedicatedPoolId old = found == nullptr ? DedicatedPoolId() : found->profile.pool;
  if (found != nullptr && parts_->ledger != nullptr && parts_->tenants.pools().contains(pool)) {
    if (auto entered = parts_->ledger->enter(vm, pool); !entered) return entered;
  }
  if (auto changed = parts_->tenants.change_dedicated_pool(vm, pool); !changed) return changed;
  if (old != pool) parts_->holdings.leave_pool(vm, old);
  parts_->scrubber.pump();
  return {};
}

std::optional<PoolFacts> MemoryManager::dedicated_pool(DedicatedPoolId pool) const {
  const auto found = parts_->tenants.pools().find(pool);
  if (found == parts_->tenants.pools().end()) return std::nullopt;
  return PoolFacts{.customer = found->second.customer,
                   .shares = found->second.shares,
                   .vms = found->second.vms,
                   .ready = found->second.ready,
                   .size = parts_->table.bytes_in(pool),
                   .free = parts_->table.free_bytes(pool),
                   .placement = found->second.placement,
                   .rule = found->second.rule};
}

std::vector<VmId> MemoryManager::vms_of(DedicatedPoolId pool) const {
  std::vector<VmId> vms;
  for (const auto& [id, vm] : parts_->tenants.vms()) {
    if (pool.is_set() && vm.profile.pool == pool) vms.push_back(id);
  }
  std::sort(vms.begin(), vms.end());
  return vms;
}

}  // namespace sluice::inline manager
