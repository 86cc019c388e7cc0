// SPDX-License-Identifier: Apache-2.0
// Dedicated pools: how they begin, change and end.
#include <algorithm>
#include <utility>

#include "world.hpp"

namespace sluice::world {

World::Pool World::draw_pool(const Step& step) const {
  Pool pool;
  pool.customer = customer(step.a);
  pool.shares = step.a / 512 % 2 == 0;
  if (step.a / 4 % 2 == 0) pool.placement = placement(step.c);
  if (step.a / 8 % (layout_.has_huge() ? 3 : 32) == 0) pool.kind = PageKind::Huge2MiB;
  layout_.ask_for(pool.kind, pool.placement);
  if (step.a / 1024 % 3 == 0) pool.rule = draw_rule(step.c / 64, pool.kind);
  pool.ruled_since = steps_;
  return pool;
}

PoolRule World::draw_rule(std::uint32_t bits, PageKind kind) {
  const std::size_t least = bits % 8;
  const std::size_t step = 1 + bits / 8 % 6;
  const std::size_t smallest = bits / 64 % 8;
  return {length(least, kind), length(least + step + bits / 16'384 % 8, kind), length(step, kind),
          length(smallest, kind), length(smallest + bits / 512 % 32, kind)};
}

bool World::has_rules() const {
  return std::any_of(pools_.begin(), pools_.end(), [](const auto& entry) { return entry.second.rule.has_value(); });
}

void World::change_rule(const Step& step) {
  auto* const found = pick(pools_, step.c);
  if (found == nullptr || !found->second.ready) return;
  Pool& pool = found->second;
  pool.rule = step.a / 4 % 3 == 0 ? std::nullopt : std::optional(draw_rule(step.b, pool.kind));
  pool.ruled_since = steps_;
  expect(true, manager_->change_pool_rule(DedicatedPoolId(found->first), pool.rule).has_value(), "a change of a rule");
}

/// Whether its rule allows a pool that has grown so many pages, or one that has shrunk so few.
bool World::may_have(const Pool& pool, std::size_t pages) {
  return !pool.rule || length(pages, pool.kind) <= pool.rule->largest;
}
bool World::may_keep(const Pool& pool, std::size_t pages) {
  return !pool.rule || length(pages, pool.kind) >= pool.rule->smallest;
}

/// What a pool is to get by calls, in pages, and what it has got and its handlers were not called with.
std::size_t World::promised_to(Id pool) const {
  std::size_t pages = 0;
  for (const auto& [number, claim] : claims_) pages += claim.vm == 0 && claim.pool == pool ? claim.pages : 0;
  return pages;
}

/// What pools did by their rules since the last look: within the limits.
void World::follow_rules() {
  bool changed = false;
  for (auto& [id, pool] : pools_) {
    if ((!pool.rule && !pool.grew) || !pool.ready) continue;
    const bool grows = pool.claims > 0;
    const bool grew = std::exchange(pool.grew, grows);
    const std::size_t pages = pool_pages(id);
    if (grows || pages == pool.pages) continue;
    const ByteCount size = length(pages, pool.kind);
    const ByteCount before = length(pool.pages, pool.kind);
    check(grew || (size >= std::min(before, pool.rule->smallest) && size <= std::max(before, pool.rule->largest)),
          "pool {} went from {} to {} pages by its rule", id, pool.pages, pages);
    const bool alone =
        std::none_of(claims_.begin(), claims_.end(), [](const auto& entry) { return entry.second.vm == 0; });
    check(grew || !alone || size < before || shared_bytes() >= shared_minimum_,
          "by its rule pool {} left {} bytes shared", id, shared_bytes().value());
    pool.pages = pages;
    changed = true;
  }
  if (!changed) return;
  ++changes_;
  look_at_pools();
}

/// With nothing left to do, no pool has more free memory than its rule wants.
void World::check_rules_at_rest() {
  const ExtentTable& table = manager_->extents();
  for (const auto& [id, pool] : pools_) {
    if (!pool.rule || !pool.ready || pool.claims > 0 || stopped_) continue;
    ByteCount free;
    for (std::uint32_t zone = 0; zone < table.zones().size(); ++zone) {
      free += table.idle_bytes(DedicatedPoolId(id), zone, {});
    }
    check(free <= pool.rule->most_free || length(pool.pages, pool.kind) <= pool.rule->smallest,
          "pool {} has {} bytes free, and its rule wants {}", id, free.value(), pool.rule->most_free.value());
  }
}

ByteCount World::shared_bytes() const { return manager_->extents().bytes_in({}); }

void World::create_pool(const Step& step) {
  if (pools_.size() >= 4) return;
  const Id id = next_id_++;
  const Pool pool = draw_pool(step);
  Claim next;
  next.pool = id;
  next.pages = 1 + step.b % (step.b / 256 % 8 == 0 ? kPages : 24);
  const bool fits = layout_.has(pool.kind, pool.placement.node);
  const std::uint64_t number = next_claim_;
  const auto handler = [this, number](const Result<void>& result) { pool_notified(number, result); };
  pools_[id] = pool;
  note_claim(number, next);
  const auto claim =
      manager_->create_dedicated_pool(DedicatedPoolId(id), CustomerId(pool.customer), length(next.pages, pool.kind),
                                      handler, {.placement = pool.placement, .shares = pool.shares, .rule = pool.rule});
  if (claim) {
    check(fits, "a pool went through where there is no such memory");
    claims_.at(number).id = *claim;
    ++pools_.at(id).claims;
    check_minimum();
    return;
  }
  check_refusal(claim.error(), fits);
  claims_.erase(number);
  pools_.erase(id);
}

void World::check_refusal(const Error& error, bool fits) {
  const bool right = fits
                         ? error.code == HostErrc::OutOfMemory || (stopped_ && error.code == HostErrc::ScrubUnavailable)
                         : error.code == HostErrc::InvalidArgument;
  check(right, "a pool was refused: {}", error.message);
}

/// What was promised to pools leaves the shared pool its minimum.
void World::check_minimum() {
  // Without an engine claims end before their handlers are called.
  if (engine_->dead() || engine_->lied() || stopped_) return;
  ByteCount promised;
  for (const auto& [number, claim] : claims_) {
    // One that a loss of memory or of the engine has ended is promised nothing any more.
    if (claim.vm == 0 && !claim.abandoned && claim.losses == losses_) promised += wanted(claim);
  }
  // Of some the handler was not called yet.
  for (const auto& [id, pool] : pools_) {
    const ByteCount there = manager_->extents().bytes_in(DedicatedPoolId(id));
    promised -= std::min(promised, there - length(pool.pages, pool.kind));
  }
  check(shared_bytes() >= promised + shared_minimum_, "of {} shared bytes pools get {}, and {} must stay",
        shared_bytes().value(), promised.value(), shared_minimum_.value());
}

/// One for each VM that is expected. Sometimes the memory cannot be divided so.
void World::create_pools(const Step& step) {
  const std::uint32_t count = 1 + step.b % 3;
  if (pools_.size() + count > 5) return;
  const Id first = next_id_;
  next_id_ += count;
  const Pool pool = draw_pool(step);
  const std::size_t each = 1 + step.c % 16;
  const bool divides = count == 1 || step.b / 4 % 8 != 0;
  const bool fits = divides && layout_.has(pool.kind, pool.placement.node);
  const std::uint64_t begin = next_claim_;
  const std::uint64_t end = begin + count;
  for (Id id = first; id < first + count; ++id) {
    pools_[id] = pool;
    Claim next;
    next.pool = id;
    next.pages = each;
    note_claim(next_claim_, next);
  }
  const auto claims = manager_->create_dedicated_pools(
      DedicatedPoolId(first), count, CustomerId(pool.customer), length(each * count + (divides ? 0 : 1), pool.kind),
      [this, begin, first](DedicatedPoolId made, const Result<void>& result) {
        pool_notified(begin + (made.value() - first), result);
      },
      {.placement = pool.placement, .shares = pool.shares, .rule = pool.rule});
  if (!claims) {
    check_refusal(claims.error(), fits);
    for (std::uint64_t number = begin; number < end; ++number) claims_.erase(number);
    for (Id id = first; id < first + count; ++id) pools_.erase(id);
    return;
  }
  check(fits && claims->size() == count, "{} pools went through, of {}", claims->size(), count);
  for (std::uint32_t one = 0; one < count && one < claims->size(); ++one) {
    claims_.at(begin + one).id = (*claims)[one];
    ++pools_.at(first + one).claims;
  }
  check_minimum();
}

void World::take_new_pool_step(const Step& step) {
  if (step.act == Act::CreatePool) {
    create_pool(step);
  } else if (step.act == Act::CreatePools) {
    create_pools(step);
  } else if (step.act == Act::ChangePool) {
    change_pool(step);
  } else {
    rules_change();
    shared_minimum_ = step.a % 2 == 0 ? ByteCount(0) : ByteCount(layout_.bytes(0, step.b % kPages));
    manager_->keep_shared(shared_minimum_);
    for (auto& [number, claim] : claims_) claim.minimum = std::min(claim.minimum, shared_minimum_.value());
    if (step.a / 2 % 2 == 0) change_rule(step);
  }
}

void World::take_pool_step(const Step& step) {
  if (step.act == Act::CreatePool || step.act == Act::CreatePools || step.act == Act::ChangePool ||
      step.act == Act::KeepShared) {
    take_new_pool_step(step);
    return;
  }
  if (auto* const stray = pick(strays_, step.a); stray != nullptr && step.c % 8 < 4) {
    rules_change();
    settle_stray(stray->first, step.c % 2 == 0);
    look_at_pools();
    return;
  }
  auto* const found = pick(pools_, step.a);
  if (found == nullptr || !found->second.ready) return;
  rules_change();
  if (step.act == Act::MergePools || step.act == Act::DestroyPool) {
    join_pools(step, found->first, found->second);
  } else {
    resize_pool(step, found->first, found->second);
  }
  look_at_pools();
}

void World::grow_pool(Id id, Pool& facts, std::size_t pages) {
  const std::uint64_t number = next_claim_;
  Claim next;
  next.pool = id;
  next.pages = pages;
  const std::size_t size = pool_pages(id) + pages;
  const bool is_allowed = may_have(facts, size + promised_to(id));
  note_claim(number, next);
  const auto claim =
      manager_->grow_dedicated_pool(DedicatedPoolId(id), length(pages, facts.kind),
                                    [this, number](const Result<void>& result) { pool_notified(number, result); });
  if (claim) {
    check(may_have(facts, size), "pool {} grows to {} pages, against its rule", id, size);
    claims_.at(number).id = *claim;
    ++facts.claims;
    check_minimum();
    return;
  }
  claims_.erase(number);
  check_refusal(claim.error(), is_allowed || claim.error().code != HostErrc::InvalidArgument);
}

void World::resize_pool(const Step& step, Id id, Pool& facts) {
  const DedicatedPoolId pool(id);
  const std::size_t free = manager_->dedicated_pool(pool)->free.value() / page_length(facts.kind).value();
  std::size_t pages = 1 + step.b % 24;
  if (step.c % 4 == 0) pages = std::max<std::size_t>(free, 1);
  if (step.c % 4 == 1) pages = free + 1;
  const ByteCount bytes = length(pages, facts.kind);
  if (step.act == Act::GrowPool) {
    grow_pool(id, facts, pages);
  } else if (step.act == Act::ShrinkPool) {
    const std::size_t size = pool_pages(id);
    const bool went = manager_->shrink_dedicated_pool(pool, bytes).has_value();
    check(!went || (pages <= free && may_keep(facts, size - pages)), "a pool of {} pages gave {} back, {} were free",
          size, pages, free);
    if (went) facts.pages -= pages;
  } else if (step.act == Act::MoveBetweenPools) {
    move_between_pools(id, pages, free, step.c);
  } else {
    const Id part = next_id_++;
    const std::size_t size = pool_pages(id);
    const bool went = manager_->partition_dedicated_pool(pool, DedicatedPoolId(part), bytes).has_value();
    check(!went || (pages <= free && may_keep(facts, size - pages)),
          "a part of {} pages was made of {}, and {} were free", pages, size, free);
    if (!went) return;
    facts.pages -= pages;
    pools_[part] = {facts.customer, pages, true, 0, facts.kind, facts.placement, facts.shares};
  }
}

void World::move_between_pools(Id from, std::size_t pages, std::size_t free, std::uint32_t number) {
  auto* const to = pick(pools_, number / 4);
  if (!to->second.ready) return;
  Pool& facts = pools_.at(from);
  const bool fits = to->first != from && to->second.customer == facts.customer && to->second.kind == facts.kind;
  const std::size_t size = pool_pages(from);
  const bool allowed =
      may_have(to->second, pool_pages(to->first) + pages) && (pages > size || may_keep(facts, size - pages));
  const bool went =
      manager_->move_between_pools(DedicatedPoolId(from), DedicatedPoolId(to->first), length(pages, facts.kind))
          .has_value();
  check(!went || (fits && allowed && pages <= free), "{} pages went from pool {} to pool {}, and {} were free", pages,
        from, to->first, free);
  if (!went) return;
  facts.pages -= pages;
  to->second.pages += pages;
}

void World::join_pools(const Step& step, Id id, Pool& facts) {
  if (step.act == Act::DestroyPool) {
    bool fits = facts.claims == 0;
    for (const auto& [number, vm] : vms_) fits = fits && vm.who.pool != id;
    expect(fits, manager_->destroy_dedicated_pool(DedicatedPoolId(id)).has_value(), "the end of a pool");
    if (fits) pools_.erase(id);
    return;
  }
  auto* const other = pick(pools_, step.c);
  if (!other->second.ready) return;
  const Id gone = other->first;
  const bool fits = gone != id && other->second.customer == facts.customer && other->second.kind == facts.kind &&
                    other->second.claims == 0;
  const std::size_t moved = pool_pages(gone);
  const std::size_t size = pool_pages(id) + moved;
  const bool surely = fits && (moved == 0 || may_have(facts, size + promised_to(id)));
  const bool perhaps = fits && (moved == 0 || may_have(facts, size));
  const bool went = manager_->merge_dedicated_pools(DedicatedPoolId(id), DedicatedPoolId(gone)).has_value();
  if (went || surely) expect(perhaps, went, "a merge");
  if (!went) return;
  facts.pages += other->second.pages;
  for (auto& [number, vm] : vms_) {
    if (vm.who.pool == gone) vm.who.pool = id;
  }
  pools_.erase(gone);
}

/// A VM goes to another pool, or to none.
void World::change_pool(const Step& step) {
  auto* const found = pick(vms_, step.a);
  auto* const pool = pick(pools_, step.b);
  if (found == nullptr) return;
  Vm& vm = found->second;
  Id to = 0;
  bool fits = vm.claims == 0 && !vm.down;
  if (pool != nullptr && step.c % 4 != 0) {
    if (!pool->second.ready) return;
    to = pool->first;
    fits = fits && pool->second.customer == vm.who.customer && pool->second.kind == vm.kind;
  }
  const Id from = vm.who.pool;
  if (to == from) return;
  rules_change();
  expect(fits, manager_->change_dedicated_pool(VmId(vm.who.vm), DedicatedPoolId(to)).has_value(), "a change of pool");
  if (!fits) return;
  const ExtentTable& table = manager_->extents();
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    if (from == 0 || table.lineage(*extent).pool.value() != from) continue;
    for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) {
      memory_.leaves_pool(vm.who.vm, page, table.holder(*extent).value());
    }
  }
  vm.who.pool = to;
}

