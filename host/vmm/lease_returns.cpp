// SPDX-License-Identifier: Apache-2.0
// How memory comes back from VMs: who still has it is looked at again and again, until nobody has.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lease.hpp"

namespace sluice::inline vmm {

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
  returned_(lease.facts.id.vm, number, false);
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
  const std::vector<LeasedBrick> bricks = lease.facts.bricks;
  const auto return_all = [&](bool reserved) {
    for (const LeasedBrick& brick : bricks) returned_(vm, brick.number, reserved);
  };
  if (!lease.reboots) {
    if (auto ended = end_vm_(vm); !ended) return ended;
    leases_.erase(vm);
    return_all(false);
    return {};
  }
  if (auto begun = manager_->begin_reboot(vm); !begun) return begun;
  return_all(true);
  come_to(lease, LeaseState::Reserved);
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
    come_to(lease, LeaseState::Quarantined);
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
