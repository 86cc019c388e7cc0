// SPDX-License-Identifier: Apache-2.0
// What the parts of a claim need until all of it can be handed over, and how it ends.
#include "claims.hpp"
#include "errors.hpp"
#include "sluice/base/enforce.hpp"

namespace sluice::inline manager {

/// Does what each part needs next, and grants when no part needs anything any more.
void Claims::advance(Pending& pending) {
  if (pending.unsettled > 0 || pending.held < pending.claim.length) return;
  if (pending.claim.vm.is_set()) tenants_.set_groups(pending.claim);
  if (!keeps_enough(pending)) return;
  bool ready = true;
  for (ClaimPart& part : pending.parts) ready &= prepare(pending, part);
  if (ready) {
    if (auto room = table_.make_room(1); !room) {
      finish(pending.id, room.error());
    } else {
      grant(pending);
    }
    return;
  }
  pending.waited = true;
  if (const auto fault = scrubber_.fault()) finish(pending.id, errors::scrub_unavailable(*fault));
}

/// Returns reserved memory that another VM has lent. False: the claim is short of memory again.
template <class Which>
bool Claims::keeps_enough_without(Pending& pending, Which which) {
  std::erase_if(pending.parts, [&](const ClaimPart& part) {
    Extent& extent = *part.extent;
    if (extent.state() != ExtentState::Reserved || !which(extent)) return false;
    pending.held -= extent.length();
    table_.unclaim(extent);
    holdings_.returned(extent);
    return true;
  });
  if (pending.held >= pending.claim.length) return true;
  waiting_.insert(pending.id);
  return false;
}

/// What the claim may not have any more goes back.
bool Claims::keeps_enough(Pending& pending) {
  return keeps_enough_without(pending, [&](const Extent& extent) {
    return !RecyclePolicy::decide(table_.lineage(extent), pending.claim).recycle;
  });
}

void Claims::return_loans(VmId lender) {
  for (auto& [id, pending] : pending_) {
    if (pending.claim.vm == lender) continue;
    static_cast<void>(
        keeps_enough_without(pending, [&](const Extent& extent) { return table_.holder(extent) == lender; }));
  }
}

/// Whether this part can be handed over. If not, the engine has been asked for what is missing.
bool Claims::prepare(Pending& pending, ClaimPart& part) {
  Extent& extent = *part.extent;
  const Decision decision = RecyclePolicy::decide(table_.lineage(extent), pending.claim);
  const ScrubTiming timing = pending.claim.scrub.timing;
  const bool wants_fresh = timing == ScrubTiming::BeforeGrant || timing == ScrubTiming::Both;
  const auto scrub_because = [&](Reason reason) {
    part.scrubbed_because = reason;
    wait_for(pending, extent);
    scrubber_.request_urgent(extent, fill_of(pending.claim.scrub));
    return false;
  };
  switch (extent.state()) {
    case ExtentState::Clean:
      if (!wants_fresh || part.scrubbed_because) return true;
      return scrub_because(Reason::BeforeGrant);
    case ExtentState::Reserved:
    case ExtentState::Dirty:
      if (decision.recycle) return true;
      enforce(extent.state() == ExtentState::Dirty, "memory is reserved only for the VM that may have it back");
      return scrub_because(decision.reason);
    case ExtentState::Scrubbing:
      wait_for(pending, extent);
      if (decision.recycle) {
        scrubber_.cancel(extent);
      } else {
        part.scrubbed_because = decision.reason;
      }
      return false;
    case ExtentState::Owned:
    case ExtentState::Cancelling:
    case ExtentState::Quarantined:
      break;
  }
  enforce(false, "a claim waits only for memory that it can get");
  return false;
}

void Claims::wait_for(Pending& pending, Extent& extent) {
  working_[&extent] = {pending.id, true};
  ++pending.unsettled;
}

void Claims::let_go(Extent& extent) {
  if (!extent.is_claimed()) {
    table_.coalesce(extent);
    return;
  }
  const auto working = working_.extract(&extent);
  if (working.empty()) {
    take_piece(extent);
    return;
  }
  Pending& pending = pending_.at(working.mapped().claim);
  if (working.mapped().awaited) --pending.unsettled;
  if (pending.test) {
    go_on(pending, extent, working.mapped().patterns_held);
    end_if_tested(pending);
  } else {
    advance(pending);
  }
}

/// The claim looks for other memory in its turn; a test goes on with what is not in quarantine.
void Claims::scrub_failed(Extent& extent) {
  if (!break_up(extent)) static_cast<void>(drop_part(extent));
}

void Claims::scrub_refused(Extent& extent, const Error& why) {
  Pending* const pending = drop_part(extent);
  if (pending != nullptr) finish(pending->id, errors::scrub_unavailable(why));
}

/// A claim's part is lost. nullptr: no claim had it.
Claims::Pending* Claims::drop_part(Extent& extent) {
  const auto working = working_.extract(&extent);
  if (working.empty()) return nullptr;
  Pending& pending = pending_.at(working.mapped().claim);
  if (working.mapped().awaited) --pending.unsettled;
  std::erase_if(pending.parts, [&](const ClaimPart& part) { return part.extent == &extent; });
  pending.held -= extent.length();
  table_.unclaim(extent);
  waiting_.insert(pending.id);
  return &pending;
}

void Claims::grant(Pending& pending) {
  Grant grant{pending.id, pending.claim.vm, {}, pending.waited};
  ByteCount missing = pending.claim.length;
  for (const ClaimPart& part : pending.parts) {
    Extent& extent = *part.extent;
    if (extent.length() > missing) {
      Extent& excess = table_.split(extent, missing);
      table_.unclaim(excess);
      table_.coalesce(excess);
    }
    missing -= extent.length();
    if (pending.claim.kind == ClaimKind::Pool) {
      enforce(extent.state() == ExtentState::Clean, "only clean memory joins a pool");
      table_.move_to_pool(extent, pending.claim.pool);
      table_.unclaim(extent);
      table_.coalesce(extent);
    } else {
      grant.ranges.push_back(hand_over(table_, pending.claim, part, statistics_));
    }
  }
  enforce(missing == ByteCount(0), "a grant is as long as its claim");
  if (pending.claim.kind == ClaimKind::Pool) tenants_.set_ready(pending.claim.pool);
  pending.parts.clear();
  pending.held = pending.claim.length;
  finish(pending.id, std::move(grant));
}

/// Ends a pending claim; its user is notified by the next poll().
void Claims::finish(ClaimId id, Result<Grant> result) {
  const auto found = pending_.find(id);
  Pending& pending = found->second;
  const Claim& claim = pending.claim;
  give_back(pending);
  waiting_.erase(id);
  if (claim.kind == ClaimKind::Pool && !tenants_.pools().at(claim.pool).ready) {
    tenants_.end_pool(claim.pool);
    if (ledger_ != nullptr) ledger_->forget(claim.pool);
  }
  // A VM that has been granted anything runs with it, whichever of its claims that was.
  const bool back = claim.kind == ClaimKind::Reboot || (claim.kind == ClaimKind::Grow && result);
  if (back && ledger_ != nullptr) ledger_->set_rebooting(claim.vm, false);
  if (claim.kind == ClaimKind::Reboot && !result) holdings_.release_reserved(claim.vm, Holdings::Keep::Nothing);
  notify(pending, std::move(result));
  pending_.erase(found);
}

void Claims::notify(Pending& pending, Result<Grant> result) {
  if (pending.claim.by_rule) {
    pending.pool_handler(result ? Result<void>() : Result<void>(result.error()));
    return;
  }
  Notifications::Ended ended{
      pending.claim, std::move(pending.grant_handler), std::move(pending.pool_handler), {}, {}, std::move(result)};
  if (pending.test) {
    ended.test_handler = std::move(pending.test->handler);
    ended.report = std::move(pending.test->report);
  }
  notifications_.add(std::move(ended));
}

/// Gives back what was taken and not granted. Scrubs that run go on; cancels that were asked for stand.
void Claims::give_back(Pending& pending) {
  // The last first: what waits for its scrub again is put before what was released after it.
  for (auto part = pending.parts.rbegin(); part != pending.parts.rend(); ++part) {
    Extent& extent = *part->extent;
    scrubber_.withdraw(extent);
    working_.erase(&extent);
    table_.unclaim(extent);
    holdings_.returned(extent);
  }
  pending.parts.clear();
}

}  // namespace sluice::inline manager
