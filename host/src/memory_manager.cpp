// SPDX-License-Identifier: Apache-2.0
// The life of VMs, pools and groups. How a claim becomes a grant is in claims.cpp.
#include "sluice/host/memory_manager.hpp"

#include <fmt/format.h>

#include "complaints.hpp"

namespace sluice {

MemoryManager::MemoryManager(const BackingMemory& memory, Engine& engine, const ScrubberConfig& config)
    : table_(memory.bricks()), scrubber_(engine, table_, statistics_, config) {}

Result<MemoryManager::Vm*> MemoryManager::find_vm(VmId vm) {
  const auto found = vms_.find(vm);
  if (found != vms_.end()) return &found->second;
  return Error{HostErrc::UnknownId, fmt::format("VM {} {}: create it first", vm.value(),
                                                ended_vms_.contains(vm) ? "has ended" : "does not exist")};
}

Result<MemoryManager::Vm*> MemoryManager::find_vm_without_claims(VmId vm) {
  auto found = find_vm(vm);
  if (found && (*found)->claims > 0) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} has a claim pending: wait for it, or abandon it", vm.value())};
  }
  return found;
}

Result<void> MemoryManager::create_vm(const VmProfile& profile) {
  if (!profile.vm.is_set()) return complaints::unset("VM");
  if (!profile.customer.is_set()) return complaints::unset("customer");
  if (vms_.contains(profile.vm) || ended_vms_.contains(profile.vm))
    return complaints::used_before("VM", profile.vm.value());
  if (auto checked = check(profile.scrub); !checked) return checked;
  Group* group = nullptr;
  if (profile.group.is_set()) {
    auto found = find_group(profile.group, profile.customer);
    if (!found) return found.error();
    group = *found;
  }
  if (profile.pool.is_set()) {
    auto pool = find_pool(profile.pool);
    if (!pool) return pool.error();
    if ((*pool)->customer != profile.customer) {
      return complaints::foreign("pool", profile.pool.value(), profile.customer);
    }
    ++(*pool)->vms;
  }
  if (group != nullptr) ++group->vms;
  vms_.emplace(profile.vm, Vm{profile});
  return {};
}

Result<void> MemoryManager::change_settings(VmId vm, const RecycleSettings& settings) {
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  (*found)->profile.allowed = settings;
  if ((*found)->phase == VmPhase::Running) release_reserved(vm, Keep::ForNextClaim);
  return {};
}

Result<void> MemoryManager::check(const ScrubSettings& settings) {
  if (settings.delay.count() >= 0) return {};
  return Error{HostErrc::InvalidArgument,
               fmt::format("a scrub is scheduled {} ns after the release: give 0 or more", settings.delay.count())};
}

Result<void> MemoryManager::change_scrub_settings(VmId vm, const ScrubSettings& settings) {
  if (auto checked = check(settings); !checked) return checked;
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  (*found)->profile.scrub = settings;
  return {};
}

Result<void> MemoryManager::switch_recycling(VmId vm, bool on) {
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  (*found)->recycles = on;
  if ((*found)->phase == VmPhase::Running) release_reserved(vm, Keep::ForNextClaim);
  return {};
}

Result<void> MemoryManager::release(VmId vm, MemorySpan memory) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  if ((*found)->phase != VmPhase::Running) {
    return Error{HostErrc::WrongState, fmt::format("VM {} reboots: release its memory when it is back", vm.value())};
  }
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  if (memory.empty() || address % kPageSize.value() != 0 || memory.size() % kPageSize.value() != 0) {
    return Error{HostErrc::InvalidArgument, fmt::format("memory at {:#x} of {} bytes: give whole pages of {} bytes",
                                                        address, memory.size(), kPageSize.value())};
  }
  // Look before changing anything.
  const std::byte* const end = memory.data() + memory.size();
  for (const std::byte* at = memory.data(); at < end;) {
    const Extent* const extent = table_.find(at);
    if (extent == nullptr || extent->state != ExtentState::Owned || extent->holder != vm) {
      return Error{HostErrc::NotHeld, fmt::format("VM {} does not hold the memory at {:#x}: release what was granted",
                                                  vm.value(), reinterpret_cast<std::uintptr_t>(at))};
    }
    at = extent->memory.data() + extent->memory.size();
  }
  for (const std::byte* at = memory.data(); at < end;) {
    Extent* extent = table_.find(at);
    if (extent->memory.data() < at) {
      extent = &table_.split(*extent, ByteCount(static_cast<std::uint64_t>(at - extent->memory.data())));
    }
    const ByteCount wanted(static_cast<std::uint64_t>(end - at));
    if (extent->length() > wanted) table_.split(*extent, wanted);
    at = extent->memory.data() + extent->memory.size();
    release_extent(*extent);
  }
  scrubber_.pump();
  return {};
}

