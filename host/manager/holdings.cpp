// SPDX-License-Identifier: Apache-2.0
#include "holdings.hpp"

#include <fmt/format.h>

namespace sluice::inline manager {
namespace {

const std::byte* end_of(MemorySpan memory) { return memory.data() + memory.size(); }

/// Whether memory stays reserved during a reboot: for the VM, or to keep it from the VM until that has other memory.
bool keeps_memory(const Claim& reboot) {
  return (reboot.allowed.enable && reboot.allowed.recycle_on_reboot) || reboot.allowed.force_new_memory;
}

}  // namespace

std::vector<Extent*> Holdings::of(VmId vm) const {
  std::vector<Extent*> held;
  const Domain domain = Domain::holder(vm);
  for (auto index = table_.next_lineage(domain); index; index = table_.next_lineage(domain, index)) {
    for (const ExtentState state : {ExtentState::Owned, ExtentState::Reserved}) {
      for (Extent* extent = table_.first(*index, state); extent != nullptr; extent = table_.next(*extent)) {
        held.push_back(extent);
      }
    }
  }
  return held;
}

Result<void> Holdings::check_release(const Tenants::Vm& vm, MemorySpan memory) const {
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  if (memory.size() > UINTPTR_MAX - address) {
    return Error{HostErrc::InvalidArgument, fmt::format("memory at {:#x} of {} bytes passes the end of all addresses: "
                                                        "release what was granted",
                                                        address, memory.size())};
  }
  const std::uint64_t page = page_length(*vm.profile.placement.pages).value();
  const Extent* const first = memory.empty() ? nullptr : table_.find(memory.data());
  const auto offset =
      first == nullptr ? address : static_cast<std::uintptr_t>(memory.data() - table_.brick(*first).memory.data());
  if (memory.empty() || offset % page != 0 || memory.size() % page != 0) {
    return Error{HostErrc::InvalidArgument, fmt::format("memory at {:#x} of {} bytes: give whole pages of {} bytes",
                                                        address, memory.size(), page)};
  }
  for (const std::byte* at = memory.data(); at < end_of(memory);) {
    const Extent* const extent = table_.find(at);
    if (extent == nullptr || extent->state() != ExtentState::Owned || table_.holder(*extent) != vm.profile.vm) {
      return Error{HostErrc::NotHeld, fmt::format("VM {} does not hold the memory at {:#x}: release what was granted",
                                                  vm.profile.vm.value(), reinterpret_cast<std::uintptr_t>(at))};
    }
    at = end_of(table_.memory(*extent));
  }
  return {};
}

Result<void> Holdings::release(const Tenants::Vm& vm, MemorySpan memory) {
  if (auto checked = check_release(vm, memory); !checked) return checked;
  if (auto room = table_.make_room(2); !room) return room;
  const std::byte* const end = end_of(memory);
  for (const std::byte* at = memory.data(); at < end;) {
    Extent* extent = table_.find(at);
    if (const std::byte* const begin = table_.memory(*extent).data(); begin < at) {
      extent = &table_.split(*extent, ByteCount(static_cast<std::uint64_t>(at - begin)));
    }
    const ByteCount wanted(static_cast<std::uint64_t>(end - at));
    if (extent->length() > wanted) table_.split(*extent, wanted);
    at = end_of(table_.memory(*extent));
    release(*extent, vm.profile.scrub);
  }
  return {};
}

void Holdings::release(Extent& extent, const ScrubSettings& scrub) {
  std::chrono::nanoseconds delay{0};
  if (scrub.timing == ScrubTiming::BeforeGrant) delay = kOnlyForClaims;
  if (scrub.timing == ScrubTiming::Scheduled) delay = scrub.delay;
  table_.release(extent, fill_of(scrub), delay, scrubber_.now());
  table_.coalesce(extent);
}

void Holdings::release_all(VmId vm, const ScrubSettings& scrub) {
  for (Extent* extent : of(vm)) release(*extent, scrub);
}

void Holdings::reserve(const Tenants::Vm& vm) {
  const Claim claim = tenants_.claim_for(vm, ClaimKind::Reboot, {});
  for (Extent* extent : of(claim.vm)) {
    if (claim.allowed.grow_pool_on_reboot && claim.pool.is_set()) table_.move_to_pool(*extent, claim.pool);
    if (!keeps_memory(claim)) {
      release(*extent, claim.scrub);
    } else if (extent->state() == ExtentState::Owned) {
      table_.reserve(*extent);
    }
  }
}

void Holdings::release_reserved(VmId vm, Keep keep) {
  const Claim next = tenants_.claim_for(*tenants_.look_up(vm), ClaimKind::Grow, {});
  for (Extent* extent : of(vm)) {
    if (extent->state() != ExtentState::Reserved) continue;
    const bool wanted = next.allowed.retain_memory && RecyclePolicy::decide(table_.owner(*extent), next).recycle;
    if (keep == Keep::ForNextClaim && wanted) continue;
    release(*extent, next.scrub);
  }
}

void Holdings::settings_changed(const Tenants::Vm& vm) {
  if (vm.phase == Tenants::VmPhase::Running) {
    release_reserved(vm.profile.vm, Keep::ForNextClaim);
  } else if (!keeps_memory(tenants_.claim_for(vm, ClaimKind::Reboot, {}))) {
    release_reserved(vm.profile.vm, Keep::Nothing);
  }
}

}  // namespace sluice::inline manager
