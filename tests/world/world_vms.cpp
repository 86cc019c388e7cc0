// SPDX-License-Identifier: Apache-2.0
// The life of VMs: what they ask for and give back.
#include "world.hpp"

namespace sluice::world {

void World::take_vm_step(const Step& step) {
  switch (step.act) {
    case Act::CreateVm:
      create_vm(step);
      return;
    case Act::Allocate:
      allocate(step, false);
      return;
    case Act::FinishReboot:
      allocate(step, true);
      return;
    case Act::Release:
      release(step);
      return;
    case Act::BeginReboot:
      begin_reboot(step);
      return;
    case Act::Terminate:
      terminate(step);
      return;
    default:
      break;
  }
  auto* const claim = pick(claims_, step.a);
  if (claim != nullptr) claim->second.abandoned |= manager_->abandon(claim->second.id);
}

RecycleSettings World::recycling(std::uint32_t bits) {
  RecycleSettings settings;
  settings.enable = bits % 8 != 0;
  settings.recycle_on_reboot = bits / 8 % 4 != 0;
  settings.recycle_within_vm = bits / 32 % 4 != 0;
  settings.recycle_within_dedicated_pool = bits / 128 % 4 != 0;
  settings.recycle_within_trust_group = bits / 512 % 4 != 0;
  settings.force_new_memory = bits / 2048 % 8 == 0;
  settings.retain_memory = bits / 16'384 % 2 == 0;
  settings.grow_pool_on_reboot = bits / 32'768 % 4 == 0;
  settings.lend_reserved_memory = bits / 131'072 % 4 == 0;
  if (bits / 524'288 % 2 == 0) settings.reservation = std::chrono::milliseconds((bits / 1'048'576 % 1024) / 2);
  return settings;
}

ScrubSettings World::scrubs(std::uint32_t bits) {
  ScrubSettings settings;
  settings.timing = bits % 2 == 0 ? ScrubTiming::AfterRelease : static_cast<ScrubTiming>(bits / 2 % 4);
  settings.delay = std::chrono::milliseconds(bits / 8 % 64);
  if (bits / 8 % 64 == 63) settings.delay = std::chrono::nanoseconds::max() - std::chrono::nanoseconds(bits / 8192 % 2);
  settings.method = bits / 512 % 2 == 0 ? FillMethod::Zeros : static_cast<FillMethod>(bits / 1024 % 4);
  settings.pattern = bits / 4096 % 3;
  return settings;
}

/// Nodes that the host has, and some that it has not.
Placement World::placement(std::uint32_t bits) const {
  Placement placement;
  if (bits % 2 == 0) {
    placement.node = bits / 2 % 16 == 0 ? 7 : layout_.part_of(bits / 32 % kPages).node;
    placement.only_node = bits / 8192 % 2 == 0;
  }
  if (bits / 16'384 % 4 == 0) placement.contiguous = ByteCount(4096 * (1 + bits / 65'536 % 8));
  return placement;
}

VmProfile World::profile(const Vm& vm) const {
  return {VmId(vm.who.vm),
          CustomerId(vm.who.customer),
          DedicatedPoolId(vm.who.pool),
          TrustGroupId(vm.who.group),
          vm.allowed,
          vm.scrub,
          vm.placement,
          vm.may_say};
}

void World::create_vm(const Step& step) {
  if (vms_.size() >= 14) return;
  Vm vm;
  vm.who = {next_id_++, customer(step.a), 0, 0, 0};
  vm.allowed = step.b % 2 == 0 ? RecycleSettings{} : recycling(step.b / 2);
  vm.scrub = step.c % 2 == 0 ? ScrubSettings{} : scrubs(step.c / 2);
  if (auto* const group = pick(groups_, step.b); group != nullptr && step.a % 4 != 0) {
    if (group->second.customer == vm.who.customer) vm.who.group = group->first;
  }
  if (step.a / 1024 % 4 == 0) vm.may_say = {false, true};
  if (step.a / 1024 % 4 == 1) vm.may_say = {true, {}};
  if (step.a / 16 % 4 == 0) vm.placement = placement(step.b / 64);
  if (step.a / 64 % (layout_.has_huge() ? 3 : 32) == 0) vm.kind = PageKind::Huge2MiB;
  layout_.ask_for(vm.kind, vm.placement);
  if (auto* const pool = pick(pools_, step.c); pool != nullptr && step.a % 16 < 8) {
    if (pool->second.customer == vm.who.customer && pool->second.ready) {
      vm.who.pool = pool->first;
      vm.kind = pool->second.kind;
      vm.placement.pages.reset();
      vm.placement.unit.reset();
    }
  }
  const bool fits = layout_.has(vm.kind, vm.placement.node);
  expect(fits, manager_->create_vm(profile(vm)).has_value(), "creating a VM");
  if (fits) vms_.emplace(vm.who.vm, vm);
}

/// What claims of its group hold of its reserved memory, and were not granted yet.
World::Pages World::lent_to_claims(const Vm& vm) const {
  Pages lent;
  if (!vm.allowed.lend_reserved_memory) return lent;
  for (std::size_t page = 0; page < kPages; ++page) {
    lent[page] = vm.before[page] && manager_->extents().find(base_ + layout_.offset(page))->is_claimed();
  }
  return lent;
}

/// Claims of any length, and some that take exactly what there is, or a page more.
void World::allocate(const Step& step, bool reboot) {
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  const auto available = manager_->available_to(VmId(vm.who.vm)).value() / page_length(vm.kind).value();
  std::size_t pages = 1 + step.b % (step.c % 8 == 0 ? kPages : 24);
  if (step.c % 16 == 1) pages = std::max<std::size_t>(available, 1);
  if (step.c % 16 == 3) pages = available + 1;
  Claim next;
  next.vm = vm.who.vm;
  next.pages = pages;
  next.reboot = reboot;
  if (reboot && !reservation_is_over(vm)) {
    next.before = vm.before & ~lent_to_claims(vm) & ~suspect_to_all_ & ~vm.suspect;  // as they are now
  }
  next.then = {Act::Poll, step.c / 16, step.b / 256, step.a};
  ByteCount promised;
  for (const auto& [other, earlier] : claims_) promised += wanted(earlier);
  next.had_room = length(pages, vm.kind) + promised <= length(available, vm.kind);
  const bool alone = claims_.empty() && !has_rules() && !stopped_ && !engine_->dead() && !engine_->lied();
  const bool comes_back = manager_->extents().bytes(ExtentState::Cancelling) > ByteCount(0) || !tests_.empty();
  if (reboot && vm.allowed.lend_reserved_memory) rules_change();
  const std::uint64_t number = next_claim_;
  const auto handler = [this, number](const Result<sluice::Grant>& result) { notified(number, result); };
  note_claim(number, next);
  const ByteCount bytes = length(pages, vm.kind);
  const auto claim = reboot ? manager_->finish_reboot(VmId(vm.who.vm), bytes, handler)
                            : manager_->allocate(VmId(vm.who.vm), bytes, handler);
  const bool fits = reboot ? vm.down && vm.claims == 0 : !vm.down;
  if (!claim) {
    claims_.erase(number);
    const auto code = claim.error().code;
    if (!fits) return;
    check(code == (stopped_ ? HostErrc::ScrubUnavailable : HostErrc::OutOfMemory), "a claim was refused: {}",
          claim.error().message);
    check(!alone || pages > available, "a claim of {} pages was refused, and there are {}", pages, available);
    return;
  }
  check(fits, "a claim went through that does not fit what the VM is doing");
  check(!stopped_, "a claim went through after the stop");
  check(!alone || comes_back || pages <= available, "a claim of {} pages went through, and there are {}", pages,
        available);
  claims_.at(number).id = *claim;
  ++vm.claims;
  if (!reboot) return;
  vm.down = false;
  vm.before.reset();
}

/// What there is when a claim comes.
void World::note_claim(std::uint64_t number, Claim claim) {
  ++next_claim_;
  claim.step = steps_;
  claim.jobs = engine_->taken();
  claim.losses = known_losses_;
  claim.changes = changes_;
  claim.minimum = shared_minimum_.value();
  const bool alone = claims_.empty();
  const ExtentTable& table = manager_->extents();
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    const bool busy = extent->state() == ExtentState::Scrubbing;
    const bool kept = extent->state() == ExtentState::Reserved && table.holder(*extent).value() == claim.vm;
    const bool free = busy || extent->state() == ExtentState::Clean || extent->state() == ExtentState::Dirty;
    const Lineage& lineage = table.lineage(*extent);
    const bool own = alone && free && !extent->is_claimed() && lineage.pool.is_set() && reaches(claim, lineage);
    if (!busy && !kept && !own) continue;
    for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) {
      if (busy) claim.busy.set(page);
      if (kept) claim.kept.set(page);
      if (own) claim.pool_free.set(page);
    }
  }
  // A job that has failed in part ends when all of it has ended.
  if ((claim.busy & may_be_lost_).any()) claim.losses = ~0ULL;
  for (auto& [other, earlier] : claims_) {
    if (same_reach(earlier, claim)) continue;
    earlier.has_rivals = claim.has_rivals = true;
  }
  claims_[number] = claim;
}

