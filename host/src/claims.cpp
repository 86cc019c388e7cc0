// SPDX-License-Identifier: Apache-2.0
// How a claim becomes a grant: choose memory, earmark it, wait until an engine has let go of each part, hand all over.
#include <fmt/format.h>

#include <algorithm>

#include "complaints.hpp"
#include "enforce.hpp"
#include "memory_choice.hpp"
#include "sluice/host/memory_manager.hpp"

namespace sluice {
namespace {

Error out_of_memory(ByteCount wanted, ByteCount available) {
  return {HostErrc::OutOfMemory, fmt::format("{} bytes were asked for and {} could be granted: release memory, or make "
                                             "the pool larger",
                                             wanted.value(), available.value())};
}

}  // namespace

Error MemoryManager::scrub_unavailable(const Error& fault) {
  return {HostErrc::ScrubUnavailable, "the claim needs a scrub and " + fault.message};
}

Claim MemoryManager::claim_for(const Vm& vm, ClaimKind kind, ByteCount length) const {
  Claim claim;
  claim.kind = kind;
  claim.vm = vm.profile.vm;
  claim.pool = vm.profile.pool;
  claim.customer = vm.profile.customer;
  set_groups(claim);
  claim.allowed = vm.profile.allowed;
  claim.allowed.enabled = claim.allowed.enabled && vm.recycles;
  claim.scrub = vm.profile.scrub;
  claim.length = length;
  return claim;
}

ByteCount MemoryManager::available_for(const Claim& claim) const {
  ByteCount available = table_.free_bytes({});
  if (claim.kind != ClaimKind::Pool && claim.pool.is_set()) available += table_.free_bytes(claim.pool);
  if (claim.kind != ClaimKind::Pool && !claim.allowed.new_memory_after_reboot) {
    available += table_.reserved_for(claim.vm);
  }
  return available;
}

ByteCount MemoryManager::available_to(VmId vm) const {
  const auto found = vms_.find(vm);
  if (found == vms_.end()) return {};
  const ClaimKind kind = found->second.phase == VmPhase::Rebooting ? ClaimKind::Reboot : ClaimKind::Grow;
  return available_for(claim_for(found->second, kind, {}));
}

Result<ClaimId> MemoryManager::allocate(VmId vm, ByteCount length, GrantHandler handler) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  if ((*found)->phase != VmPhase::Running) {
    return Error{HostErrc::WrongState, fmt::format("VM {} reboots: finish that first", vm.value())};
  }
  return start_claim(claim_for(**found, ClaimKind::Grow, length), std::move(handler), {});
}

Result<ClaimId> MemoryManager::finish_reboot(VmId vm, ByteCount length, GrantHandler handler) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  if ((*found)->phase != VmPhase::Rebooting || (*found)->claims > 0) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} does not wait for its memory: begin a reboot first", vm.value())};
  }
  if (auto checked = complaints::check_length(length); !checked) return checked.error();
  const Claim claim = claim_for(**found, ClaimKind::Reboot, length);
  auto started = start_claim(claim, std::move(handler), {});
  if (!started) return started;
  (*found)->phase = VmPhase::Running;
  // Memory that it must not have back is kept from it until it has other memory.
  if (!claim.allowed.new_memory_after_reboot) release_reserved(vm, Keep::ForNextClaim);
  return started;
}

Result<ClaimId> MemoryManager::start_claim(const Claim& claim, GrantHandler grant_handler, PoolHandler pool_handler) {
  if (auto checked = complaints::check_length(claim.length); !checked) return checked.error();
  if (const ByteCount available = available_for(claim); available + coming_back() < claim.length) {
    return out_of_memory(claim.length, available);
  }
  const ClaimId id(next_claim_++);
  Pending& pending = pending_[id];
  pending.id = id;
  pending.claim = claim;
  pending.grant_handler = std::move(grant_handler);
  pending.pool_handler = std::move(pool_handler);
  if (claim.vm.is_set()) ++vms_.at(claim.vm).claims;
  if (claim.kind == ClaimKind::Pool) ++pools_.at(claim.pool).claims;
  choose_or_wait(pending);
  scrubber_.pump();
  return id;
}

