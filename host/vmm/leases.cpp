// SPDX-License-Identifier: Apache-2.0
#include "sluice/vmm/leases.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "lease.hpp"

namespace sluice::inline vmm {

std::string_view to_string(LeaseState state) {
  switch (state) {
    case LeaseState::Waiting:
      return "waiting";
    case LeaseState::Running:
      return "running";
    case LeaseState::Ending:
      return "ending";
    case LeaseState::Quarantined:
      return "quarantined";
    case LeaseState::Reserved:
      return "reserved";
  }
  return "unknown";
}

Leases::Leases(MemoryManager& manager, const BackingMemory& memory, BrickAccess& access, EndVm end_vm,
               const LeaseOptions& options)
    : manager_(&manager), bricks_(memory.bricks()), access_(&access), end_vm_(std::move(end_vm)), options_(options) {
  for (std::uint32_t number = 0; number < bricks_.size(); ++number) {
    by_address_.emplace(bricks_[number].memory.data(), number);
  }
}

Leases::~Leases() = default;

Result<void> Leases::take_free_bricks() {
  std::set<std::uint32_t> held;
  for (const auto& [vm, lease] : leases_) {
    for (const LeasedBrick& brick : lease.facts.bricks) held.insert(brick.number);
  }
  for (std::uint32_t number = 0; number < bricks_.size(); ++number) {
    if (!bricks_[number].whole || held.contains(number)) continue;
    const auto taken = access_->take(bricks_[number]);
    if (!taken) return taken.error();
    if (!*taken) {
      const auto holders = access_->holders(bricks_[number]);
      return Error{HostErrc::WrongState,
                   fmt::format("brick {} belongs to no VM, and is open or mapped by {}: end them, and try again",
                               number, holders ? to_string(*holders) : holders.error().message)};
    }
  }
  return {};
}

Result<void> Leases::acquire(VmId vm, ByteCount length, bool filtered, LeaseHandler handler) {
  const auto found = leases_.find(vm);
  const bool comes_back = found != leases_.end() && found->second.facts.state == LeaseState::Reserved;
  if (found != leases_.end() && !comes_back) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} has a lease already, which is {}: it can have another one when that is over",
                             vm.value(), to_string(found->second.facts.state))};
  }
  GrantHandler granted = [this, vm, handler = std::move(handler)](Result<Grant> grant) {
    this->granted(vm, std::move(grant), handler);
  };
  auto claim = comes_back ? manager_->finish_reboot(vm, length, std::move(granted))
                          : manager_->allocate(vm, length, std::move(granted));
  if (!claim) return claim.error();
  Lease& lease = leases_[vm];
  const std::uint64_t epoch = lease.facts.id.epoch + 1;
  lease = Lease{};
  lease.facts.id = {vm, epoch};
  lease.facts.filtered = filtered;
  lease.claim = *claim;
  return {};
}

void Leases::abandon(VmId vm) {
  const auto found = leases_.find(vm);
  if (found == leases_.end() || !found->second.claim) return;
  found->second.abandoned = true;
  manager_->abandon(*found->second.claim);
}

void Leases::come_to(Lease& lease, LeaseState state) {
  if (std::exchange(lease.facts.state, state) != state) changed_(lease.facts.id.vm, state);
}

Result<Leases::Lease*> Leases::running(LeaseId id) {
  const auto found = leases_.find(id.vm);
  if (found == leases_.end() || found->second.facts.id != id) {
    return Error{HostErrc::UnknownId,
                 fmt::format("VM {} has no lease of epoch {}: it has ended, or never was", id.vm.value(), id.epoch)};
  }
  if (found->second.facts.state != LeaseState::Running) {
    return Error{HostErrc::WrongState, fmt::format("the lease of VM {} is {}, not running", id.vm.value(),
                                                   to_string(found->second.facts.state))};
  }
  return &found->second;
}

Result<void> Leases::grow(LeaseId id, ByteCount length, LeaseHandler handler) {
  auto lease = running(id);
  if (!lease) return lease.error();
  if ((*lease)->claim) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} waits for more memory already: ask again when it has that", id.vm.value())};
  }
  auto claim = manager_->allocate(id.vm, length, [this, vm = id.vm, handler = std::move(handler)](Result<Grant> grant) {
    granted(vm, std::move(grant), handler);
  });
  if (!claim) return claim.error();
  (*lease)->claim = *claim;
  (*lease)->abandoned = false;
  return {};
}

Result<void> Leases::give_back(LeaseId id, std::span<const std::uint32_t> bricks, ReturnHandler handler) {
  auto lease = running(id);
  if (!lease) return lease.error();
  if ((*lease)->giving_back) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} gives bricks back already: go on when those are back", id.vm.value())};
  }
  std::set<std::uint32_t> held;
  for (const LeasedBrick& brick : (*lease)->facts.bricks) held.insert(brick.number);
  for (const std::uint32_t number : bricks) {
    if (held.erase(number) == 0) {
      return Error{HostErrc::NotHeld, fmt::format("VM {} does not hold brick {}, or gives it back twice: give the "
                                                  "numbers of its lease",
                                                  id.vm.value(), number)};
    }
  }
  (*lease)->giving_back = Return{{bricks.begin(), bricks.end()}, std::move(handler)};
  look_at_once(**lease);
  return {};
}

