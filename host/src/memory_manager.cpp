// SPDX-License-Identifier: Apache-2.0
// The life of VMs, pools and groups. How a claim becomes a grant is in claims.cpp.
#include "sluice/host/memory_manager.hpp"

#include <fmt/format.h>

#include "enforce.hpp"

namespace sluice {
namespace {

Error used_before(const char* kind, std::uint64_t id) {
  return {HostErrc::IdUsedBefore, fmt::format("{} {} exists or has existed: identifiers are never used again, choose a "
                                              "new one",
                                              kind, id)};
}

Error unset(const char* what) {
  return {HostErrc::InvalidArgument, fmt::format("{} id 0 means none: give an id from 1", what)};
}

}  // namespace

MemoryManager::MemoryManager(const BackingMemory& memory, Engine& engine, const ScrubberConfig& config)
    : table_(memory.bricks()), scrubber_(engine, table_, statistics_, config) {}

Result<MemoryManager::Vm*> MemoryManager::find_vm(VmId vm) {
  const auto found = vms_.find(vm);
  if (found != vms_.end()) return &found->second;
  return Error{HostErrc::UnknownId, fmt::format("VM {} {}: create it first", vm.value(),
                                                ended_vms_.contains(vm) ? "has ended" : "does not exist")};
}

Result<void> MemoryManager::create_trust_group(TrustGroupId group, CustomerId customer) {
  if (!group.is_set()) return unset("trust group");
  if (!customer.is_set()) return unset("customer");
  if (!groups_.emplace(group, Group{customer}).second) return used_before("trust group", group.value());
  return {};
}

Result<ClaimId> MemoryManager::create_dedicated_pool(DedicatedPoolId pool, CustomerId customer, ByteCount length,
                                                     PoolHandler handler) {
  if (!pool.is_set()) return unset("pool");
  if (!customer.is_set()) return unset("customer");
  if (pools_.contains(pool) || ended_pools_.contains(pool)) return used_before("pool", pool.value());
  Claim claim;
  claim.kind = ClaimKind::Pool;
  claim.pool = pool;
  claim.customer = customer;
  claim.length = length;
  pools_.emplace(pool, Pool{customer});
  auto started = start_claim(claim, {}, std::move(handler));
  if (!started) pools_.erase(pool);
  return started;
}

Result<void> MemoryManager::destroy_dedicated_pool(DedicatedPoolId pool) {
  const auto found = pools_.find(pool);
  if (found == pools_.end()) {
    return Error{HostErrc::UnknownId, fmt::format("pool {} does not exist: create it first", pool.value())};
  }
  if (!found->second.ready || found->second.vms > 0) {
    return Error{HostErrc::WrongState, fmt::format("pool {} is {} with {} VMs: terminate its VMs first", pool.value(),
                                                   found->second.ready ? "ready" : "being filled", found->second.vms)};
  }
  for (Extent* extent : table_.members(pool)) table_.move_to_pool(*extent, {});
  pools_.erase(found);
  ended_pools_.insert(pool);
  return {};
}

Result<void> MemoryManager::create_vm(const VmProfile& profile) {
  if (!profile.vm.is_set()) return unset("VM");
  if (!profile.customer.is_set()) return unset("customer");
  if (vms_.contains(profile.vm) || ended_vms_.contains(profile.vm)) return used_before("VM", profile.vm.value());
  const auto foreign = [&](const char* kind, std::uint64_t id) {
    return Error{HostErrc::ForeignCustomer,
                 fmt::format("{} {} is not customer {}'s: choose one of its own", kind, id, profile.customer.value())};
  };
  if (profile.group.is_set()) {
    const auto group = groups_.find(profile.group);
    if (group == groups_.end()) {
      return Error{HostErrc::UnknownId,
                   fmt::format("trust group {} does not exist: create it first", profile.group.value())};
    }
    if (group->second.customer != profile.customer) return foreign("trust group", profile.group.value());
  }
  if (profile.pool.is_set()) {
    const auto pool = pools_.find(profile.pool);
    if (pool == pools_.end()) {
      return Error{HostErrc::UnknownId, fmt::format("pool {} does not exist: create it first", profile.pool.value())};
    }
    if (pool->second.customer != profile.customer) return foreign("pool", profile.pool.value());
    if (!pool->second.ready) {
      return Error{HostErrc::WrongState,
                   fmt::format("pool {} is being filled: wait for its handler", profile.pool.value())};
    }
    ++pool->second.vms;
  }
  vms_.emplace(profile.vm, Vm{profile});
  return {};
}

Result<void> MemoryManager::change_trust_group(VmId vm, TrustGroupId group) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  VmProfile& profile = (*found)->profile;
  if ((*found)->claims > 0) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} has a claim pending: wait for it, or abandon it", vm.value())};
  }
  const auto target = groups_.find(group);
  if (group.is_set() && target == groups_.end()) {
    return Error{HostErrc::UnknownId, fmt::format("trust group {} does not exist: create it first", group.value())};
  }
  if (group.is_set() && target->second.customer != profile.customer) {
    return Error{HostErrc::ForeignCustomer, fmt::format("trust group {} is not customer {}'s: choose one of its own",
                                                        group.value(), profile.customer.value())};
  }
  if (group == profile.group) return {};
  if (profile.group.is_set()) ++groups_.at(profile.group).epoch;
  if (group.is_set()) ++target->second.epoch;
  profile.group = group;
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
  table_.transition(extent, ExtentEvent::Release);
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
  const ExtentTable::Set held = table_.held_by(vm);
  for (Extent* extent : held) table_.transition(*extent, ExtentEvent::Reserve);
  return {};
}

Result<void> MemoryManager::terminate(VmId vm) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  if ((*found)->claims > 0) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} has a claim pending: wait for it, or abandon it", vm.value())};
  }
  while (!table_.held_by(vm).empty()) release_extent(**table_.held_by(vm).begin());
  if ((*found)->profile.pool.is_set()) --pools_.at((*found)->profile.pool).vms;
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