/// Memory that is free as soon as an engine lets go of it: what claims have earmarked with it and do not need, and what
/// an abandoned claim had asked to cancel.
ByteCount MemoryManager::coming_back() const {
  ByteCount coming = table_.bytes(ExtentState::Cancelling);
  for (const auto& [id, pending] : pending_) {
    ByteCount needed = pending.claim.length;
    for (const Part& part : pending.parts) {
      const ByteCount used = std::min(needed, part.extent->length());
      needed -= used;
      // A part that is being cancelled was counted above, all of it.
      if (part.extent->state == ExtentState::Cancelling) {
        coming -= used;
      } else {
        coming += part.extent->length() - used;
      }
    }
  }
  return coming;
}

void MemoryManager::choose_or_wait(Pending& pending) {
  pending.lacks_memory = !choose_missing(pending);
  if (!pending.lacks_memory) {
    advance(pending);
    return;
  }
  pending.waited = true;
  ByteCount held;
  for (const Part& part : pending.parts) held += part.extent->length();
  const ByteCount available = held + available_for(pending.claim);
  if (available + coming_back() < pending.claim.length)
    finish(pending.id, out_of_memory(pending.claim.length, available));
}

/// Claims that lack memory, oldest first, look again.
void MemoryManager::retry_waiting() {
  std::vector<ClaimId> waiting;
  for (const auto& [id, pending] : pending_) {
    if (pending.lacks_memory) waiting.push_back(id);
  }
  for (const ClaimId id : waiting) choose_or_wait(pending_.at(id));
}

/// Earmarks memory for what the claim lacks. False: there is not enough; nothing more was earmarked then.
bool MemoryManager::choose_missing(Pending& pending) {
  ByteCount missing = pending.claim.length;
  for (const Part& part : pending.parts) missing -= std::min(missing, part.extent->length());
  if (missing == ByteCount(0)) return true;
  const std::vector<Extent*> chosen = choose_memory(table_, pending.claim, missing);
  ByteCount found;
  for (const Extent* extent : chosen) found += extent->length();
  if (found < missing) return false;
  for (Extent* extent : chosen) take(pending, *extent, missing);
  return true;
}

void MemoryManager::take(Pending& pending, Extent& extent, ByteCount& missing) {
  // What an engine works on is cut when it has let go.
  if (extent.state != ExtentState::Scrubbing && extent.length() > missing) table_.split(extent, missing);
  missing -= std::min(missing, extent.length());
  table_.earmark(extent, pending.id);
  pending.parts.push_back({&extent, std::nullopt, extent.state == ExtentState::Dirty});
}

/// Does what each part needs next, and grants when no part needs anything any more.
void MemoryManager::advance(Pending& pending) {
  if (pending.unsettled > 0 || pending.lacks_memory) return;
  if (pending.claim.vm.is_set()) set_groups(pending.claim);
  bool ready = true;
  for (Part& part : pending.parts) ready &= prepare(pending, part);
  if (ready) {
    grant(pending);
    return;
  }
  pending.waited = true;
  if (const auto fault = scrubber_.fault()) finish(pending.id, scrub_unavailable(*fault));
}