void World::let_go_of(Vm& vm, std::size_t page) {
  if (!vm.pages[page]) return;
  vm.pages.reset(page);
  holder_[page] = 0;
  held_ -= ByteCount(layout_.bytes(page, 1));
}

void World::let_go_of_all(Vm& vm) {
  for (std::size_t page = 0; page < kPages; ++page) let_go_of(vm, page);
}

/// Of its own memory, or of any memory.
void World::release(const Step& step) {
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  const bool any = step.c / 16 % 8 == 0;
  std::size_t at = step.b % kPages;
  const std::size_t most = 1 + step.c % 16;
  while (!any && at < kPages && !vm.pages[at]) ++at;
  std::size_t pages = 0;
  while (at + pages < kPages && pages < most && (any || vm.pages[at + pages])) ++pages;
  if (pages == 0) return;
  bool own = true;
  bool others = false;
  for (std::size_t page = at; page < at + pages; ++page) {
    own = own && vm.pages[page];
    others = others || (holder_[page] != 0 && holder_[page] != vm.who.vm);
  }
  // It may hold what its handler was not called with yet.
  if (!own && !others && vm.claims > 0) return;
  const bool fits = own && !vm.down;
  expect(fits, manager_->release(VmId(vm.who.vm), span(at, pages)).has_value(), "a release");
  for (std::size_t page = at; fits && page < at + pages; ++page) {
    if (vm.allowed.force_new_memory) vm.suspect.set(page);
    if (memory_.pool_of(page) != vm.who.pool) memory_.gives_away_to_pool(vm.who.vm, page);
    let_go_of(vm, page);
  }
}

