// SPDX-License-Identifier: Apache-2.0
// How claims end, and what a grant may hold.
#include <algorithm>

#include "world.hpp"

namespace sluice::world {

/// A claim has ended, as a handler says; what it was. nullopt: there is nothing more to do.
std::optional<World::Claim> World::ended(std::uint64_t number, const std::optional<Error>& error) {
  if (!ending_) follow_rules();
  const auto found = claims_.find(number);
  if (found == claims_.end()) {
    check(false, "a claim ended twice");
    return std::nullopt;
  }
  const Claim claim = found->second;
  claims_.erase(found);
  if (claim.vm != 0) --vms_.at(claim.vm).claims;
  if (ending_) {
    check(error && error->code == HostErrc::Abandoned, "a claim of a manager that is gone was not abandoned");
    return std::nullopt;
  }
  look_for_losses();
  check(polling_ > 0, "a handler was called outside of a poll");
  if (!error) {
    check(!claim.abandoned, "an abandoned claim was granted");
    return claim;
  }
  const auto code = error->code;
  const bool engine_failed = engine_->dead() || engine_->lied() || stopped_;
  check(code != HostErrc::Abandoned || claim.abandoned, "a claim was abandoned by nobody");
  check(code != HostErrc::ScrubUnavailable || engine_failed || claim.losses != losses_,
        "a claim found no engine, and there is one: {}", error->message);
  check(code != HostErrc::OutOfMemory || claim.losses != losses_ || claim.changes != changes_ || claim.has_rivals,
        "a claim that was accepted ended: {}", error->message);
  return claim;
}

void World::notified(std::uint64_t number, const Result<sluice::Grant>& result) {
  const auto claim = ended(number, result ? std::nullopt : std::optional(result.error()));
  if (!claim) return;
  if (result) {
    ++claims_granted_;
    Vm& vm = vms_.at(claim->vm);
    std::size_t pages = 0;
    std::size_t recycled = 0;
    for (const GrantedRange& range : result->ranges) {
      const std::size_t before = pages;
      pages += range.memory.size() / page_length(vm.kind).value();
      check_range(*claim, vm, range, recycled);
      check(pages > before, "a range of {} bytes was granted", range.memory.size());
    }
    check(pages == claim->pages, "a claim of {} pages got {}", claim->pages, pages);
    check_order(number, *claim, *result);
    check_own_pool_first(*claim, vm, *result);
    check_own_memory_first(*claim, vm, recycled);
  }
  if (claim->then.a % 4 == 0) act_in_handler({claim->then.act, claim->then.b, claim->then.c, claim->then.a / 4});
}

/// The scrubs that were done for a claim, by when the engine got them.
void World::check_order(std::uint64_t number, const Claim& claim, const sluice::Grant& grant) {
  if (!claim.had_room || claim.losses != losses_ || claim.changes != changes_) return;
  std::uint64_t first = ~0ULL;
  std::uint64_t last = 0;
  for (const GrantedRange& range : grant.ranges) {
    const std::size_t begin = page_of(range.memory.data());
    const std::size_t end = page_of(range.memory.data() + range.memory.size());
    for (std::size_t page = begin; page < end; ++page) {
      const std::uint64_t job = engine_->urgent(page);
      if (range.recycled || claim.busy[page] || job <= claim.jobs) continue;
      first = std::min(first, job);
      last = std::max(last, job);
    }
  }
  if (last == 0) return;
  if (const auto wrong = order_.granted(number, first, last)) check(false, "{}", *wrong);
}

/// One range of a grant, and the VM uses it.
void World::check_range(const Claim& claim, const Vm& vm, const GrantedRange& range, std::size_t& recycled) {
  Vm& user = vms_.at(vm.who.vm);
  const bool fresh = vm.scrub.timing == ScrubTiming::BeforeGrant || vm.scrub.timing == ScrubTiming::Both;
  const std::size_t first = page_of(range.memory.data());
  const std::size_t end = page_of(range.memory.data() + range.memory.size());
  bool unseen = true;
  const Pages under_test = this->under_test();
  for (std::size_t page = first; page < end; ++page) {
    check(holder_[page] == 0, "page {} of VM {} was granted to VM {}", page, holder_[page], vm.who.vm);
    check(!memory_.bad(page), "page {} is bad and was granted", page);
    check(!under_test[page], "page {} was granted while it was tested", page);
    for (const WorldEngine::Job& job : engine_->jobs()) {
      check(page < job.first_page || page >= job.first_page + job.pages,
            "page {} was granted while the engine writes it", page);
    }
    const Layout::Part& part = layout_.part_of(page);
    check(part.kind == vm.kind, "page {} has another length than VM {}'s", page, vm.who.vm);
    check(!vm.placement.only_node || part.node == *vm.placement.node, "page {} is on another node", page);
    const DedicatedPoolId pool = manager_->extents().lineage(*manager_->extents().find(range.memory.data())).pool;
    check(!pool.is_set() || pool.value() == vm.who.pool || claim.kept[page], "page {} is of pool {}, and not VM {}",
          page, pool.value(), vm.who.vm);
    memory_.belongs(page, pool.value(), vm.who.vm);
    if (!vm.seen[page]) check_may_have(vm, page);
    unseen = unseen && !vm.seen[page];
    if (range.recycled) {
      ++recycled;
    } else {
      check(memory_.holds_only(page, range.pattern), "page {} is not what it is said to be", page);
      // A scrub that ran when the claim came is one that it needs, and some of that was done by then.
      check(!fresh || vm.seen[page] || memory_.reported(page) >= claim.step || claim.busy[page],
            "page {} was not scrubbed anew", page);
    }
    holder_[page] = vm.who.vm;
    user.pages.set(page);
    held_ += ByteCount(layout_.bytes(page, 1));
    memory_.write(page, vm.who, (page + claim.step) % 3 != 0);
  }
  if (range.recycled && unseen) check_permission(vm, range);
  for (std::size_t page = first; page < end; ++page) user.seen.reset(page);
}

}  // namespace sluice::world