/// Whether this part can be handed over. If not, the engine has been asked for what is missing.
bool MemoryManager::prepare(Pending& pending, Part& part) {
  Extent& extent = *part.extent;
  const Decision decision = RecyclePolicy::decide(extent.owner, pending.claim);
  const ScrubTiming timing = pending.claim.scrub.timing;
  const bool wants_fresh = timing == ScrubTiming::BeforeGrant || timing == ScrubTiming::Both;
  switch (extent.state) {
    case ExtentState::Clean:
      if (!wants_fresh || part.scrubbed_because) return true;
      part.scrubbed_because = Reason::BeforeGrant;
      ++pending.unsettled;
      scrubber_.request_urgent(extent, Fill::of(pending.claim.scrub));
      return false;
    case ExtentState::Reserved:
    case ExtentState::Dirty:
      if (decision.recycle) return true;
      enforce(extent.state == ExtentState::Dirty, "memory is reserved only for the VM that may have it back");
      part.scrubbed_because = decision.reason;
      ++pending.unsettled;
      scrubber_.request_urgent(extent, Fill::of(pending.claim.scrub));
      return false;
    case ExtentState::Scrubbing:
      ++pending.unsettled;
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

/// An engine has let go of an extent.
void MemoryManager::settle(Extent& extent) {
  if (!extent.earmark.is_set()) {
    table_.coalesce(extent);
    return;
  }
  Pending& pending = pending_.at(extent.earmark);
  --pending.unsettled;
  if (extent.state == ExtentState::Quarantined) {
    std::erase_if(pending.parts, [&](const Part& part) { return part.extent == &extent; });
    table_.earmark(extent, {});
    choose_or_wait(pending);
    return;
  }
  advance(pending);
}

void MemoryManager::grant(Pending& pending) {
  Grant grant{pending.id, pending.claim.vm, {}, pending.waited};
  ByteCount missing = pending.claim.length;
  for (const Part& part : pending.parts) {
    Extent& extent = *part.extent;
    if (extent.length() > missing) {
      Extent& rest = table_.split(extent, missing);
      table_.earmark(rest, {});
      table_.coalesce(rest);
    }
    missing -= extent.length();
    if (pending.claim.kind == ClaimKind::Pool) {
      enforce(extent.state == ExtentState::Clean, "only clean memory joins a pool");
      table_.move_to_pool(extent, pending.claim.pool);
      table_.earmark(extent, {});
    } else {
      grant.ranges.push_back(hand_over(pending, part));
    }
  }
  enforce(missing == ByteCount(0), "a grant is as long as its claim");
  if (pending.claim.kind == ClaimKind::Pool) pools_.at(pending.claim.pool).ready = true;
  pending.parts.clear();
  finish(pending.id, std::move(grant));
}

/// The one place where memory changes hands.
GrantedRange MemoryManager::hand_over(const Pending& pending, const Part& part) {
  Extent& extent = *part.extent;
  const Claim& claim = pending.claim;
  const Decision decision = RecyclePolicy::decide(extent.owner, claim);
  const bool clean = extent.state == ExtentState::Clean;
  enforce(clean || decision.recycle, "only clean memory crosses from one trust domain to another");
  if (clean && part.scrubbed_because) {
    statistics_.scrubbed_for_claim[static_cast<std::size_t>(*part.scrubbed_because)] += extent.length();
  } else if (clean) {
    statistics_.granted_clean += extent.length();
  } else {
    statistics_.recycled[static_cast<std::size_t>(decision.reason)] += extent.length();
    if (part.was_queued) statistics_.taken_from_queue += extent.length();
  }
  const Owner owner = clean ? Owner::of(claim) : extent.owner.passed_on_to(claim);
  table_.transition(extent, ExtentEvent::Grant, [&](Extent& changed) {
    changed.owner = owner;
    changed.holder = claim.vm;
    changed.earmark = {};
  });
  const Brick& brick = table_.bricks()[extent.brick];
  return {extent.memory,
          brick.fd,
          static_cast<std::uint64_t>(extent.memory.data() - brick.memory.data()),
          !clean,
          clean ? extent.fill.pattern : 0,
          decision.reason};
}

bool MemoryManager::abandon(ClaimId claim) {
  const auto found = pending_.find(claim);
  if (found == pending_.end()) return false;
  finish(claim, Error{HostErrc::Abandoned, fmt::format("claim {} was abandoned", claim.value())});
  return true;
}

/// Ends a pending claim; its handler is called by the next poll().
void MemoryManager::finish(ClaimId id, Result<Grant> result) {
  const auto found = pending_.find(id);
  Pending& pending = found->second;
  let_go(pending);
  if (pending.claim.vm.is_set()) --vms_.at(pending.claim.vm).claims;
  if (pending.claim.kind == ClaimKind::Pool) {
    Pool& pool = pools_.at(pending.claim.pool);
    --pool.claims;
    if (!pool.ready) {  // it was never filled
      pools_.erase(pending.claim.pool);
      ended_pools_.insert(pending.claim.pool);
    }
  }
  if (pending.claim.kind == ClaimKind::Reboot && (!result || pending.claim.allowed.new_memory_after_reboot)) {
    release_reserved(pending.claim.vm, Keep::Nothing);
  }
  finished_.push_back({std::move(pending.grant_handler), std::move(pending.pool_handler), std::move(result)});
  pending_.erase(found);
}

/// Gives back what was earmarked and not granted. Scrubs that run go on; cancels that were asked for stand.
void MemoryManager::let_go(Pending& pending) {
  for (const Part& part : pending.parts) {
    Extent& extent = *part.extent;
    scrubber_.withdraw(extent);
    table_.earmark(extent, {});
    if (extent.state != ExtentState::Scrubbing && extent.state != ExtentState::Cancelling) table_.coalesce(extent);
  }
  pending.parts.clear();
}

}  // namespace sluice
