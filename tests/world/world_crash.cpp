// SPDX-License-Identifier: Apache-2.0
// The end of a process that is killed, and how the next one goes on.
#include <algorithm>
#include <set>

#include "world.hpp"

namespace sluice::world {

/// The process is killed, and a new one goes on.
void World::crash(const Step& step) {
  if (polling_ > 0) return;
  look_at_grants();
  look_at_pools();
  for (auto& [id, vm] : vms_) forget_if_over(vm);
  Pages quarantined;
  for (std::size_t page = 0; page < kPages; ++page) {
    quarantined[page] = manager_->extents().find(base_ + layout_.offset(page))->state() == ExtentState::Quarantined;
  }
  engine_->stop_at(step.b);
  ending_ = true;  // handlers are called as when a manager is destroyed
  manager_.reset();
  ending_ = false;
  check(claims_.empty(), "{} claims were forgotten by a manager that is gone", claims_.size());
  claims_.clear();
  check(tests_.empty(), "{} tests were forgotten by a manager that is gone", tests_.size());
  tests_.clear();
  engine_.reset();
  ledger_.reset();
  start();
  for (std::size_t page = 0; page < kPages; ++page) {
    const Extent* const extent = manager_->extents().find(base_ + layout_.offset(page));
    check(!quarantined[page] || extent->state() == ExtentState::Quarantined, "page {} left quarantine", page);
    if (!quarantined[page]) memory_.forget_bad(page);
  }
  find_pools(step);
  find_vms(step);
  look_at_pools();
  forget_writers();
  groups_.clear();
  suspect_to_all_.reset();
  shared_minimum_ = ByteCount(0);
  memory_.forget_groups();
  check_everything();
}

/// Memory of a pool stays there. Whoever wants the pool adopts it, or gives it up, or thinks about it for a while.
void World::find_pools(const Step& step) {
  std::set<DedicatedPoolId> expected;
  for (std::size_t page = 0; page < kPages; ++page) {
    const Id pool = memory_.pool_of(page);
    const Extent* const extent = manager_->extents().find(base_ + layout_.offset(page));
    const Id found = manager_->extents().lineage(*extent).pool.value();
    check(found == pool, "page {} was in pool {} and is in pool {} after a crash", page, pool, found);
    if (pool != 0) expected.insert(DedicatedPoolId(pool));
  }
  const auto found = manager_->unadopted_pools();
  check(std::equal(found.begin(), found.end(), expected.begin(), expected.end()),
        "{} pools were found after a crash, not {}", found.size(), expected.size());
  strays_.merge(std::exchange(pools_, {}));
  std::erase_if(strays_, [&](const auto& entry) { return !expected.contains(DedicatedPoolId(entry.first)); });
  for (const DedicatedPoolId pool : expected) {
    if (const std::uint32_t choice = step.c / (1 + static_cast<std::uint32_t>(pool.value()) % 16) % 8; choice > 0) {
      settle_stray(pool.value(), choice > 1);
    }
  }
}

/// A pool that was found is adopted, or given up.
void World::settle_stray(Id id, bool adopts) {
  const DedicatedPoolId pool(id);
  Pool facts = strays_.at(id);
  const bool was_whole = facts.ready && facts.claims == 0;
  facts.claims = 0;
  facts.ready = true;
  if (!adopts) {
    expect(true, manager_->destroy_dedicated_pool(pool).has_value(), "the end of a pool that was found");
    strays_.erase(id);
    return;
  }
  const auto adopt_with = [&](PageKind kind) {
    PoolOptions options{.placement = facts.placement, .shares = facts.shares, .rule = facts.rule};
    options.placement.pages.reset();
    options.placement.unit = page_length(kind);
    return manager_->adopt_dedicated_pool(pool, CustomerId(facts.customer), options);
  };
  const auto refused = adopt_with(facts.kind == PageKind::Small ? PageKind::Huge2MiB : PageKind::Small);
  check(!refused && refused.error().code == HostErrc::InvalidArgument, "a pool was adopted with other pages");
  const auto adopted = adopt_with(facts.kind);
  check(adopted.has_value(), "{}", adopted ? "" : adopted.error().message);
  check(!was_whole || facts.pages == pool_pages(id), "pool {} had {} pages and has {} after a crash", id, facts.pages,
        pool_pages(id));
  facts.pages = pool_pages(id);
  strays_.erase(id);
  pools_[id] = facts;
}

/// Some VMs live, others have died.
void World::find_vms(const Step& step) {
  for (auto vm = vms_.begin(); vm != vms_.end();) {
    vm->second.claims = 0;
    const auto lost = manager_->unadopted();
    const bool holds = std::find(lost.begin(), lost.end(), VmId(vm->first)) != lost.end();
    if (!holds) check(vm->second.pages.none(), "VM {} lost its memory in a crash", vm->first);
    const bool lives = holds && (step.a >> vm->first % 32 & 1) == 0;
    if (lives) adopt(vm->first);
    if (holds && !lives) expect(true, manager_->terminate(VmId(vm->first)).has_value(), "the end of a lost VM");
    if (lives) {
      ++vm;
      continue;
    }
    let_go_of_all(vm->second);
    vm = vms_.erase(vm);
  }
  check(manager_->unadopted().empty(), "memory is held by a VM that does not exist");
}

/// Who wrote what nobody holds went with the process, and so did groups.
void World::forget_writers() {
  for (std::size_t page = 0; page < kPages; ++page) {
    if (holder_[page] != 0 || !memory_.is_written(page)) continue;
    // What a VM that reboots had is of a boot before, whether it is reserved or was released when the VM was adopted.
    const Extent* const extent = manager_->extents().find(base_ + layout_.offset(page));
    const auto owner = vms_.find(memory_.last_writer(page));
    const bool reserved = owner != vms_.end() && manager_->extents().owner(*extent).vm == VmId(owner->first);
    MemoryModel::Vm writer = kUnknown;
    if (reserved) {
      writer = owner->second.who;
      --writer.boot;
      writer.pool = 0;
    }
    memory_.write(page, writer, true);
    const bool released = reserved && manager_->extents().holder(*extent) != VmId(owner->first);
    if (released && memory_.pool_of(page) != owner->second.who.pool) {
      memory_.gives_away_to_pool(owner->first, page);
    }
  }
}

/// A VM goes on with all that it holds: what its handlers were called with, and what they were not called with any
/// more.
void World::adopt(Id id) {
  Vm& vm = vms_.at(id);
  vm.who.group = 0;
  vm.say = {};
  layout_.ask_for(vm.kind, vm.placement);  // a pool's, before
  if (strays_.contains(vm.who.pool)) {
    const auto refused = manager_->adopt(profile(vm));
    check(!refused && refused.error().code == HostErrc::UnknownId, "VM {} was adopted before its pool", id);
  }
  const auto pool = pools_.find(vm.who.pool);
  if (pool == pools_.end()) vm.who.pool = 0;
  const std::size_t pool_before = pool_pages(vm.who.pool);
  const auto grant = manager_->adopt(profile(vm));
  check(grant.has_value(), "{}", grant ? "" : grant.error().message);
  if (!grant) return;
  const bool reboots = manager_->reboots(VmId(id));
  check(reboots || !vm.down, "VM {} does not reboot any more after a crash", id);
  check(!reboots || grant->ranges.empty(), "VM {} reboots and was adopted with memory", id);
  vm.down = reboots;
  // It takes along what it held, once more.
  if (const std::size_t grown = pool_pages(vm.who.pool) - pool_before; grown > 0) {
    check(reboots && vm.allowed.grow_pool_on_reboot, "a pool grew by an adoption");
    check(may_have(pool->second, pool_before + grown), "an adoption had pool {} grow against its rule", pool->first);
    pool->second.pages += grown;
    look_at_pools(id);
  }
  if (reboots) {
    vm.down_since = time_;
    ++vm.who.boot;
  }
  Pages left = vm.pages;
  for (const GrantedRange& range : grant->ranges) {
    const std::size_t end = page_of(range.memory.data() + range.memory.size());
    for (std::size_t page = page_of(range.memory.data()); page < end; ++page) {
      left.reset(page);
      if (vm.pages[page]) continue;
      check(holder_[page] == 0 && !memory_.bad(page), "page {} was adopted by another VM", page);
      holder_[page] = id;
      vm.pages.set(page);
      held_ += ByteCount(layout_.bytes(page, 1));
      for (auto& [other, lender] : vms_) lender.before.reset(page);
    }
  }
  check(left.none(), "VM {} lost memory in a crash", id);
  // In which boot it wrote there, and who else, nobody knows any more.
  if (!reboots || !vm.keeps()) vm.before.reset();
  MemoryModel::Vm writer = vm.who;
  writer.pool = 0;
  for (std::size_t page = 0; page < kPages; ++page) {
    if (vm.pages[page]) memory_.write(page, writer, true);
  }
  vm.suspect.reset();
  vm.seen.reset();
}

}  // namespace sluice::world
