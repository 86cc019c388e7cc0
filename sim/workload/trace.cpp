// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/trace.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sluice/memory/backing_memory.hpp"

namespace sluice::inline workload {

ByteCount scaled(ByteCount bytes, std::uint64_t memory_scale) {
  const std::uint64_t unit = kPageSize.value() * memory_scale;
  return ByteCount((bytes.value() + unit - 1) / unit * kPageSize.value());
}

std::string_view to_string(TraceEventKind kind) {
  switch (kind) {
    case TraceEventKind::CreateGroup:
      return "create_group";
    case TraceEventKind::CreatePool:
      return "create_pool";
    case TraceEventKind::DestroyPool:
      return "destroy_pool";
    case TraceEventKind::Create:
      return "create";
    case TraceEventKind::BalloonUp:
      return "balloon_up";
    case TraceEventKind::BalloonDown:
      return "balloon_down";
    case TraceEventKind::Reboot:
      return "reboot";
    case TraceEventKind::ChangeGroup:
      return "change_group";
    case TraceEventKind::Terminate:
      return "terminate";
  }
  return "unknown";
}

void TraceChecker::resize(std::uint64_t& held, std::uint64_t bytes) {
  in_use_ -= scaled(ByteCount(held), memory_scale_).value();
  in_use_ += scaled(ByteCount(bytes), memory_scale_).value();
  held = bytes;
  peak_ = std::max(peak_, ByteCount(in_use_));
}

std::optional<TraceProblem> TraceChecker::add(const TraceEvent& event) {
  if (event.time_ms < last_time_ms_) {
    return TraceProblem{"time_s", fmt::format("a time of at least {}.{:03}, that of the line before",
                                              last_time_ms_ / 1000, last_time_ms_ % 1000)};
  }
  std::optional<TraceProblem> problem;
  switch (event.kind) {
    case TraceEventKind::CreateGroup:
      problem = add_create_group(event);
      break;
    case TraceEventKind::CreatePool:
    case TraceEventKind::DestroyPool:
      problem = add_pool_event(event);
      break;
    case TraceEventKind::Create:
      problem = add_create(event);
      break;
    case TraceEventKind::BalloonUp:
    case TraceEventKind::BalloonDown:
    case TraceEventKind::Reboot:
    case TraceEventKind::ChangeGroup:
    case TraceEventKind::Terminate:
      problem = add_vm_event(event);
      break;
  }
  if (!problem) last_time_ms_ = event.time_ms;
  return problem;
}

std::optional<TraceProblem> TraceChecker::add_pool_event(const TraceEvent& event) {
  if (!event.pool.is_set()) return TraceProblem{"pool", "a pool id from 1"};
  const auto found = pools_.find(event.pool);
  if (event.kind == TraceEventKind::CreatePool) {
    if (found != pools_.end()) return TraceProblem{"pool", "a new pool id: ids are never used again"};
    if (!event.customer.is_set()) return TraceProblem{"customer", "a customer id from 1"};
    if (event.bytes == ByteCount(0)) return TraceProblem{"bytes", "a size above 0"};
    Pool& pool = pools_[event.pool];
    pool.customer = event.customer;
    resize(pool.bytes, event.bytes.value());
    return std::nullopt;
  }
  if (found == pools_.end() || !found->second.alive) return TraceProblem{"pool", "a pool that exists"};
  if (found->second.vms > 0) {
    return TraceProblem{"pool", fmt::format("a pool without VMs, this one has {}", found->second.vms)};
  }
  found->second.alive = false;
  resize(found->second.bytes, 0);
  return std::nullopt;
}

std::optional<TraceProblem> TraceChecker::add_create_group(const TraceEvent& event) {
  if (!event.group.is_set()) return TraceProblem{"group", "a trust group id from 1"};
  if (groups_.contains(event.group)) return TraceProblem{"group", "a new trust group id: ids are never used again"};
  if (!event.customer.is_set()) return TraceProblem{"customer", "a customer id from 1"};
  if (event.inside.is_set()) {
    const auto larger = groups_.find(event.inside);
    if (larger == groups_.end()) return TraceProblem{"inside", "a trust group that exists"};
    if (larger->second.inside) return TraceProblem{"inside", "a trust group that does not lie inside another one"};
    if (auto problem = check_group(event.inside, event.customer)) return TraceProblem{"inside", problem->expected};
  }
  groups_[event.group] = {event.customer, event.inside.is_set()};
  return std::nullopt;
}

std::optional<TraceProblem> TraceChecker::check_group(TrustGroupId group, CustomerId customer) {
  if (!group.is_set()) return std::nullopt;
  const CustomerId owner = groups_.emplace(group, Group{customer}).first->second.customer;
  if (owner == customer) return std::nullopt;
  return TraceProblem{
      "group", fmt::format("a trust group of customer {}, this one is customer {}'s", customer.value(), owner.value())};
}

std::optional<TraceProblem> TraceChecker::add_create(const TraceEvent& event) {
  if (!event.vm.is_set()) return TraceProblem{"vm", "a VM id from 1"};
  if (vms_.contains(event.vm)) return TraceProblem{"vm", "a new VM id: ids are never used again"};
  if (!event.customer.is_set()) return TraceProblem{"customer", "a customer id from 1"};
  if (event.bytes == ByteCount(0)) return TraceProblem{"bytes", "a size above 0"};
  if (event.pool.is_set()) {
    const auto pool = pools_.find(event.pool);
    if (pool == pools_.end() || !pool->second.alive) return TraceProblem{"pool", "a pool that exists"};
    if (pool->second.customer != event.customer) {
      return TraceProblem{"pool", fmt::format("a pool of customer {}, this one is customer {}'s",
                                              event.customer.value(), pool->second.customer.value())};
    }
  }
  if (auto problem = check_group(event.group, event.customer)) return problem;
  if (event.pool.is_set()) ++pools_[event.pool].vms;
  Vm& vm = vms_[event.vm];
  vm.customer = event.customer;
  vm.pool = event.pool;
  resize(vm.bytes, event.bytes.value());
  return std::nullopt;
}

std::optional<TraceProblem> TraceChecker::add_vm_event(const TraceEvent& event) {
  const auto found = vms_.find(event.vm);
  if (found == vms_.end() || !found->second.alive) return TraceProblem{"vm", "a VM that runs"};
  Vm& vm = found->second;
  switch (event.kind) {
    case TraceEventKind::BalloonUp:
      if (event.bytes == ByteCount(0)) return TraceProblem{"bytes", "a size above 0"};
      resize(vm.bytes, vm.bytes + event.bytes.value());
      return std::nullopt;
    case TraceEventKind::BalloonDown:
      if (event.bytes == ByteCount(0) || event.bytes.value() >= vm.bytes) {
        return TraceProblem{"bytes", fmt::format("a size above 0 and below the VM's {} bytes", vm.bytes)};
      }
      resize(vm.bytes, vm.bytes - event.bytes.value());
      return std::nullopt;
    case TraceEventKind::Reboot:
      if (event.bytes == ByteCount(0)) return TraceProblem{"bytes", "the VM's size after the reboot, above 0"};
      resize(vm.bytes, event.bytes.value());
      return std::nullopt;
    case TraceEventKind::ChangeGroup:
      return check_group(event.group, vm.customer);
    case TraceEventKind::Terminate:
      vm.alive = false;
      resize(vm.bytes, 0);
      if (vm.pool.is_set()) --pools_[vm.pool].vms;
      return std::nullopt;
    case TraceEventKind::CreateGroup:
    case TraceEventKind::CreatePool:
    case TraceEventKind::DestroyPool:
    case TraceEventKind::Create:
      break;
  }
  return std::nullopt;
}

}  // namespace sluice::inline workload
