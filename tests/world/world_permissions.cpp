// SPDX-License-Identifier: Apache-2.0
// What a VM may have, by the rules as they are when it gets it.
#include <algorithm>

#include "world.hpp"

namespace sluice::world {

MemoryModel::Reader World::reader(const Vm& vm) const {
  const bool on = vm.recycles();
  const auto pool = pools_.find(vm.who.pool);
  return {vm.who,
          vm.recycles_on_reboot(),
          on && vm.allowed.recycle_within_vm,
          on && vm.allowed.recycle_within_dedicated_pool,
          on && vm.allowed.recycle_within_trust_group,
          pool != pools_.end() && pool->second.shares};
}

bool World::reservation_is_over(const Vm& vm) const {
  const auto reservation = vm.allowed.reservation;
  return vm.down && reservation.count() > 0 && time_ - vm.down_since >= reservation;
}

/// Before its reservation begins anew or changes: what was not kept for it any more does not come back to it so.
void World::forget_if_over(Vm& vm) const {
  if (reservation_is_over(vm)) vm.before.reset();
}

bool World::lends(const Vm& vm) { return vm.allowed.lend_reserved_memory; }

/// What was reserved for another VM is lent, as it is, or the other VM was away for too long.
void World::check_reserved(const Vm& vm, std::size_t page) {
  for (auto& [id, other] : vms_) {
    if (id == vm.who.vm || !other.before[page]) continue;
    const bool over = reservation_is_over(other);
    check(over || (lends(other) && memory_.is_written(page)), "page {} was reserved for VM {}, and VM {} got it", page,
          id, vm.who.vm);
    other.before.reset(page);
  }
}

/// Memory that a VM was granted, as it finds it.
void World::check_may_have(const Vm& vm, std::size_t page) {
  if (const auto why = memory_.forbidden(page, reader(vm))) check(false, "page {}: {}", page, *why);
  check(!suspect_to_all_[page], "page {} is suspect, and VM {} got it", page, vm.who.vm);
  check(!vm.suspect[page], "page {} is suspect for VM {}, which got it", page, vm.who.vm);
  check_reserved(vm, page);
  memory_.returns(page, vm.who.vm);
}

/// The rules are about to change. What has been granted already was right or wrong by the rules as they are.
void World::rules_change() {
  ++changes_;
  look_at_grants();
}

void World::look_at_grants() {
  const ExtentTable& table = manager_->extents();
  for (auto& [id, vm] : vms_) {
    if (vm.claims == 0) continue;
    const Domain holder = Domain::holder(VmId(id));
    for (auto index = table.next_lineage(holder); index; index = table.next_lineage(holder, index)) {
      for (Extent* extent = table.first(*index, ExtentState::Owned); extent != nullptr; extent = table.next(*extent)) {
        for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) {
          if (vm.pages[page] || vm.seen[page]) continue;
          memory_.belongs(page, table.lineage(*extent).pool.value(), id);
          check_may_have(vm, page);
          vm.seen.set(page);
        }
      }
    }
  }
}

/// Why it says that memory was recycled.
void World::check_permission(const Vm& vm, const GrantedRange& range) {
  const MemoryModel::Reader may = reader(vm);
  bool permitted = may.within_group;
  if (range.reason == Reason::SameVmAfterReboot) permitted = may.after_reboot && vm.who.boot > 0;
  if (range.reason == Reason::SameVm) permitted = may.within_vm;
  if (range.reason == Reason::DedicatedPool) permitted = may.within_pool;
  check(permitted, "memory was recycled ({}) against the VM's settings", to_string(range.reason));
}

/// A VM takes nothing of the shared pool, but what was kept for it, before its own pool is used up.
void World::check_own_pool_first(const Claim& claim, const Vm& vm, const sluice::Grant& grant) {
  if (claim.pool_free.none() || claim.losses != losses_ || claim.changes != changes_) return;
  bool shared = false;
  for (const GrantedRange& range : grant.ranges) {
    const std::size_t end = page_of(range.memory.data() + range.memory.size());
    for (std::size_t page = page_of(range.memory.data()); page < end; ++page) {
      shared = shared || (memory_.pool_of(page) == 0 && !claim.kept[page]);
    }
  }
  const Pages left = claim.pool_free & ~vm.pages & ~may_be_lost_;
  check(!shared || left.none(), "VM {} got shared memory, and {} pages of its pool were free", vm.who.vm, left.count());
}

/// What was kept for a VM during a reboot, it gets before anything else.
void World::check_own_memory_first(const Claim& claim, const Vm& vm, std::size_t recycled) {
  if (!claim.reboot || !vm.keeps() || vm.placement.only_node) return;
  const std::size_t own = (claim.before & ~may_be_lost_ & ~suspect_to_all_ & ~vm.suspect).count();
  check(recycled >= std::min(own, claim.pages), "VM {} held {} pages before a reboot and got {} of {} as they were",
        vm.who.vm, own, recycled, claim.pages);
}

/// At the end of a story: what VMs left for good in a pool that they did not share was scrubbed, and memory is not
/// reserved for ever for those who do not come back.
void World::check_what_is_left() {
  if (stopped_ || engine_->dead() || engine_->lied()) return;
  const ExtentTable& table = manager_->extents();
  const auto is_gone = [&](Id id, Id pool) {
    const auto vm = vms_.find(id);
    return vm == vms_.end() || vm->second.who.pool != pool;
  };
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    const Lineage& lineage = table.lineage(*extent);
    if (extent->state() == ExtentState::Reserved) {
      const auto vm = vms_.find(table.holder(*extent).value());
      check(vm != vms_.end() && !reservation_is_over(vm->second), "page {} is reserved, and nobody comes",
            first_page(*extent));
    }
    const auto pool = pools_.find(lineage.pool.value());
    const bool scrubs = config_.background && config_.clean_target == ScrubberConfig{}.clean_target;
    if (!scrubs || extent->state() != ExtentState::Dirty || pool == pools_.end() || pool->second.shares) continue;
    if (lineage.delay > std::chrono::hours(500)) continue;
    for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) {
      check(!memory_.is_left_for_good(page, is_gone), "page {} was left in pool {} and is dirty", page,
            lineage.pool.value());
    }
  }
}

}  // namespace sluice::world