void World::pool_notified(std::uint64_t number, const Result<void>& result) {
  const auto claim = ended(number, result ? std::nullopt : std::optional(result.error()));
  if (!claim) return;
  Pool& pool = pools_.at(claim->pool);
  --pool.claims;
  if (result) {
    pool.pages += claim->pages;
    pool.ready = true;
    const ByteCount minimum = std::min(ByteCount(claim->minimum), shared_minimum_);
    check(shared_bytes() >= minimum, "a pool left the shared pool {} bytes, not {}", shared_bytes().value(),
          minimum.value());
    const std::size_t size = pool_pages(claim->pool);
    check(claim->step <= pool.ruled_since || may_have(pool, size), "pool {} has {} pages, against its rule",
          claim->pool, size);
    look_at_pools();
  } else if (!pool.ready) {
    pools_.erase(claim->pool);
  }
}

/// Which memory a pool gave or got, is the manager's to say.
void World::look_at_pools(Id rebooting) {
  const ExtentTable& table = manager_->extents();
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    const Id pool = table.lineage(*extent).pool.value();
    for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) {
      // What grew its own pool was the VM's until then, though it has been released by now.
      const bool grew = rebooting != 0 && pool != memory_.pool_of(page) && memory_.last_writer(page) == rebooting;
      const Id holder = grew ? rebooting : table.holder(*extent).value();
      const bool joins = pool != 0 && memory_.pool_of(page) == 0 && holder == 0;
      check(!joins || !suspect_to_all_[page], "page {} is suspect and joined pool {}", page, pool);
      memory_.belongs(page, pool, holder);
    }
  }
}

}  // namespace sluice::world
