// SPDX-License-Identifier: Apache-2.0
// Groups, pools and settings.
#include "world.hpp"

namespace sluice::world {

void World::take_group_step(const Step& step) {
  if (step.act == Act::CreateGroup) {
    if (groups_.size() >= 6) return;
    const Id id = next_id_++;
    const Id owner = customer(step.a);
    Id inside = 0;
    if (auto* const larger = pick(groups_, step.b); larger != nullptr && step.c % 2 == 0) inside = larger->first;
    const bool fits = inside == 0 || (groups_[inside].customer == owner && groups_[inside].inside == 0);
    expect(fits, manager_->create_trust_group(TrustGroupId(id), CustomerId(owner), TrustGroupId(inside)).has_value(),
           "creating a group");
    if (!fits) return;
    groups_[id] = {owner, inside, true};
    memory_.create_group(id, owner, inside);
    return;
  }
  ++group_changes_;
  auto* const group = pick(groups_, step.b);
  if (group == nullptr) return;
  const auto [id, facts] = *group;
  look_at_grants();
  if (step.act == Act::EnableGroup) {
    const bool enabled = step.c % 2 == 0;
    expect(true, manager_->enable_trust_group(TrustGroupId(id), enabled).has_value(), "enabling a group");
    group->second.enabled = enabled;
    memory_.enable_group(id, enabled);
  } else if (step.act == Act::DestroyGroup) {
    bool empty = true;
    for (const auto& [number, vm] : vms_) empty = empty && vm.who.group != id;
    for (const auto& [number, other] : groups_) empty = empty && other.inside != id;
    expect(empty, manager_->destroy_trust_group(TrustGroupId(id)).has_value(), "the end of a group");
    if (!empty) return;
    memory_.destroy_group(id);
    groups_.erase(id);
  } else if (auto* const found = pick(vms_, step.a); found != nullptr) {
    Vm& vm = found->second;
    const Id to = step.c % 4 == 0 ? 0 : id;
    const bool fits = vm.claims == 0 && (to == 0 || facts.customer == vm.who.customer);
    expect(fits, manager_->change_trust_group(VmId(vm.who.vm), TrustGroupId(to)).has_value(), "a change of group");
    if (!fits) return;
    memory_.moved(vm.who.group, to);
    vm.who.group = to;
  }
}

void World::create_pool(const Step& step) {
  if (pools_.size() >= 4) return;
  const Id id = next_id_++;
  Pool pool;
  pool.customer = customer(step.a);
  if (step.a / 4 % 2 == 0) pool.placement = placement(step.c);
  if (step.a / 8 % (layout_.has_huge() ? 3 : 32) == 0) pool.placement.pages = pool.kind = PageKind::Huge2MiB;
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
                                      handler, {.placement = pool.placement});
  if (claim) {
    check(fits, "a pool went through where there is no such memory");
    claims_.at(number).id = *claim;
    ++pools_.at(id).claims;
    return;
  }
  const auto code = claim.error().code;
  const auto right = stopped_ ? HostErrc::ScrubUnavailable : HostErrc::OutOfMemory;
  check(code == (fits ? right : HostErrc::InvalidArgument), "a pool was refused: {}", claim.error().message);
  claims_.erase(number);
  pools_.erase(id);
}