std::size_t World::pool_pages(Id pool) const {
  const auto facts = manager_->dedicated_pool(DedicatedPoolId(pool));
  return facts ? facts->size.value() / facts->placement.unit->value() : 0;
}

void World::begin_reboot(const Step& step) {
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  const std::size_t pool_before = pool_pages(vm.who.pool);
  expect(!vm.down && vm.claims == 0, manager_->begin_reboot(VmId(vm.who.vm)).has_value(), "a reboot");
  if (vm.down || vm.claims > 0) return;
  if (const auto pool = pools_.find(vm.who.pool); pool != pools_.end()) {
    // How much of it was the pool's before, or was retained, the model does not know.
    const std::size_t grown = pool_pages(vm.who.pool) - pool_before;
    check(grown == 0 || vm.allowed.grow_pool_on_reboot, "a pool grew by a reboot");
    check(grown == 0 || may_have(pool->second, pool_before + grown), "a reboot had pool {} grow against its rule",
          pool->first);
    check(grown == 0 || shared_bytes() >= shared_minimum_, "a reboot left the shared pool {} bytes, not {}",
          shared_bytes().value(), shared_minimum_.value());
    pool->second.pages += grown;
  }
  vm.down = true;
  vm.down_since = time_;
  ++vm.who.boot;
  if (vm.allowed.force_new_memory) vm.suspect |= vm.pages;
  vm.before = vm.keeps() ? vm.pages : Pages();
  let_go_of_all(vm);
  look_at_pools(vm.who.vm);
}

void World::terminate(const Step& step) {
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  expect(vm.claims == 0, manager_->terminate(VmId(vm.who.vm)).has_value(), "an end");
  if (vm.claims > 0) return;
  let_go_of_all(vm);
  vms_.erase(found->first);
}

}  // namespace sluice::world
