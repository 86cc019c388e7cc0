// SPDX-License-Identifier: Apache-2.0
// The comparison of everything.
#include "world.hpp"

namespace sluice::world {

/// What can be compared after every step.
void World::check_step() {
  if (!called_) return;
  follow_rules();
  look_for_losses();
  check(engine_->misuse().empty(), "{}", engine_->misuse());
  check_sums();
  for (const auto& [number, test] : tests_) {
    for (std::size_t page = 0; page < kPages; ++page) {
      if (test.suspect[page]) order_.forget(page);
    }
  }
  const bool compares = !reentered_ && !stopped_;
  if (const auto wrong = order_.look(manager_->extents(), static_cast<std::uint32_t>(steps_), compares))
    check(false, "{}", *wrong);
}

void World::check_sums() {
  const ExtentTable& table = manager_->extents();
  ByteCount sum;
  for (std::size_t state = 0; state < kExtentStates; ++state) sum += table.bytes(static_cast<ExtentState>(state));
  check(sum.value() == layout_.offset(kPages), "the states do not add up to the pool");
  if (!claims_.empty()) return;
  check(table.bytes(ExtentState::Owned) == held_, "not all that VMs hold is Owned, or more is");
}

void World::check_everything() {
  const ExtentTable& table = manager_->extents();
  std::size_t at = 0;
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    check(extent->offset() == layout_.offset(at), "extents leave a gap or overlap");
    check_extent(*extent);
    at = end_page(*extent);
  }
  check(at == kPages, "extents do not cover the pool");
  check_jobs();
  check_pools();
  check_suspects();
  check_tests();
  for (const auto& [id, vm] : vms_) check_available(vm);
}

void World::check_extent(const Extent& extent) {
  const ExtentTable& table = manager_->extents();
  const ExtentState state = extent.state();
  for (std::size_t page = first_page(extent); page < end_page(extent); ++page) {
    if (state == ExtentState::Clean) {
      check(memory_.holds_only(page, table.pattern(extent)), "page {} is Clean and is not", page);
      may_be_lost_.reset(page);
    }
    check(state != ExtentState::Quarantined || may_be_lost_[page], "page {} is in quarantine and did not fail", page);
    if (holder_[page] != 0) {
      check(state == ExtentState::Owned && table.holder(extent).value() == holder_[page],
            "page {} is VM {}'s, and the table does not know", page, holder_[page]);
    } else if (claims_.empty()) {
      check(state != ExtentState::Owned, "page {} is nobody's, and the table says VM {}'s", page,
            table.holder(extent).value());
    }
  }
}

/// It knows for whom memory is suspect, wherever that has gone meanwhile.
void World::check_suspects() {
  const ExtentTable& table = manager_->extents();
  for (std::size_t page = 0; page < kPages; ++page) {
    const Extent* const extent = table.find(base_ + layout_.offset(page));
    check(!suspect_to_all_[page] || table.is_suspect(*extent, {}), "page {} is not suspect any more", page);
    for (const auto& [id, vm] : vms_) {
      check(!vm.suspect[page] || table.is_suspect(*extent, VmId(id)), "page {} is not suspect for VM {} any more", page,
            id);
    }
  }
}

/// The manager knows of everything that the engine writes.
void World::check_jobs() {
  for (const WorldEngine::Job& job : engine_->jobs()) {
    const Extent* const extent = manager_->extents().find(base_ + layout_.offset(job.first_page));
    const ExtentState state = extent->state();
    const bool lost = (stopped_ || engine_->lied()) && state == ExtentState::Quarantined;
    const bool works = (state == ExtentState::Scrubbing || state == ExtentState::Cancelling) &&
                       job.first_page + job.pages <= end_page(*extent);
    check(lost || works, "the engine writes page {}, and the table does not know", job.first_page);
  }
}

void World::check_pools() {
  for (const auto& [id, pool] : pools_) {
    if (!pool.ready || pool.claims > 0) continue;
    const auto facts = manager_->dedicated_pool(DedicatedPoolId(id));
    check(facts && facts->ready, "pool {} is not there", id);
    if (!facts) continue;
    const std::size_t pages = pool_pages(id);
    check(pages == pool.pages, "pool {} has {} pages, not {}", id, pages, pool.pages);
    check(facts->rule == pool.rule, "pool {} has another rule", id);
    check(facts->shares == pool.shares, "pool {} is shared, or is not any more", id);
    check(facts->placement.unit == page_length(pool.kind), "pool {} has pages of another length", id);
  }
}

/// Whether a claim could be given free memory of this lineage, clean, scrubbed or as it is.
bool World::reaches(const Claim& claim, const Lineage& lineage) const {
  const bool own_too = claim.vm != 0;
  const Placement& placement = own_too ? vms_.at(claim.vm).placement : pools_.at(claim.pool).placement;
  const PageKind kind = own_too ? vms_.at(claim.vm).kind : pools_.at(claim.pool).kind;
  const Zone& zone = manager_->extents().zones()[lineage.zone];
  if (zone.unit != page_length(kind) || (placement.only_node && zone.node != *placement.node)) return false;
  if (manager_->extents().is_suspect(lineage.suspect, VmId(claim.vm))) return false;
  return !lineage.pool.is_set() || (own_too && lineage.pool.value() == vms_.at(claim.vm).who.pool);
}

