// SPDX-License-Identifier: Apache-2.0
#include "holdings.hpp"

#include <fmt/format.h>

#include "sluice/base/saturating.hpp"

namespace sluice::inline manager {
namespace {

const std::byte* end_of(MemorySpan memory) { return memory.data() + memory.size(); }

/// Whether memory stays reserved for the VM during a reboot.
bool keeps_memory(const Claim& reboot) {
  return reboot.allowed.enable && reboot.allowed.recycle_on_reboot && !reboot.allowed.force_new_memory;
}

/// Free or claimed, with what its last holder wrote.
bool is_unclean(ExtentState state) {
  return state == ExtentState::Dirty || state == ExtentState::Scrubbing || state == ExtentState::Cancelling;
}

std::chrono::nanoseconds delay_of(const ScrubSettings& scrub) {
  if (scrub.timing == ScrubTiming::BeforeGrant) return kOnlyForClaims;
  return scrub.timing == ScrubTiming::Scheduled ? scrub.delay : std::chrono::nanoseconds(0);
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
  const std::uint64_t unit = vm.profile.placement.unit->value();
  const Extent* const first = memory.empty() ? nullptr : table_.find(memory.data());
  const auto offset =
      first == nullptr ? address : static_cast<std::uintptr_t>(memory.data() - table_.brick(*first).memory.data());
  if (memory.empty() || offset % unit != 0 || memory.size() % unit != 0) {
    return Error{HostErrc::InvalidArgument, fmt::format("memory at {:#x} of {} bytes: give multiples of {} bytes, from "
                                                        "such a multiple on",
                                                        address, memory.size(), unit)};
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

/// Calls `act` with each extent of a range, cut where the range begins and ends. There is room for two cuts.
template <class Act>
void Holdings::for_each_piece(MemorySpan memory, Act act) {
  const std::byte* const end = end_of(memory);
  for (const std::byte* at = memory.data(); at < end;) {
    Extent* extent = table_.find(at);
    if (const std::byte* const begin = table_.memory(*extent).data(); begin < at) {
      extent = &table_.split(*extent, ByteCount(static_cast<std::uint64_t>(at - begin)));
    }
    const ByteCount wanted(static_cast<std::uint64_t>(end - at));
    if (extent->length() > wanted) table_.split(*extent, wanted);
    at = end_of(table_.memory(*extent));
    act(*extent);
  }
}

Result<void> Holdings::release(const Tenants::Vm& vm, MemorySpan memory) {
  if (auto checked = check_release(vm, memory); !checked) return checked;
  if (auto room = table_.make_room(2); !room) return room;
  for_each_piece(memory, [&](Extent& extent) { release(extent, vm, Leaves::No); });
  return {};
}

Result<void> Holdings::suspect(MemorySpan memory, VmId vm) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  const bool passes_the_end = memory.size() > UINTPTR_MAX - address;
  for (const std::byte* at = memory.data(); memory.empty() || passes_the_end || at < end_of(memory);) {
    const Extent* const extent = memory.empty() || passes_the_end ? nullptr : table_.find(at);
    if (extent == nullptr) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("memory at {:#x} of {} bytes is not all in the pool: give memory that is", address,
                               memory.size())};
    }
    const std::uint64_t unit = unit_of(table_.brick(*extent)).value();
    const auto offset = static_cast<std::uint64_t>(at - table_.brick(*extent).memory.data());
    const auto rest = static_cast<std::uint64_t>(end_of(memory) - table_.brick(*extent).memory.data());
    const bool works = extent->state() == ExtentState::Scrubbing || extent->state() == ExtentState::Cancelling;
    if (offset % unit != 0 || (end_of(memory) < end_of(table_.memory(*extent)) && rest % unit != 0)) {
      return Error{HostErrc::InvalidArgument, fmt::format("memory at {:#x} of {} bytes: give multiples of {} bytes, "
                                                          "from such a multiple on",
                                                          address, memory.size(), unit)};
    }
    if (works || extent->is_claimed()) {
      return Error{HostErrc::WrongState,
                   fmt::format("memory at {:#x} is being scrubbed or granted: try again after the next poll",
                               reinterpret_cast<std::uintptr_t>(at))};
    }
    at = end_of(table_.memory(*extent));
  }
  if (auto room = table_.make_room(2); !room) return room;
  for_each_piece(memory, [&](Extent& extent) {
    table_.suspect(extent, vm);
    table_.coalesce(extent);
  });
  return {};
}

/// What it gives back to its pool stays its own there until it leaves.
void Holdings::release(Extent& extent, const Tenants::Vm& vm, Leaves leaves) {
  const VmProfile& profile = vm.profile;
  const DedicatedPoolId pool = table_.lineage(extent).pool;
  const auto facts = tenants_.pools().find(pool);
  const bool shared = facts != tenants_.pools().end() && facts->second.shares;
  const bool strange = pool.is_set() && pool != profile.pool;
  if (leaves == Leaves::No && profile.allowed.force_new_memory) table_.suspect(extent, profile.vm);
  table_.release(extent, fill_of(profile.scrub), delay_of(profile.scrub), scrubber_.now());
  if (strange || (leaves == Leaves::ForGood && !shared)) disown(extent);
  table_.coalesce(extent);
}

/// The VM that held it last will not have it back. Its trust group may, by the group's own rules.
void Holdings::disown(Extent& extent) {
  Owner owner = table_.owner(extent);
  owner.left = true;
  owner.pool = {};
  table_.set_owner(extent, owner);
}

void Holdings::release_all(const Tenants::Vm& vm) {
  for (Extent* extent : of(vm.profile.vm)) release(*extent, vm, Leaves::ForGood);
}

void Holdings::release_unadopted(VmId vm) {
  Tenants::Vm unknown;
  unknown.profile.vm = vm;
  release_all(unknown);
}

/// Whatever has become of it since. Looks at every extent.
std::vector<Extent*> Holdings::given_back(VmId vm) const {
  std::vector<Extent*> found;
  for (Extent* extent = table_.first_place(); extent != nullptr; extent = table_.next_place(*extent)) {
    const Owner& owner = table_.owner(*extent);
    if (owner.vm == vm && is_unclean(extent->state())) found.push_back(extent);
  }
  return found;
}

void Holdings::leave_pool(VmId vm, DedicatedPoolId pool) {
  const auto facts = tenants_.pools().find(pool);
  if (facts == tenants_.pools().end()) return;
  const bool shares = facts->second.shares;
  // What it holds there it writes on, outside of the pool.
  for (Extent* extent : of(vm)) {
    if (table_.lineage(*extent).pool != pool) continue;
    Owner owner = table_.owner(*extent);
    owner.pool = {};
    table_.set_owner(*extent, owner);
  }
  if (shares && facts->second.vms > 0) return;  // the others may have it
  for (Extent* extent : shares ? table_.all_of(Domain::member(pool)) : given_back(vm)) {
    if (is_unclean(extent->state()) && table_.lineage(*extent).pool == pool) disown(*extent);
  }
}

void Holdings::reserve(const Tenants::Vm& vm, const Promised& promised) {
  const Claim claim = tenants_.claim_for(vm, ClaimKind::Reboot, {});
  const bool keeps = keeps_memory(claim);
  for (Extent* extent : of(claim.vm)) {
    if (joins_pool(*extent, claim, promised)) table_.move_to_pool(*extent, claim.pool);
    if (!keeps) {
      release(*extent, vm, Leaves::No);
    } else if (extent->state() == ExtentState::Owned) {
      table_.reserve(*extent, claim.allowed.lend_reserved_memory);
    }
  }
  if (keeps) set_expiry(vm);
}

void Holdings::set_expiry(const Tenants::Vm& vm) {
  const VmId id = vm.profile.vm;
  std::erase_if(expiries_, [&](const Expiry& expiry) { return expiry.vm == id; });
  const std::chrono::nanoseconds reservation = vm.profile.allowed.reservation;
  if (reservation.count() > 0) expiries_.insert({add_saturating(vm.down_since, reservation), id, vm.boot});
}

void Holdings::keep_through_reboot(const Tenants::Vm& vm, const Promised& promised) {
  const Claim claim = tenants_.claim_for(vm, ClaimKind::Reboot, {});
  for (Extent* extent : of(claim.vm)) {
    if (joins_pool(*extent, claim, promised)) table_.move_to_pool(*extent, claim.pool);
    if (extent->state() == ExtentState::Owned) table_.set_owner(*extent, passed_on(table_.lineage(*extent), claim));
  }
}

/// What a VM holds beyond its pool becomes a part of that, if it shall, the pool's rule allows it and the shared pool
/// can do without.
bool Holdings::joins_pool(const Extent& extent, const Claim& reboot, const Promised& promised) const {
  return reboot.allowed.grow_pool_on_reboot && reboot.pool.is_set() && !table_.lineage(extent).pool.is_set() &&
         tenants_.may_grow(table_, reboot.pool, extent.length() + promised.to_own_pool) &&
         tenants_.may_leave_shared(table_, extent.length() + promised.to_pools);
}

void Holdings::release_reserved(VmId id, Keep keep) {
  const Tenants::Vm& vm = *tenants_.look_up(id);
  const Claim next = tenants_.claim_for(vm, ClaimKind::Grow, {});
  for (Extent* extent : of(id)) {
    if (extent->state() != ExtentState::Reserved) continue;
    const bool wanted = next.allowed.retain_memory && RecyclePolicy::decide(table_.lineage(*extent), next).recycle;
    if (keep == Keep::ForNextClaim && wanted) continue;
    release(*extent, vm, Leaves::No);
  }
}

bool Holdings::lends(const Tenants::Vm& vm) const {
  return vm.profile.allowed.lend_reserved_memory && keeps_memory(tenants_.claim_for(vm, ClaimKind::Reboot, {}));
}

void Holdings::settings_changed(const Tenants::Vm& vm, bool comes_back) {
  const VmId id = vm.profile.vm;
  if (vm.profile.allowed.force_new_memory) {
    release_reserved(id, Keep::Nothing);
    for (Extent* extent : given_back(id)) table_.suspect(*extent, id);
  } else if (!comes_back) {
    release_reserved(id, Keep::ForNextClaim);
  } else if (!keeps_memory(tenants_.claim_for(vm, ClaimKind::Reboot, {}))) {
    release_reserved(id, Keep::Nothing);
  }
  if (vm.phase != Tenants::VmPhase::Rebooting) return;
  set_expiry(vm);
  for (Extent* extent : of(id)) table_.lend(*extent, vm.profile.allowed.lend_reserved_memory);
}

void Holdings::returned(Extent& extent) {
  const Tenants::Vm* const vm =
      extent.state() == ExtentState::Reserved ? tenants_.look_up(table_.holder(extent)) : nullptr;
  table_.coalesce(extent);
  if (vm == nullptr) return;
  const std::chrono::nanoseconds reservation = vm->profile.allowed.reservation;
  const bool is_over = reservation.count() > 0 && add_saturating(vm->down_since, reservation) <= scrubber_.now();
  if (vm->phase != Tenants::VmPhase::Rebooting) {
    if (vm->claims == 0) release_reserved(vm->profile.vm, Keep::ForNextClaim);
  } else if (is_over) {
    release_reserved(vm->profile.vm, Keep::Nothing);
  }
}

void Holdings::expire() {
  while (!expiries_.empty() && expiries_.begin()->time <= scrubber_.now()) {
    const Expiry expiry = *expiries_.begin();
    expiries_.erase(expiries_.begin());
    const Tenants::Vm* const vm = tenants_.look_up(expiry.vm);
    const bool still_away = vm != nullptr && vm->phase == Tenants::VmPhase::Rebooting && vm->boot == expiry.boot;
    if (still_away) release_reserved(expiry.vm, Keep::Nothing);
  }
}

std::optional<std::chrono::nanoseconds> Holdings::next_expiry() const {
  return expiries_.empty() ? std::nullopt : std::optional(expiries_.begin()->time);
}

}  // namespace sluice::inline manager
