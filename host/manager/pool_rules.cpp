// SPDX-License-Identifier: Apache-2.0
#include "pool_rules.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "availability.hpp"
#include "pool_memory.hpp"

namespace sluice::inline manager {

Result<void> PoolRules::check(const std::optional<PoolRule>& rule, ByteCount unit) {
  if (!rule) return {};
  const auto invalid = [](std::string message) { return Error{HostErrc::InvalidArgument, std::move(message)}; };
  for (const ByteCount bytes : {rule->least_free, rule->most_free, rule->step, rule->smallest, rule->largest}) {
    if (bytes.value() % unit.value() == 0) continue;
    return invalid(fmt::format("{} bytes in a pool's rule: give multiples of {} bytes", bytes.value(), unit.value()));
  }
  if (rule->step == ByteCount(0)) return invalid("a pool's rule with steps of 0 bytes: give at least a page");
  if (rule->most_free < rule->step || rule->most_free - rule->step < rule->least_free) {
    return invalid(
        fmt::format("a pool that grows with less than {} bytes free, and shrinks with more than {}, would "
                    "do both in turn by steps of {} bytes: let the two differ by a step",
                    rule->least_free.value(), rule->most_free.value(), rule->step.value()));
  }
  if (rule->smallest > rule->largest) {
    return invalid(
        fmt::format("a pool of at least {} bytes and at most {}: give a largest that is no less than the "
                    "smallest",
                    rule->smallest.value(), rule->largest.value()));
  }
  return {};
}

Result<void> PoolRules::check_growth(DedicatedPoolId pool, ByteCount length) const {
  const ByteCount promised = claims_.claimed_by(pool);
  if (length == ByteCount(0) || length > table_.total()) return {};  // that is refused anyway
  if (tenants_.may_grow(table_, pool, length + promised)) return {};
  return Error{HostErrc::InvalidArgument,
               fmt::format("{} bytes more for pool {}: it has {}, is to get {}, and its rule allows it {} at most: ask "
                           "for less, or change its rule first",
                           length.value(), pool.value(), table_.bytes_in(pool).value(), promised.value(),
                           tenants_.pools().at(pool).rule->largest.value())};
}

Result<void> PoolRules::check_shrinking(DedicatedPoolId pool, ByteCount length) const {
  const std::optional<PoolRule>& rule = tenants_.pools().at(pool).rule;
  const ByteCount size = table_.bytes_in(pool);
  if (!rule || length == ByteCount(0) || length > size || size - length >= rule->smallest) return {};
  return Error{HostErrc::InvalidArgument,
               fmt::format("{} bytes less for pool {}: it has {}, and its rule leaves it {} at least: ask for less, or "
                           "change its rule first",
                           length.value(), pool.value(), size.value(), rule->smallest.value())};
}

const PoolRules::Growth* PoolRules::growth_of(DedicatedPoolId pool) const {
  const auto found = growths_.find(pool);
  return found == growths_.end() ? nullptr : &found->second;
}

ByteCount PoolRules::available_to(DedicatedPoolId pool) const {
  return available_for(table_, tenants_.claim_for(pool, {}));
}

/// What the rule asks for.
std::optional<PoolRules::Step> PoolRules::wanted(DedicatedPoolId pool, const PoolRule& rule) const {
  const ByteCount size = table_.bytes_in(pool);
  ByteCount free;
  for (std::uint32_t zone = 0; zone < table_.zones().size(); ++zone) free += table_.free_bytes(pool, zone, {});
  if (free < rule.least_free && size < rule.largest) return Step{true, std::min(rule.step, rule.largest - size)};
  if (free > rule.most_free && size > rule.smallest) return Step{false, std::min(rule.step, size - rule.smallest)};
  return std::nullopt;
}

/// And what is possible now. A pool grows once at a time, whoever asked for it.
std::optional<PoolRules::Step> PoolRules::due(DedicatedPoolId pool, const Tenants::Pool& facts) const {
  const Growth* const growth = growth_of(pool);
  if (!facts.rule || !facts.ready || facts.claims > 0 || (growth != nullptr && growth->under_way)) return std::nullopt;
  const auto step = wanted(pool, *facts.rule);
  if (!step || !(step->grows ? can_grow(pool, step->length) : can_shrink(pool, step->length))) return std::nullopt;
  return is_refused(pool, step->grows) ? std::nullopt : step;
}

bool PoolRules::can_grow(DedicatedPoolId pool, ByteCount length) const {
  return !scrubber_.fault() && tenants_.may_leave_shared(table_, length + claims_.claimed_by_pools()) &&
         available_to(pool) >= length;
}

bool PoolRules::can_shrink(DedicatedPoolId pool, ByteCount length) const {
  ByteCount idle;
  for (std::uint32_t zone = 0; zone < table_.zones().size(); ++zone) idle += table_.idle_bytes(pool, zone, {});
  return idle >= length;
}

bool PoolRules::is_refused(DedicatedPoolId pool, bool grows) const {
  const Growth* const growth = growth_of(pool);
  if (growth == nullptr) return false;
  const std::optional<ByteCount>& refused_with = growth->refused_with[grows ? 1 : 0];
  return refused_with && available_to(pool) <= *refused_with;
}

bool PoolRules::has_work() const {
  if (claims_.closed()) return false;
  return std::any_of(tenants_.pools().begin(), tenants_.pools().end(),
                     [&](const auto& entry) { return due(entry.first, entry.second).has_value(); });
}

void PoolRules::apply() {
  limits_changed();  // by a call that has a pool grow, and has ended
  for (auto& [pool, growth] : growths_) {
    for (auto& refused_with : growth.refused_with) {
      if (refused_with) refused_with = std::min(*refused_with, available_to(pool));
    }
  }
  std::vector<DedicatedPoolId> pools;
  for (const auto& [pool, facts] : tenants_.pools()) {
    if (facts.rule && facts.ready) pools.push_back(pool);
  }
  std::sort(pools.begin(), pools.end());
  for (const DedicatedPoolId pool : pools) {
    const auto step = due(pool, tenants_.pools().at(pool));
    if (!step) continue;
    step->grows ? grow(pool, step->length) : shrink(pool, step->length);
  }
}

void PoolRules::grow(DedicatedPoolId pool, ByteCount length) {
  Claim claim = tenants_.claim_for(pool, length);
  claim.by_rule = true;
  growths_[pool].under_way = true;
  growths_[pool].length = length;
  const auto started =
      claims_.start(claim, {}, [this, pool](const Result<void>& result) { ended(pool, result.has_value()); });
  if (started) {
    growths_[pool].claim = *started;
  } else {
    ended(pool, false);
  }
}

/// Called from inside the claims: it only notes what came of it.
void PoolRules::ended(DedicatedPoolId pool, bool has_grown) {
  Growth& growth = growths_[pool];
  growth.under_way = false;
  growth.refused_with[1] = has_grown ? std::nullopt : std::optional(available_to(pool));
}

void PoolRules::limits_changed() {
  for (auto& [pool, growth] : growths_) {
    if (!growth.under_way) continue;
    const bool fits = tenants_.may_grow(table_, pool, growth.length + claims_.claimed_by(pool));
    if (fits && tenants_.may_leave_shared(table_, claims_.claimed_by_pools())) continue;
    claims_.abandon(growth.claim);
    growth.refused_with = {};  // by nobody
  }
}

void PoolRules::forget(DedicatedPoolId pool) {
  const Growth* const growth = growth_of(pool);
  if (growth != nullptr && growth->under_way) claims_.abandon(growth->claim);
  growths_.erase(pool);
}

/// So much is idle: it can be refused for want of room in the ledger only.
void PoolRules::shrink(DedicatedPoolId pool, ByteCount length) {
  const ByteCount unit = *tenants_.pools().at(pool).placement.unit;
  const bool shrunk = move_free(table_, pool, unit, {}, length).has_value();
  if (!shrunk) growths_[pool].refused_with[0] = available_to(pool);
  scrubber_.pump();
}

}  // namespace sluice::inline manager
