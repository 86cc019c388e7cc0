// SPDX-License-Identifier: Apache-2.0
// What VMs and their provider say: settings, and memory that is suspect.
#include "world.hpp"

namespace sluice::world {

void World::take_setting_step(const Step& step) {
  if (step.act == Act::TestSuspect) {
    take_test_step(step);
    return;
  }
  if (step.act == Act::Suspect || step.act == Act::Absolve) {
    take_suspect_step(step);
    return;
  }
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  const VmId id(vm.who.vm);
  rules_change();
  const bool forced = vm.allowed.force_new_memory;
  if (step.act == Act::ChangeRecycling) {
    const RecycleSettings settings = recycling(step.b);
    expect(true, manager_->change_settings(id, settings).has_value(), "a change of settings");
    forget_if_over(vm);
    vm.allowed = settings;
    settings_changed(vm, forced);
  } else if (step.act == Act::ChangeScrubs) {
    const ScrubSettings settings = scrubs(step.b);
    expect(true, manager_->change_scrub_settings(id, settings).has_value(), "a change of scrubs");
    vm.scrub = settings;
  } else if (step.act == Act::SwitchRecycling) {
    VmSay say;
    if (step.b % 4 != 0) say.enable = step.b / 4 % 2 == 0;
    if (step.b % 4 != 1) say.recycle_on_reboot = step.b / 8 % 2 == 0;
    const bool fits = (!say.enable.value_or(false) || vm.may_say.enable.value_or(false)) &&
                      (!say.recycle_on_reboot.value_or(false) || vm.may_say.recycle_on_reboot.value_or(false));
    const auto said = manager_->switch_recycling(id, say);
    expect(fits, said.has_value(), "a VM's own say");
    check(said || said.error().code == HostErrc::NotPermitted, "a VM's say was refused: {}",
          said ? "" : said.error().message);
    if (!fits) return;
    if (say.enable) vm.say.enable = say.enable;
    if (say.recycle_on_reboot) vm.say.recycle_on_reboot = say.recycle_on_reboot;
    settings_changed(vm, forced);
  } else {
    const Placement wish = placement(step.b);
    const bool possible = vm.claims == 0 && layout_.has(vm.kind, wish.node);
    expect(possible, manager_->change_placement(id, wish).has_value(), "a change of placement");
    if (possible) vm.placement = wish;
  }
}

/// From now on, for pending claims too. What a VM holds becomes suspect when it gives that back or reboots.
void World::settings_changed(Vm& vm, bool force_new_before) {
  // What is not kept for it any more, others may take before it is back.
  if (!vm.keeps()) {
    vm.before.reset();
    for (auto& [number, claim] : claims_) {
      if (claim.vm == vm.who.vm) claim.before.reset();
    }
  }
  if (!vm.allowed.force_new_memory || force_new_before) return;
  const ExtentTable& table = manager_->extents();
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    const bool waits = extent->state() == ExtentState::Dirty || extent->state() == ExtentState::Reserved;
    for (std::size_t page = first_page(*extent); waits && page < end_page(*extent); ++page) {
      if (memory_.last_writer(page) == vm.who.vm) vm.suspect.set(page);
    }
  }
}

/// Whether some of it is being scrubbed or is part of a claim.
bool World::is_worked_on(std::size_t first, std::size_t end) const {
  for (std::size_t page = first; page < end; ++page) {
    const Extent* const extent = manager_->extents().find(base_ + layout_.offset(page));
    const ExtentState state = extent->state();
    if (extent->is_claimed() || state == ExtentState::Scrubbing || state == ExtentState::Cancelling) return true;
  }
  return false;
}

/// In a hunt for bad memory.
void World::take_suspect_step(const Step& step) {
  rules_change();
  look_at_pools();
  auto* const found = step.a % 2 == 0 ? nullptr : pick(vms_, step.b);
  if (step.a % 2 != 0 && found == nullptr) return;
  const VmId id(found == nullptr ? 0 : found->first);
  Pages& suspect = found == nullptr ? suspect_to_all_ : found->second.suspect;
  if (step.act == Act::Absolve) {
    expect(true, manager_->absolve(id).has_value(), "an absolution");
    check(manager_->suspect_bytes(id) == ByteCount(0), "memory is suspect after an absolution");
    suspect.reset();
    return;
  }
  const std::size_t at = step.c % kPages;
  std::size_t pages = 1;
  while (pages < 1 + step.c / 256 % 8 && at + pages < kPages && &layout_.part_of(at + pages) == &layout_.part_of(at)) {
    ++pages;
  }
  const auto done = manager_->suspect(span(at, pages), id);
  check(done || is_worked_on(at, at + pages), "a suspicion was refused: {}", done ? "" : done.error().message);
  if (!done) return;
  ByteCount bytes;
  for (std::size_t page = at; page < at + pages; ++page) {
    suspect.set(page);
    for (auto& [number, vm] : vms_) {
      if (found == nullptr || number == found->first) vm.before.reset(page);
    }
    for (auto& [number, claim] : claims_) {
      if (found == nullptr || claim.vm == found->first) claim.before.reset(page);
    }
  }
  for (std::size_t page = 0; page < kPages; ++page) bytes += ByteCount(suspect[page] ? layout_.bytes(page, 1) : 0);
  check(manager_->suspect_bytes(id) >= bytes, "{} bytes are suspect, not {}", manager_->suspect_bytes(id).value(),
        bytes.value());
}

}  // namespace sluice::world
