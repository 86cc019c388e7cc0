// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/trace.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sluice/base/limits.hpp"

namespace sluice::inline workload {
namespace {

constexpr std::uint64_t kMostInUse = 1ULL << 62;  // bytes of a trace at one time: sums do not wrap

}  // namespace

ByteCount scaled(ByteCount bytes, std::uint64_t memory_scale, ByteCount page) {
  const std::uint64_t unit = page.value() * memory_scale;
  return ByteCount((bytes.value() / unit + (bytes.value() % unit != 0 ? 1 : 0)) * page.value());
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

std::optional<TraceProblem> TraceChecker::check_sum(std::uint64_t before, std::uint64_t after) const {
  const std::uint64_t more = in_pool(std::max(before, after)) - in_pool(before);
  if (more <= kMostInUse - in_use_) return std::nullopt;
  return TraceProblem{"bytes", fmt::format("a size that leaves all VMs and pools together, of {} bytes, at most {}",
                                           in_use_, kMostInUse)};
}

void TraceChecker::move(std::uint64_t bytes) { moved_ = std::min<std::uint64_t>(moved_ + bytes, ~0ULL >> 2); }

/// What a VM asks for comes from its own pool first, and counts once.
void TraceChecker::resize_vm(Vm& vm, std::uint64_t bytes) {
  std::uint64_t before = in_pool(vm.bytes);
  const std::uint64_t after = in_pool(bytes);
  move(std::max(before, after));
  vm.bytes = bytes;
  std::uint64_t none = 0;
  std::uint64_t& free = vm.pool.is_set() ? pools_[vm.pool].free : none;
  in_use_ += after - before;
  peak_ = std::max(peak_, ByteCount(in_use_));
  if (after > before) {
    const std::uint64_t from_pool = std::min(free, after - before);
    free -= from_pool;
    vm.pieces.push_back({from_pool, true});
    vm.pieces.push_back({after - before - from_pool, false});
    least_in_use_ += after - before - from_pool;
  }
  while (before > after) {
    Piece& last = vm.pieces.back();
    const std::uint64_t given_back = std::min(last.bytes, before - after);
    (last.from_pool ? free : least_in_use_) += last.from_pool ? given_back : 0 - given_back;
    last.bytes -= given_back;
    before -= given_back;
    if (last.bytes == 0) vm.pieces.pop_back();
  }
  least_ = std::max(least_, ByteCount(least_in_use_));
}

void TraceChecker::resize_pool(Pool& pool, std::uint64_t bytes) {
  in_use_ += in_pool(bytes) - in_pool(pool.bytes);
  least_in_use_ += in_pool(bytes) - in_pool(pool.bytes);
  move(std::max(in_pool(bytes), in_pool(pool.bytes)));
  pool.free = in_pool(bytes);
  pool.bytes = bytes;
  peak_ = std::max(peak_, ByteCount(in_use_));
  least_ = std::max(least_, ByteCount(least_in_use_));
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
    if (auto problem = check_sum(0, event.bytes.value())) return problem;
    Pool& pool = pools_[event.pool];
    pool.customer = event.customer;
    resize_pool(pool, event.bytes.value());
    return std::nullopt;
  }
  if (found == pools_.end() || !found->second.alive) return TraceProblem{"pool", "a pool that exists"};
  if (found->second.vms > 0) {
    return TraceProblem{"pool", fmt::format("a pool without VMs, this one has {}", found->second.vms)};
  }
  found->second.alive = false;
  resize_pool(found->second, 0);
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
  if (auto problem = check_sum(0, event.bytes.value())) return problem;
  if (auto problem = check_group(event.group, event.customer)) return problem;
  if (event.pool.is_set()) ++pools_[event.pool].vms;
  Vm& vm = vms_[event.vm];
  vm.customer = event.customer;
  vm.pool = event.pool;
  resize_vm(vm, event.bytes.value());
  return std::nullopt;
}

std::optional<TraceProblem> TraceChecker::add_vm_event(const TraceEvent& event) {
  const auto found = vms_.find(event.vm);
  if (found == vms_.end() || !found->second.alive) return TraceProblem{"vm", "a VM that runs"};
  Vm& vm = found->second;
  switch (event.kind) {
    case TraceEventKind::BalloonUp:
      if (event.bytes == ByteCount(0) || event.bytes.value() > limits::kTraceBytes.max - vm.bytes) {
        return TraceProblem{"bytes", fmt::format("a size above 0 that leaves the VM, of {} bytes now, at most {}",
                                                 vm.bytes, limits::kTraceBytes.max)};
      }
      if (auto problem = check_sum(vm.bytes, vm.bytes + event.bytes.value())) return problem;
      resize_vm(vm, vm.bytes + event.bytes.value());
      return std::nullopt;
    case TraceEventKind::BalloonDown:
      if (event.bytes == ByteCount(0) || event.bytes.value() >= vm.bytes) {
        return TraceProblem{"bytes", fmt::format("a size above 0 and below the VM's {} bytes", vm.bytes)};
      }
      resize_vm(vm, vm.bytes - event.bytes.value());
      return std::nullopt;
    case TraceEventKind::Reboot:
      if (event.bytes == ByteCount(0)) return TraceProblem{"bytes", "the VM's size after the reboot, above 0"};
      if (auto problem = check_sum(vm.bytes, event.bytes.value())) return problem;
      resize_vm(vm, event.bytes.value());
      return std::nullopt;
    case TraceEventKind::ChangeGroup:
      return check_group(event.group, vm.customer);
    case TraceEventKind::Terminate:
      vm.alive = false;
      resize_vm(vm, 0);
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