Result<void> Leases::process_ended(VmId vm, bool reboots) {
  const auto found = leases_.find(vm);
  if (found == leases_.end()) {
    return Error{HostErrc::UnknownId, fmt::format("VM {} has no lease", vm.value())};
  }
  Lease& lease = found->second;
  switch (lease.facts.state) {
    case LeaseState::Waiting:
      abandon(vm);
      return {};
    case LeaseState::Running:
      abandon(vm);
      come_to(lease, LeaseState::Ending);
      lease.reboots = reboots;
      look_at_once(lease);
      return {};
    case LeaseState::Ending:
    case LeaseState::Quarantined:
    case LeaseState::Reserved:
      break;
  }
  return Error{HostErrc::WrongState, fmt::format("the lease of VM {} is {}: its process has ended before", vm.value(),
                                                 to_string(lease.facts.state))};
}

Result<void> Leases::give_up(VmId vm) {
  const auto found = leases_.find(vm);
  if (found == leases_.end()) return Error{HostErrc::UnknownId, fmt::format("VM {} has no lease", vm.value())};
  if (found->second.facts.state != LeaseState::Reserved) {
    return Error{HostErrc::WrongState, fmt::format("the lease of VM {} is {}, and only a reservation can be given up",
                                                   vm.value(), to_string(found->second.facts.state))};
  }
  if (auto ended = end_vm_(vm); !ended) return ended;
  leases_.erase(found);
  return {};
}

Result<void> Leases::restore(LeaseId id, const Grant& grant, bool filtered) {
  if (leases_.contains(id.vm)) {
    return Error{HostErrc::WrongState, fmt::format("VM {} has a lease already", id.vm.value())};
  }
  Lease lease;
  lease.facts.id = id;
  lease.facts.state = manager_->reboots(id.vm) ? LeaseState::Reserved : LeaseState::Running;
  lease.facts.filtered = filtered;
  for (const GrantedRange& range : grant.ranges) {
    const auto found = by_address_.find(range.memory.data());
    if (found == by_address_.end() || !bricks_[found->second].whole ||
        bricks_[found->second].memory.size() != range.memory.size()) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("VM {} holds {} bytes that are no whole brick: its memory is not leased", id.vm.value(),
                               range.memory.size())};
    }
    lease.facts.bricks.push_back({found->second, length_of(range.memory), range.recycled, range.reason});
  }
  leases_.emplace(id.vm, std::move(lease));
  return {};
}

std::optional<LeaseFacts> Leases::find(VmId vm) const {
  const auto found = leases_.find(vm);
  if (found == leases_.end()) return std::nullopt;
  return found->second.facts;
}

std::vector<LeaseFacts> Leases::all() const {
  std::vector<LeaseFacts> facts;
  for (const auto& [vm, lease] : leases_) facts.push_back(lease.facts);
  return facts;
}

/// A descriptor for each brick of the grant, whose bricks are in the lease already. An error leaves none open.
Result<std::vector<int>> Leases::open(const std::vector<LeasedBrick>& bricks) {
  std::vector<int> descriptors;
  for (const LeasedBrick& brick : bricks) {
    auto opened = access_->open(bricks_[brick.number]);
    if (!opened) {
      for (const int fd : descriptors) ::close(fd);
      return opened.error();
    }
    descriptors.push_back(*opened);
  }
  return descriptors;
}

void Leases::granted(VmId vm, Result<Grant> grant, const LeaseHandler& handler) {
  Lease& lease = leases_.at(vm);
  lease.claim.reset();
  const bool starts = lease.facts.state == LeaseState::Waiting;
  std::vector<LeasedBrick> bricks;
  if (grant) {
    for (const GrantedRange& range : grant->ranges) {
      bricks.push_back({by_address_.at(range.memory.data()), length_of(range.memory), range.recycled, range.reason});
    }
    lease.facts.bricks.insert(lease.facts.bricks.end(), bricks.begin(), bricks.end());
  }
  std::optional<Error> error;
  std::vector<int> descriptors;
  if (!grant) {
    error = grant.error();
  } else if (lease.abandoned || lease.ends()) {
    error = Error{HostErrc::Abandoned, fmt::format("VM {} has gone before it got its memory", vm.value())};
  } else if (auto opened = open(bricks); !opened) {
    error = opened.error();
  } else {
    descriptors = std::move(*opened);
  }
  if (!error) {
    if (starts) come_to(lease, LeaseState::Running);
    handler(LeaseGrant{lease.facts.id, std::move(bricks), std::move(descriptors)});
    return;
  }
  if (starts) {
    come_to(lease, LeaseState::Ending);
    look_at_once(lease);
    look(vm);
  } else if (grant && !lease.ends()) {
    take_unseen(lease, bricks);
  }
  handler(*error);
}

}  // namespace sluice::inline vmm
