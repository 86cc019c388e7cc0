// SPDX-License-Identifier: Apache-2.0
#include "sluice/vmm/leases.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace sluice::inline vmm {

/// Bricks on their way back from a VM that runs on.
struct Leases::Return {
  std::vector<std::uint32_t> bricks;
  ReturnHandler handler;
};

struct Leases::Lease {
  LeaseFacts facts;
  std::optional<ClaimId> claim;
  bool abandoned = false;  ///< Nobody waits for the claim's memory any more.
  bool reboots = false;    ///< When it has ended.
  std::optional<Return> giving_back;
  std::set<std::uint32_t> taken;    ///< Of the bricks that should come back: those of which we have sole access.
  std::set<std::uint32_t> renewed;  ///< Of those taken.
  std::optional<std::chrono::nanoseconds> since;  ///< The first look.
  std::chrono::nanoseconds pause{0};              ///< Until the next look.
  std::optional<std::chrono::nanoseconds> due;    ///< The next look.

  [[nodiscard]] bool ends() const {
    return facts.state == LeaseState::Ending || facts.state == LeaseState::Quarantined;
  }
};

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
      lease.facts.state = LeaseState::Ending;
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
    if (starts) lease.facts.state = LeaseState::Running;
    handler(LeaseGrant{lease.facts.id, std::move(bricks), std::move(descriptors)});
    return;
  }
  if (starts) {
    lease.facts.state = LeaseState::Ending;
    look_at_once(lease);
    look(vm);
  } else if (grant && !lease.ends()) {
    take_unseen(lease, bricks);
  }
  handler(*error);
}

void Leases::poll(std::chrono::nanoseconds now) {
  now_ = std::max(now_, now);
  std::vector<VmId> due;
  for (const auto& [vm, lease] : leases_) {
    if (lease.due && *lease.due <= now_) due.push_back(vm);
  }
  for (const VmId vm : due) look(vm);
}

std::optional<std::chrono::nanoseconds> Leases::next_look() const {
  std::optional<std::chrono::nanoseconds> next;
  for (const auto& [vm, lease] : leases_) {
    if (lease.due && (!next || *lease.due < *next)) next = lease.due;
  }
  return next;
}

/// Bricks of which nobody was told go back to the manager. What does not is the VM's until it ends.
void Leases::take_unseen(Lease& lease, const std::vector<LeasedBrick>& bricks) {
  for (const LeasedBrick& brick : bricks) {
    const auto taken = access_->take(bricks_[brick.number]);
    if (taken && *taken) static_cast<void>(release(lease, brick.number));
  }
}

void Leases::look_at_once(Lease& lease) {
  lease.since.reset();
  lease.pause = std::chrono::nanoseconds(0);
  lease.due = std::chrono::nanoseconds(0);
  lease.taken.clear();
  lease.renewed.clear();
  next_look_changed_();
}

void Leases::look(VmId vm) {
  const auto found = leases_.find(vm);
  if (found == leases_.end()) return;
  Lease& lease = found->second;
  lease.due.reset();
  if (!lease.since) lease.since = now_;
  if (lease.ends() && lease.giving_back) {
    const ReturnHandler handler = std::move(lease.giving_back->handler);
    lease.giving_back.reset();
    lease.due = now_;
    handler(Error{HostErrc::Abandoned, fmt::format("VM {} has ended", vm.value())});
    return;
  }
  std::vector<std::uint32_t> wanted;
  if (lease.giving_back) {
    wanted = lease.giving_back->bricks;
  } else {
    for (const LeasedBrick& brick : lease.facts.bricks) wanted.push_back(brick.number);
  }
  if (auto obstacle = take(lease, wanted)) {
    look_again(lease, *obstacle);
  } else if (auto finished = finish(lease); !finished) {
    look_again(lease, finished.error());
  }
}