void World::take_pool_step(const Step& step) {
  if (step.act == Act::CreatePool) {
    create_pool(step);
    return;
  }
  auto* const found = pick(pools_, step.a);
  if (found == nullptr || !found->second.ready) return;
  const DedicatedPoolId pool(found->first);
  Pool& facts = found->second;
  const std::size_t free = manager_->dedicated_pool(pool)->free.value() / page_length(facts.kind).value();
  std::size_t pages = 1 + step.b % 24;
  if (step.c % 4 == 0) pages = std::max<std::size_t>(free, 1);
  if (step.c % 4 == 1) pages = free + 1;
  const ByteCount bytes = length(pages, facts.kind);
  const auto used = [&](Id id) {
    bool busy = pools_.at(id).claims > 0;
    for (const auto& [other, vm] : vms_) busy = busy || vm.who.pool == id;
    return busy;
  };
  if (step.act == Act::GrowPool) {
    const std::uint64_t number = next_claim_;
    Claim next;
    next.pool = found->first;
    next.pages = pages;
    note_claim(number, next);
    const auto claim = manager_->grow_dedicated_pool(
        pool, bytes, [this, number](const Result<void>& result) { pool_notified(number, result); });
    if (claim) {
      claims_.at(number).id = *claim;
      ++facts.claims;
      return;
    }
    claims_.erase(number);
    check(claim.error().code == (stopped_ ? HostErrc::ScrubUnavailable : HostErrc::OutOfMemory),
          "a pool was refused more: {}", claim.error().message);
  } else if (step.act == Act::ShrinkPool) {
    const bool went = manager_->shrink_dedicated_pool(pool, bytes).has_value();
    check(!went || pages <= free, "a pool gave {} pages back, and {} were free", pages, free);
    if (went) facts.pages -= pages;
  } else if (step.act == Act::PartitionPool) {
    const Id part = next_id_++;
    const bool went = manager_->partition_dedicated_pool(pool, DedicatedPoolId(part), bytes).has_value();
    check(!went || pages <= free, "a part of {} pages was made, and {} were free", pages, free);
    if (!went) return;
    facts.pages -= pages;
    pools_[part] = {facts.customer, pages, true, 0, facts.kind, facts.placement};
  } else if (step.act == Act::MergePools) {
    auto* const other = pick(pools_, step.c);
    if (!other->second.ready) return;
    const bool fits = other != found && other->second.customer == facts.customer && other->second.kind == facts.kind &&
                      !used(other->first);
    expect(fits, manager_->merge_dedicated_pools(pool, DedicatedPoolId(other->first)).has_value(), "a merge");
    if (!fits) return;
    facts.pages += other->second.pages;
    pools_.erase(other->first);
  } else {
    const bool fits = !used(found->first);
    expect(fits, manager_->destroy_dedicated_pool(pool).has_value(), "the end of a pool");
    if (fits) pools_.erase(found->first);
  }
}

void World::pool_notified(std::uint64_t number, const Result<void>& result) {
  const auto claim = ended(number, result ? std::nullopt : std::optional(result.error()));
  if (!claim) return;
  Pool& pool = pools_.at(claim->pool);
  --pool.claims;
  if (result) {
    pool.pages += claim->pages;
    pool.ready = true;
  } else if (!pool.ready) {
    pools_.erase(claim->pool);
  }
}

void World::take_setting_step(const Step& step) {
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  const VmId id(vm.who.vm);
  const bool fits = vm.claims == 0;
  if (step.act == Act::ChangeRecycling) {
    const RecycleSettings settings = recycling(step.b);
    expect(fits, manager_->change_settings(id, settings).has_value(), "a change of settings");
    if (!fits) return;
    vm.allowed = settings;
    // What is not kept for it any more, others may take before it is back.
    if (!vm.keeps()) vm.before.reset();
    if (!settings.force_new_memory) vm.old.reset();
  } else if (step.act == Act::ChangeScrubs) {
    const ScrubSettings settings = scrubs(step.b);
    expect(fits, manager_->change_scrub_settings(id, settings).has_value(), "a change of scrubs");
    if (fits) vm.scrub = settings;
  } else if (step.act == Act::SwitchRecycling) {
    const bool on = step.b % 2 == 0;
    expect(fits, manager_->switch_recycling(id, {.enable = on, .recycle_on_reboot = {}}).has_value(), "a VM's own say");
    if (!fits) return;
    vm.recycles = on;
    if (!vm.keeps()) vm.before.reset();
  } else {
    const Placement wish = placement(step.b);
    const bool possible = fits && layout_.has(vm.kind, wish.node);
    expect(possible, manager_->change_placement(id, wish).has_value(), "a change of placement");
    if (possible) vm.placement = wish;
  }
}

}  // namespace sluice::world