void MemoryManager::release_extent(Extent& extent) {
  const ScrubSettings& scrub = vms_.at(extent.holder).profile.scrub;
  table_.transition(extent, ExtentEvent::Release, [&](Extent& changed) {
    changed.fill = Fill::of(scrub);
    changed.scrub_at = std::chrono::nanoseconds::zero();
    if (scrub.timing == ScrubTiming::BeforeGrant) changed.scrub_at = kOnlyForClaims;
    if (scrub.timing == ScrubTiming::Scheduled) changed.scrub_at = scrubber_.now() + scrub.delay;
  });
  table_.coalesce(extent);
}

Result<void> MemoryManager::begin_reboot(VmId vm) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  if ((*found)->phase != VmPhase::Running || (*found)->claims > 0) {
    return Error{HostErrc::WrongState, fmt::format("VM {} {}: wait for that first", vm.value(),
                                                   (*found)->claims > 0 ? "has a claim pending" : "reboots already")};
  }
  (*found)->phase = VmPhase::Rebooting;
  const Claim claim = claim_for(**found, ClaimKind::Reboot, {});
  const bool kept = claim.allowed.enabled && claim.allowed.after_reboot;
  const ExtentTable::Set held = table_.held_by(vm);
  for (Extent* extent : held) {
    if (claim.allowed.pool_grows_on_reboot && claim.pool.is_set()) table_.move_to_pool(*extent, claim.pool);
    if (!kept && !claim.allowed.new_memory_after_reboot) {
      release_extent(*extent);
    } else if (extent->state == ExtentState::Owned) {
      table_.transition(*extent, ExtentEvent::Reserve);
    }
  }
  scrubber_.pump();
  return {};
}

/// Releases what is reserved for a VM and not part of a claim.
void MemoryManager::release_reserved(VmId vm, Keep keep) {
  const Claim next = claim_for(vms_.at(vm), ClaimKind::Grow, {});
  const ExtentTable::Set held = table_.held_by(vm);
  for (Extent* extent : held) {
    if (extent->state != ExtentState::Reserved || extent->earmark.is_set()) continue;
    const bool wanted = next.allowed.keeps_left_over && RecyclePolicy::decide(extent->owner, next).recycle;
    if (keep == Keep::ForNextClaim && wanted) continue;
    release_extent(*extent);
  }
}

Result<void> MemoryManager::terminate(VmId vm) {
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  while (!table_.held_by(vm).empty()) release_extent(**table_.held_by(vm).begin());
  const VmProfile& profile = (*found)->profile;
  if (profile.pool.is_set()) --pools_.at(profile.pool).vms;
  if (profile.group.is_set()) --groups_.at(profile.group).vms;
  vms_.erase(vm);
  ended_vms_.insert(vm);
  scrubber_.pump();
  return {};
}

ByteCount MemoryManager::stop() {
  const ByteCount in_flight = scrubber_.stop();
  const Error stopped{HostErrc::ScrubUnavailable, "the memory manager was stopped"};
  while (!pending_.empty()) finish(pending_.begin()->first, stopped);
  return in_flight;
}

bool MemoryManager::has_work() const { return !finished_.empty() || !pending_.empty() || scrubber_.has_work(); }

void MemoryManager::poll() {
  scrubber_.pump();
  scrubber_.collect([this](Extent& extent) { settle(extent); });
  retry_waiting();
  scrubber_.pump();
  if (const auto fault = scrubber_.fault(); fault && scrubber_.jobs_in_flight() == 0) {
    while (!pending_.empty()) finish(pending_.begin()->first, scrub_unavailable(*fault));
  }
  // A handler may call the manager, but what it starts is finished in the next poll at the earliest.
  for (std::size_t count = finished_.size(); count > 0; --count) {
    Finished finished = std::move(finished_.front());
    finished_.pop_front();
    if (finished.grant_handler) {
      finished.grant_handler(std::move(finished.result));
    } else if (finished.pool_handler) {
      finished.pool_handler(finished.result ? Result<void>() : Result<void>(finished.result.error()));
    }
  }
}

}  // namespace sluice