/// Sole access to each of the bricks, renewed where they must be; or what stands in the way.
std::optional<Error> Leases::take(Lease& lease, const std::vector<std::uint32_t>& bricks) {
  std::optional<Error> obstacle;
  for (const std::uint32_t number : bricks) {
    const Brick& brick = bricks_[number];
    if (!lease.taken.contains(number)) {
      const auto taken = access_->take(brick);
      if (!taken) {
        obstacle = taken.error();
        continue;
      }
      if (!*taken) {
        obstacle = Error{HostErrc::WrongState, fmt::format("brick {} is still open or mapped by somebody", number)};
        continue;
      }
      lease.taken.insert(number);
    }
    if (lease.facts.filtered || lease.renewed.contains(number)) continue;
    if (auto renewed = access_->renew(brick); !renewed) {
      obstacle = renewed.error();
    } else {
      lease.renewed.insert(number);
    }
  }
  return obstacle;
}

Result<void> Leases::release(Lease& lease, std::uint32_t number) {
  if (auto released = manager_->release(lease.facts.id.vm, bricks_[number].memory); !released) return released;
  std::erase_if(lease.facts.bricks, [number](const LeasedBrick& brick) { return brick.number == number; });
  lease.taken.erase(number);
  lease.renewed.erase(number);
  return {};
}

/// Nothing stands in the way any more. `lease` may have ended after it.
Result<void> Leases::finish(Lease& lease) {
  const VmId vm = lease.facts.id.vm;
  if (lease.giving_back) {
    std::vector<std::uint32_t>& bricks = lease.giving_back->bricks;
    while (!bricks.empty()) {
      if (auto released = release(lease, bricks.back()); !released) return released;
      bricks.pop_back();
    }
    const ReturnHandler handler = std::move(lease.giving_back->handler);
    lease.giving_back.reset();
    handler({});
    return {};
  }
  if (!lease.reboots) {
    if (auto ended = end_vm_(vm); !ended) return ended;
    leases_.erase(vm);
    return {};
  }
  if (auto begun = manager_->begin_reboot(vm); !begun) return begun;
  lease.facts.state = LeaseState::Reserved;
  lease.facts.bricks.clear();
  lease.facts.holders.clear();
  lease.facts.obstacle.clear();
  return {};
}

void Leases::look_again(Lease& lease, Error obstacle) {
  const bool late = now_ - *lease.since >= options_.patience;
  if (late) {
    name_holders(lease, obstacle);
    if (lease.giving_back) {
      const ReturnHandler handler = std::move(lease.giving_back->handler);
      lease.giving_back.reset();
      handler(std::move(obstacle));
      return;
    }
    lease.facts.state = LeaseState::Quarantined;
    lease.facts.obstacle = std::move(obstacle.message);
    // What nobody else has need not wait for the rest; unless the VM comes back for all of it.
    const std::set<std::uint32_t> taken = lease.facts.filtered ? lease.taken : lease.renewed;
    for (const std::uint32_t number : taken) {
      if (!lease.reboots && !release(lease, number)) break;
    }
  }
  lease.pause = std::clamp(2 * lease.pause, options_.first_look, options_.slowest_look);
  lease.due = now_ + lease.pause;
  if (!late) lease.due = std::min(*lease.due, *lease.since + options_.patience);
  next_look_changed_();
}

/// Who has the bricks that are not taken. Each costs a walk through /proc: not more than a few of them.
void Leases::name_holders(Lease& lease, Error& obstacle) {
  constexpr int kMostWalks = 4;
  int walks = 0;
  std::vector<Holder>& holders = lease.facts.holders;
  holders.clear();
  const auto ask = [&](std::uint32_t number) {
    if (lease.taken.contains(number) || walks++ == kMostWalks) return;
    const auto found = access_->holders(bricks_[number]);
    if (!found) return;
    if (obstacle.code == HostErrc::WrongState) {
      obstacle.message = fmt::format("brick {} is still open or mapped, by {}: end them", number, to_string(*found));
    }
    for (const Holder& holder : *found) {
      const bool known =
          std::ranges::any_of(holders, [&](const Holder& other) { return other.process == holder.process; });
      if (!known) holders.push_back(holder);
    }
  };
  if (lease.giving_back) {
    std::ranges::for_each(lease.giving_back->bricks, ask);
  } else {
    for (const LeasedBrick& brick : lease.facts.bricks) ask(brick.number);
  }
  std::ranges::sort(holders, {}, &Holder::process);
}

}  // namespace sluice::inline vmm
