// SPDX-License-Identifier: Apache-2.0
// The engine, time, and the ends of a process: a stop, a crash.
#include <algorithm>

#include "world.hpp"

namespace sluice::world {

void World::take_engine_step(const Step& step) {
  const std::size_t jobs = engine_->jobs().size();
  const std::size_t which = jobs > 0 ? step.a % jobs : 0;
  switch (step.act) {
    case Act::EndJob:
      if (jobs > 0 && !stopped_) {
        const WorldEngine::Job& job = engine_->jobs()[which];
        const bool cancelled = job.cancel_requested && step.b % 4 != 0;
        engine_->end(which, cancelled ? Outcome::Cancelled : Outcome::Zeroed, step.c % engine_->bytes(job));
      }
      return;
    case Act::FailJob:
      if (jobs > 0 && step.b % 2 == 0 && !stopped_) {
        const WorldEngine::Job& job = engine_->jobs()[which];
        const std::size_t bytes = step.b / 4 % 2 == 0 ? step.c % 4096 : step.c % engine_->bytes(job);
        const std::size_t rest = engine_->bytes(job) - bytes;
        ++losses_;
        may_be_lost(job.first_page, job.pages);
        engine_->end(which, Outcome::Failed, bytes, step.b / 8 % 2 == 0 ? 0 : (step.c / 64) % (rest + 1));
      }
      return;
    case Act::EngineBusy:
      engine_->set_busy(step.a % 3 == 0);
      return;
    case Act::EngineTakesPart:
      engine_->take_at_most(step.a % 3 == 0 ? ~std::size_t{0} : 1 + step.b % 3);
      return;
    case Act::EngineRefuses:
      engine_->refuse(step.a % kPages, step.b % 4 == 0 ? 1 + step.b / 4 % 16 : 0, step.c % 2 == 0);
      return;
    case Act::EngineLies:
      if (step.a % 8 == 0) engine_->lie(static_cast<Lie>(1 + step.b % (kLies - 1)));
      return;
    case Act::EngineDies:
      if (step.a % 8 == 0 && !stopped_) {
        ++losses_;
        may_be_lost(0, kPages);
        engine_->die();
      }
      return;
    case Act::TimePasses:
      time_ += std::chrono::microseconds(1ULL << step.a % 20);
      return;
    default:
      return;
  }
}

/// All that the jobs on these pages are a part of.
void World::may_be_lost(std::size_t first, std::size_t pages) {
  const ExtentTable& table = manager_->extents();
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    const ExtentState state = extent->state();
    const bool works = state == ExtentState::Scrubbing || state == ExtentState::Cancelling;
    if (!works || end_page(*extent) <= first || first_page(*extent) >= first + pages) continue;
    for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) may_be_lost_.set(page);
  }
}

/// What an engine has refused or lied about leaves service; what exactly, is the manager's to say.
void World::look_for_losses() {
  if (!engine_->lied() && engine_->refusals() == refusals_) return;
  if (engine_->refusals() != refusals_) {
    refusals_ = engine_->refusals();
    ++losses_;
  }
  if (engine_->lied()) ++losses_;
  may_be_lost(0, kPages);
  const ExtentTable& table = manager_->extents();
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    if (extent->state() != ExtentState::Quarantined) continue;
    for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) may_be_lost_.set(page);
  }
}

/// Nothing is scrubbed or granted any more.
void World::stop() {
  if (stopped_) return;
  ++losses_;
  const ExtentTable& table = manager_->extents();
  const ByteCount busy = table.bytes(ExtentState::Scrubbing) + table.bytes(ExtentState::Cancelling);
  const ByteCount quarantined = table.bytes(ExtentState::Quarantined);
  may_be_lost(0, kPages);
  const ByteCount in_flight = manager_->stop();
  stopped_ = true;
  engine_->close();
  check(in_flight == busy, "{} bytes were in flight at the stop, not {}", busy.value(), in_flight.value());
  check(table.bytes(ExtentState::Quarantined) == quarantined + busy, "what was in flight is not in quarantine");
  check(manager_->jobs_in_flight() == 0 && manager_->fault().has_value(), "the stop did not stop");
}

/// The process is killed, and a new one goes on. Some VMs live, others have died.
void World::crash(const Step& step) {
  if (polling_ > 0) return;
  look_at_grants();
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
  engine_.reset();
  ledger_.reset();
  start();
  for (std::size_t page = 0; page < kPages; ++page) {
    const Extent* const extent = manager_->extents().find(base_ + layout_.offset(page));
    check(!quarantined[page] || extent->state() == ExtentState::Quarantined, "page {} left quarantine", page);
    if (!quarantined[page]) memory_.forget_bad(page);
  }
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
  look_at_pools();
  // Who wrote what nobody holds went with the process, and so did groups and pools.
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
    }
    memory_.write(page, writer, true);
  }
  for (auto& [id, vm] : vms_) vm.who.group = vm.who.pool = 0;
  groups_.clear();
  pools_.clear();
  suspect_to_all_.reset();
  shared_minimum_ = ByteCount(0);
  memory_.forget_groups();
  check_everything();
}

/// A VM goes on with all that it holds: what its handlers were called with, and what they were not called with any
/// more.
void World::adopt(Id id) {
  Vm& vm = vms_.at(id);
  vm.who.group = vm.who.pool = 0;
  vm.say = {};
  layout_.ask_for(vm.kind, vm.placement);  // a pool's, before
  const auto grant = manager_->adopt(profile(vm));
  check(grant.has_value(), "{}", grant ? "" : grant.error().message);
  if (!grant) return;
  const bool reboots = manager_->reboots(VmId(id));
  check(reboots || !vm.down, "VM {} does not reboot any more after a crash", id);
  check(!reboots || grant->ranges.empty(), "VM {} reboots and was adopted with memory", id);
  vm.down = reboots;
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
  for (std::size_t page = 0; page < kPages; ++page) {
    if (vm.pages[page]) memory_.write(page, vm.who, true);
  }
  vm.suspect.reset();
  vm.seen.reset();
}

}  // namespace sluice::world
