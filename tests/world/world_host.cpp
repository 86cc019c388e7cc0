// SPDX-License-Identifier: Apache-2.0
// Groups, pools, settings, the engine, crashes, and the comparison of everything.
#include <fmt/format.h>

#include <algorithm>

#include "world.hpp"

namespace sluice::world {

void World::take_group_step(const Step& step) {
  if (step.act == Act::CreateGroup) {
    if (groups_.size() >= 6) return;
    const Id id = next_id_++;
    const Id customer = 1 + step.a % 3;
    Id inside = 0;
    if (auto* const larger = pick(groups_, step.b); larger != nullptr && step.c % 2 == 0) inside = larger->first;
    const bool fits = inside == 0 || (groups_[inside].customer == customer && groups_[inside].inside == 0);
    expect(fits, manager_->create_trust_group(TrustGroupId(id), CustomerId(customer), TrustGroupId(inside)).has_value(),
           "creating a group");
    if (!fits) return;
    groups_[id] = {customer, inside, true};
    memory_.create_group(id, customer, inside);
    return;
  }
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

void World::take_pool_step(const Step& step) {
  const std::size_t pages = 1 + step.b % 24;
  const ByteCount length(pages * 4096);
  const std::uint64_t number = next_claim_++;
  const auto handler = [this, number](const Result<void>& result) { pool_told(number, result); };
  const auto wait_for = [&](Id id, const Result<ClaimId>& claim) {
    if (!claim) {
      check(claim.error().code == HostErrc::OutOfMemory, "a pool was refused: {}", claim.error().message);
      return;
    }
    claims_[number] = {0, id, pages, false, false, steps_, {}, {}};
    claim_ids_[number] = *claim;
    ++pools_[id].claims;
  };
  if (step.act == Act::CreatePool) {
    if (pools_.size() >= 4) return;
    const Id id = next_id_++;
    const Id customer = 1 + step.a % 3;
    const auto claim = manager_->create_dedicated_pool(DedicatedPoolId(id), CustomerId(customer), length, handler);
    if (claim) pools_[id] = {customer, 0, false, 0};
    wait_for(id, claim);
    return;
  }
  auto* const found = pick(pools_, step.a);
  if (found == nullptr || !found->second.ready) return;
  const DedicatedPoolId pool(found->first);
  Pool& facts = found->second;
  const auto used = [&](Id id) {
    bool busy = pools_.at(id).claims > 0;
    for (const auto& [other, vm] : vms_) busy = busy || vm.who.pool == id;
    return busy;
  };
  if (step.act == Act::GrowPool) {
    wait_for(found->first, manager_->grow_dedicated_pool(pool, length, handler));
  } else if (step.act == Act::ShrinkPool) {
    if (manager_->shrink_dedicated_pool(pool, length)) facts.pages -= pages;
  } else if (step.act == Act::PartitionPool) {
    const Id part = next_id_++;
    if (!manager_->partition_dedicated_pool(pool, DedicatedPoolId(part), length)) return;
    facts.pages -= pages;
    pools_[part] = {facts.customer, pages, true, 0};
  } else if (step.act == Act::MergePools) {
    auto* const other = pick(pools_, step.c);
    if (!other->second.ready) return;
    const bool fits = other != found && other->second.customer == facts.customer && !used(other->first);
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

void World::pool_told(std::uint64_t number, const Result<void>& result) {
  if (ending_) return;
  check(polling_, "a handler was called outside of a poll");
  const auto found = claims_.find(number);
  if (found == claims_.end()) {
    check(false, "a claim ended twice");
    return;
  }
  const Claim claim = found->second;
  forget_claim(number);
  Pool& pool = pools_.at(claim.pool);
  --pool.claims;
  if (result) {
    check(!claim.abandoned, "an abandoned claim was granted");
    pool.pages += claim.pages;
    pool.ready = true;
  } else if (!pool.ready) {
    pools_.erase(claim.pool);
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
    if (!settings.new_memory_after_reboot) vm.old.reset();
  } else if (step.act == Act::ChangeScrubs) {
    const ScrubSettings settings = scrubs(step.b);
    expect(fits, manager_->change_scrub_settings(id, settings).has_value(), "a change of scrubs");
    if (fits) vm.scrub = settings;
  } else if (step.act == Act::SwitchRecycling) {
    const bool on = step.b % 2 == 0;
    expect(fits, manager_->switch_recycling(id, on).has_value(), "a VM's own say");
    if (!fits) return;
    vm.recycles = on;
    if (!vm.keeps()) vm.before.reset();
  } else {
    Placement placement;
    if (step.b % 2 == 0) placement = {.node = step.b / 2 % 2, .only_node = step.b / 4 % 2 == 0};
    if (step.b / 8 % 2 == 0) placement.contiguous = ByteCount(4096 * (1 + step.b / 16 % 8));
    expect(fits, manager_->change_placement(id, placement).has_value(), "a change of placement");
    if (fits) vm.placement = placement;
  }
}

void World::poll() {
  polling_ = true;
  manager_->poll();
  polling_ = false;
}

void World::take_engine_step(const Step& step) {
  const std::size_t jobs = engine_->jobs().size();
  switch (step.act) {
    case Act::Poll:
      poll();
      return;
    case Act::EndJob:
      if (jobs > 0) {
        const WorldEngine::Job& job = engine_->jobs()[step.a % jobs];
        const bool cancelled = job.cancel_requested && step.b % 4 != 0;
        engine_->end(step.a % jobs, cancelled ? Outcome::Cancelled : Outcome::Zeroed, step.c % (job.pages * 4096));
      }
      return;
    case Act::FailJob:
      if (jobs > 0 && step.b % 4 == 0) engine_->end(step.a % jobs, Outcome::Failed, step.c % 4096);
      return;
    case Act::EngineBusy:
      engine_->set_busy(step.a % 3 == 0);
      return;
    case Act::EngineDies:
      if (step.a % 8 == 0) engine_->die();
      return;
    case Act::TimePasses:
      time_ += std::chrono::microseconds(1ULL << step.a % 20);
      return;
    case Act::Crash:
      crash(step);
      return;
    default:
      return;
  }
}

/// The process is killed, and a new one goes on. Some VMs live, others have died.
void World::crash(const Step& step) {
  look_at_grants();
  engine_->stop_at(step.b);
  ending_ = true;  // a process that is killed calls nobody
  manager_.reset();
  ending_ = false;
  engine_.reset();
  ledger_.reset();
  claims_.clear();
  claim_ids_.clear();
  start();
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
    for (std::size_t page = 0; page < kPages; ++page) {
      if (!vm->second.pages[page]) continue;
      holder_[page] = 0;
      --held_pages_;
    }
    vm = vms_.erase(vm);
  }
  check(manager_->unadopted().empty(), "memory is held by a VM that does not exist");
  // Groups and pools went with the process.
  for (auto& [id, vm] : vms_) vm.who.group = vm.who.pool = 0;
  groups_.clear();
  pools_.clear();
  memory_.forget_groups();
  check_everything();
}

/// A VM goes on with all that it holds: what it was told of, and what it was not told of any more.
void World::adopt(Id id) {
  Vm& vm = vms_.at(id);
  const MemoryModel::Vm then = vm.who;
  Vm now = vm;
  now.who.group = now.who.pool = 0;
  now.recycles = true;
  const auto grant = manager_->adopt(profile(now));
  check(grant.has_value(), "{}", grant ? "" : grant.error().message);
  if (!grant) return;
  vm.recycles = true;
  vm.down = false;
  Pages left = vm.pages;
  for (const GrantedRange& range : grant->ranges) {
    const std::size_t first = page_of(range.memory.data());
    for (std::size_t page = first; page < first + range.memory.size() / 4096; ++page) {
      left.reset(page);
      if (vm.pages[page]) continue;
      check(holder_[page] == 0 && !memory_.bad(page), "page {} was adopted by another VM", page);
      if (const auto why = vm.seen[page] ? std::nullopt : memory_.forbidden(page, then))
        check(false, "page {} after a crash: {}", page, *why);
      memory_.write(page, then, false);
      holder_[page] = id;
      vm.pages.set(page);
      ++held_pages_;
    }
  }
  check(left.none(), "VM {} lost memory in a crash", id);
  vm.before.reset();
  vm.seen.reset();
}

/// What can be compared at once.
void World::check_sums() {
  const ExtentTable& table = manager_->extents();
  std::uint64_t sum = 0;
  for (std::size_t state = 0; state < kExtentStates; ++state) {
    sum += table.bytes(static_cast<ExtentState>(state)).value();
  }
  check(sum == kPages * 4096, "the states do not add up to the pool");
  if (!claims_.empty()) return;
  check(table.bytes(ExtentState::Owned).value() == held_pages_ * 4096, "not all that VMs hold is Owned, or more is");
}

void World::check_everything() {
  const ExtentTable& table = manager_->extents();
  std::size_t at = 0;
  std::size_t quarantined = 0;
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    check(extent->offset() == at * 4096, "extents leave a gap or overlap");
    const std::size_t end = at + extent->length().value() / 4096;
    for (; at < end; ++at) {
      const ExtentState state = extent->state();
      if (state == ExtentState::Clean) {
        check(memory_.holds_only(at, table.pattern(*extent)), "page {} is Clean and is not", at);
      }
      if (state == ExtentState::Quarantined) ++quarantined;
      if (holder_[at] != 0) {
        check(state == ExtentState::Owned && table.holder(*extent).value() == holder_[at],
              "page {} is VM {}'s, and the table does not know", at, holder_[at]);
      } else if (claims_.empty()) {
        check(state != ExtentState::Owned, "page {} is nobody's, and the table says VM {}'s", at,
              table.holder(*extent).value());
      }
    }
  }
  check(at == kPages, "extents do not cover the pool");
  check(quarantined <= memory_.bad_pages(), "memory is in quarantine that did not fail");
  for (const WorldEngine::Job& job : engine_->jobs()) {
    const Extent* const extent = table.find(base_ + job.first_page * 4096);
    const bool busy = extent->state() == ExtentState::Scrubbing || extent->state() == ExtentState::Cancelling;
    check(busy && extent->offset() == job.first_page * 4096 && extent->length().value() == job.pages * 4096,
          "the engine writes page {}, and the table does not know", job.first_page);
  }
  for (const auto& [id, pool] : pools_) {
    if (!pool.ready || pool.claims > 0) continue;
    const auto facts = manager_->dedicated_pool(DedicatedPoolId(id));
    check(facts && facts->ready, "pool {} is not there", id);
    if (facts) {
      check(facts->size.value() == pool.pages * 4096, "pool {} has {} pages, not {}", id, facts->size.value() / 4096,
            pool.pages);
    }
  }
}

/// Everything that runs comes to its end: no claim waits for ever.
void World::end() {
  engine_->set_busy(false);
  for (int round = 0; round < 10'000 && (manager_->has_work() || manager_->next_scheduled()); ++round) {
    poll();
    while (!engine_->jobs().empty()) {
      engine_->end(0, engine_->jobs()[0].cancel_requested ? Outcome::Cancelled : Outcome::Zeroed, 0);
    }
    time_ += std::chrono::seconds(1);
  }
  poll();
  check(claims_.empty(), "{} claims never ended", claims_.size());
  check(!manager_->has_work(), "there is work left and nothing happens");
  check_sums();
  check_everything();
}

}  // namespace sluice::world