ByteCount World::suspect_for(const Claim& claim) const {
  return manager_->suspect_bytes() + (claim.vm != 0 ? manager_->suspect_bytes(VmId(claim.vm)) : ByteCount(0));
}

/// Whether two claims could be given the same free memory.
bool World::same_reach(const Claim& one, const Claim& other) const {
  if (suspect_for(one) != ByteCount(0) || suspect_for(other) != ByteCount(0)) return false;
  for (const auto& [id, pool] : pools_) {
    for (std::uint32_t zone = 0; zone < manager_->extents().zones().size(); ++zone) {
      const Lineage lineage{.pool = DedicatedPoolId(id), .zone = zone};
      if (reaches(one, lineage) != reaches(other, lineage)) return false;
    }
  }
  for (std::uint32_t zone = 0; zone < manager_->extents().zones().size(); ++zone) {
    const Lineage lineage{.zone = zone};
    if (reaches(one, lineage) != reaches(other, lineage)) return false;
  }
  return true;
}

/// The sums behind available_to(), added up anew.
void World::check_available(const Vm& vm) {
  const ExtentTable& table = manager_->extents();
  Claim claim;
  claim.vm = vm.who.vm;
  ByteCount sum;
  ByteCount perhaps;  // lent, or scrubbed before it gets its own
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    if (extent->is_claimed()) continue;
    const ExtentState state = extent->state();
    const Lineage& lineage = table.lineage(*extent);
    const bool own = state == ExtentState::Reserved && table.holder(*extent).value() == vm.who.vm;
    if (own) {
      Lineage anybodys = lineage;  // what is kept for it is its own in whichever pool
      anybodys.pool = {};
      if (reaches(claim, anybodys)) (vm.recycles_on_reboot() ? sum : perhaps) += extent->length();
    } else if (state == ExtentState::Reserved) {
      const auto other = vms_.find(table.holder(*extent).value());
      const bool is_lent = other != vms_.end() && lends(other->second);
      if (is_lent && reaches(claim, lineage)) perhaps += extent->length();
    } else if (state == ExtentState::Clean || state == ExtentState::Dirty || state == ExtentState::Scrubbing) {
      if (reaches(claim, lineage)) sum += extent->length();
    }
  }
  const ByteCount available = manager_->available_to(VmId(vm.who.vm));
  check(available >= sum && available <= sum + perhaps, "VM {} could have {} bytes, and available_to() says {}",
        vm.who.vm, sum.value(), available.value());
}

/// After a poll nothing is free that a claim waits for: all that is claimed together must be enough for all who could
/// use what is free.
void World::check_nobody_waits_beside_free_memory() {
  if (claims_.empty() || engine_->dead() || engine_->lied() || stopped_) return;
  const ExtentTable& table = manager_->extents();
  ByteCount claimed;
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    const bool is_tested = under_test()[first_page(*extent)];
    if (extent->is_claimed() && !is_tested) claimed += extent->length();
  }
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    const ExtentState state = extent->state();
    const bool free = state == ExtentState::Clean || state == ExtentState::Dirty || state == ExtentState::Scrubbing;
    if (extent->is_claimed() || !free) continue;
    ByteCount needed;
    for (const auto& [number, claim] : claims_) {
      if (reaches(claim, table.lineage(*extent))) needed += wanted(claim);
    }
    check(needed <= claimed, "page {} is free, and {} bytes of claims have {}", first_page(*extent), needed.value(),
          claimed.value());
  }
}

/// Everything that runs comes to its end: no claim waits for ever.
void World::end() {
  reentered_ = true;  // many things happen at once
  engine_->set_busy(false);
  const auto later = [&] {
    const auto next = manager_->next_scheduled();
    return next && *next - time_ < std::chrono::hours(1000);
  };
  for (int round = 0; round < 10'000 && (manager_->has_work() || later()); ++round) {
    poll();
    while (!stopped_ && !engine_->lied() && !engine_->jobs().empty()) {
      engine_->end(0, engine_->jobs()[0].cancel_requested ? Outcome::Cancelled : Outcome::Zeroed, 0);
    }
    const auto next = manager_->next_scheduled();
    time_ += std::chrono::seconds(10);
    if (next && *next > time_ && claims_.empty() && later()) time_ = *next;
    look_for_losses();
  }
  poll();
  check(claims_.empty(), "{} claims never ended", claims_.size());
  check(tests_.empty(), "{} tests never ended", tests_.size());
  check(!manager_->has_work(), "there is work left and nothing happens");
  check_rules_at_rest();
  check_sums();
  check_everything();
  check_what_is_left();
  for (std::size_t page = 0; page < kPages; ++page) {
    const Extent* const extent = manager_->extents().find(base_ + layout_.offset(page));
    check(!memory_.bad(page) || extent->state() == ExtentState::Quarantined, "page {} is bad, and in use", page);
  }
}

}  // namespace sluice::world
