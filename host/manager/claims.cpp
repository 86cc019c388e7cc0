// SPDX-License-Identifier: Apache-2.0
// How a claim becomes a grant: choose memory, keep it from others, wait until an engine has let go of each part, hand
// all over.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "errors.hpp"
#include "memory_choice.hpp"
#include "scrubber.hpp"
#include "sluice/base/enforce.hpp"
#include "sluice/manager/memory_manager.hpp"

namespace sluice::inline manager {
namespace {

Error out_of_memory(ByteCount wanted, ByteCount available) {
  return {HostErrc::OutOfMemory, fmt::format("{} bytes were asked for and {} could be granted: release memory, or make "
                                             "the pool larger",
                                             wanted.value(), available.value())};
}

}  // namespace

/// Memory that is free as soon as an engine lets go of it, by who can be served with it.
class MemoryManager::Coming {
 public:
  void add(DedicatedPoolId pool, std::uint32_t zone, ByteCount bytes) {
    if (bytes > ByteCount(0)) bytes_[{pool, zone}] += bytes;
  }
  /// Takes it for a claim with these zones; first what nobody in the zones `spared` can use. False: it is not enough.
  [[nodiscard]] bool take(const Claim& claim, const std::vector<std::uint32_t>& zones, ByteCount wanted,
                          const std::vector<std::uint32_t>& spared) {
    for (const bool sparing : {true, false}) {
      for (const std::uint32_t zone : zones) {
        if (sparing == (std::find(spared.begin(), spared.end(), zone) != spared.end())) continue;
        if (claim.kind != ClaimKind::Pool && claim.pool.is_set()) take_from(claim.pool, zone, wanted);
        take_from({}, zone, wanted);
      }
    }
    return wanted == ByteCount(0);
  }

 private:
  void take_from(DedicatedPoolId pool, std::uint32_t zone, ByteCount& wanted) {
    const auto found = bytes_.find({pool, zone});
    if (found == bytes_.end()) return;
    const ByteCount taken = std::min(wanted, found->second);
    found->second -= taken;
    wanted -= taken;
  }
  std::map<std::pair<DedicatedPoolId, std::uint32_t>, ByteCount> bytes_;
};

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
  claim.placement = vm.profile.placement;
  claim.length = length;
  return claim;
}

/// The zones that a claim may have memory from, best first.
std::vector<std::uint32_t> MemoryManager::zones_for(const Claim& claim) const {
  const Placement& placement = claim.placement;
  const auto zones = table_.zones();
  std::vector<std::uint32_t> found;
  for (std::uint32_t zone = 0; zone < zones.size(); ++zone) {
    const bool own_node = !placement.node || zones[zone].node == *placement.node;
    if (zones[zone].pages == placement.pages && (own_node || !placement.only_node)) found.push_back(zone);
  }
  if (found.size() < 2) return found;
  std::stable_sort(found.begin(), found.end(), [&](std::uint32_t a, std::uint32_t b) {
    const auto rank = [&](std::uint32_t zone) {
      const ByteCount own = claim.pool.is_set() ? table_.free_bytes(claim.pool, zone) : ByteCount(0);
      return std::tuple(zones[zone].node == placement.node, own, table_.clean_bytes({}, zone));
    };
    return rank(a) > rank(b);
  });
  return found;
}

ByteCount MemoryManager::available_for(const Claim& claim) const {
  ByteCount available;
  const bool own_too = claim.kind != ClaimKind::Pool;
  const std::vector<std::uint32_t> zones = zones_for(claim);
  for (const std::uint32_t zone : zones) {
    available += table_.free_bytes({}, zone);
    if (own_too && claim.pool.is_set()) available += table_.free_bytes(claim.pool, zone);
  }
  if (!own_too || claim.allowed.new_memory_after_reboot) return available;
  const Domain own = Domain::holder(claim.vm);
  for (auto index = table_.next_lineage(own); index; index = table_.next_lineage(own, index)) {
    const Lineage& lineage = table_.lineage(*index);
    const bool in_reach = std::find(zones.begin(), zones.end(), lineage.zone) != zones.end();
    if (in_reach && RecyclePolicy::decide(lineage.owner, claim).recycle) available += table_.reserved(*index);
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
  const Claim claim = claim_for(**found, ClaimKind::Reboot, length);
  auto started = start_claim(claim, std::move(handler), {});
  if (!started) return started;
  (*found)->phase = VmPhase::Running;
  // Memory that it must not have back is kept from it until it has other memory.
  if (!claim.allowed.new_memory_after_reboot) release_reserved(vm, Keep::ForNextClaim);
  return started;
}

Result<ClaimId> MemoryManager::start_claim(const Claim& claim, GrantHandler grant_handler, PoolHandler pool_handler) {
  if (stopped_) return *stopped_;
  if (auto checked = errors::check_length(claim.length, *claim.placement.pages); !checked) return checked.error();
  // What came free since the last poll goes to the claims that wait for it already.
  end_claims_if_nothing_is_scrubbed();
  retry_waiting();
  if (const ByteCount available = available_for(claim); available < claim.length) {
    Coming coming = coming_back();
    for (const ClaimId id : waiting_) {
      const Pending& earlier = pending_.at(id);
      const ByteCount shortfall = earlier.claim.length - earlier.held;
      static_cast<void>(coming.take(earlier.claim, zones_for(earlier.claim), shortfall, zones_for(claim)));
    }
    if (!coming.take(claim, zones_for(claim), claim.length - available, {})) {
      return out_of_memory(claim.length, available);
    }
  }
  if (auto room = table_.make_room(2); !room) return room.error();
  scrubber_.note_claim();
  const ClaimId id(next_claim_++);
  Pending& pending = pending_[id];
  pending.id = id;
  pending.claim = claim;
  pending.grant_handler = std::move(grant_handler);
  pending.pool_handler = std::move(pool_handler);
  if (claim.vm.is_set()) ++vms_.at(claim.vm).claims;
  if (claim.kind == ClaimKind::Pool) ++pools_.at(claim.pool).claims;
  waiting_.insert(id);
  choose(pending);
  if (waiting_.contains(id)) pending.waited = true;
  scrubber_.pump();
  return id;
}

/// What an abandoned claim had asked to cancel, and what claims hold with their last part and do not need.
MemoryManager::Coming MemoryManager::coming_back() const {
  Coming coming;
  const auto zones = static_cast<std::uint32_t>(table_.zones().size());
  for (std::uint32_t zone = 0; zone < zones; ++zone) {
    coming.add({}, zone, table_.coming_back({}, zone));
    for (const auto& [pool, facts] : pools_) coming.add(pool, zone, table_.coming_back(pool, zone));
  }
  for (const auto& [id, pending] : pending_) {
    if (pending.held <= pending.claim.length || pending.parts.empty()) continue;
    const Lineage& lineage = table_.lineage(*pending.parts.back().extent);
    coming.add(lineage.pool, lineage.zone, pending.held - pending.claim.length);
  }
  return coming;
}

/// A claim that is short keeps what it has found: no later one gets that.
void MemoryManager::choose(Pending& pending) {
  if (auto room = table_.make_room(1); !room) {
    finish(pending.id, room.error());
    return;
  }
  choose_missing(pending);
  if (pending.held < pending.claim.length) return;
  waiting_.erase(pending.id);
  advance(pending);
}

/// Claims that are short look again, oldest first. Those that nothing comes back for end.
void MemoryManager::retry_waiting() {
  for (bool again = !waiting_.empty(); again;) {
    again = false;
    const std::vector<ClaimId> waiting(waiting_.begin(), waiting_.end());
    for (const ClaimId id : waiting) {
      if (waiting_.contains(id)) choose(pending_.at(id));
    }
    Coming coming = coming_back();
    for (const ClaimId id : waiting) {
      if (!waiting_.contains(id)) continue;
      Pending& pending = pending_.at(id);
      pending.waited = true;
      const ByteCount shortfall = pending.claim.length - pending.held;
      if (coming.take(pending.claim, zones_for(pending.claim), shortfall, {})) continue;
      finish(id, out_of_memory(pending.claim.length, pending.held));
      again = true;  // what it held may serve the others
      break;
    }
  }
}

/// Takes what the claim is short of, as far as it is there.
void MemoryManager::choose_missing(Pending& pending) {
  if (pending.held >= pending.claim.length) return;
  ByteCount held = pending.held;
  const ByteCount missing = pending.claim.length - held;
  choose_memory(table_, pending.claim, zones_for(pending.claim), missing, [&](Extent& extent) {
    held += extent.length();
    pending.parts.push_back({&extent, std::nullopt, extent.state() == ExtentState::Dirty});
    if (extent.state() == ExtentState::Scrubbing) working_[&extent] = {pending.id, false};
    table_.claim(extent);
  });
  pending.held = held;
}

/// Does what each part needs next, and grants when no part needs anything any more.
void MemoryManager::advance(Pending& pending) {
  if (pending.unsettled > 0 || pending.held < pending.claim.length) return;
  if (pending.claim.vm.is_set()) set_groups(pending.claim);
  bool ready = true;
  for (Part& part : pending.parts) ready &= prepare(pending, part);
  if (ready) {
    if (auto room = table_.make_room(1); !room) {
      finish(pending.id, room.error());
    } else {
      grant(pending);
    }
    return;
  }
  pending.waited = true;
  if (const auto fault = scrubber_.fault()) finish(pending.id, scrub_unavailable(*fault));
}

/// Whether this part can be handed over. If not, the engine has been asked for what is missing.
bool MemoryManager::prepare(Pending& pending, Part& part) {
  Extent& extent = *part.extent;
  const Decision decision = RecyclePolicy::decide(table_.owner(extent), pending.claim);
  const ScrubTiming timing = pending.claim.scrub.timing;
  const bool wants_fresh = timing == ScrubTiming::BeforeGrant || timing == ScrubTiming::Both;
  switch (extent.state()) {
    case ExtentState::Clean:
      if (!wants_fresh || part.scrubbed_because) return true;
      part.scrubbed_because = Reason::BeforeGrant;
      wait_for(pending, extent);
      scrubber_.request_urgent(extent, fill_of(pending.claim.scrub));
      return false;
    case ExtentState::Reserved:
    case ExtentState::Dirty:
      if (decision.recycle) return true;
      enforce(extent.state() == ExtentState::Dirty, "memory is reserved only for the VM that may have it back");
      part.scrubbed_because = decision.reason;
      wait_for(pending, extent);
      scrubber_.request_urgent(extent, fill_of(pending.claim.scrub));
      return false;
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

void MemoryManager::wait_for(Pending& pending, Extent& extent) {
  working_[&extent] = {pending.id, true};
  ++pending.unsettled;
}

/// An engine has let go of an extent.
void MemoryManager::let_go(Extent& extent) {
  if (!extent.is_claimed()) {
    table_.coalesce(extent);
    return;
  }
  const auto working = working_.extract(&extent);
  enforce(!working.empty(), "what an engine works on for a claim is known");
  Pending& pending = pending_.at(working.mapped().claim);
  if (working.mapped().awaited) --pending.unsettled;
  advance(pending);
}

/// A claim's part is lost: the claim looks for other memory in its turn.
void MemoryManager::drop_part(Extent& extent) {
  const auto working = working_.extract(&extent);
  if (working.empty()) return;
  Pending& pending = pending_.at(working.mapped().claim);
  if (working.mapped().awaited) --pending.unsettled;
  std::erase_if(pending.parts, [&](const Part& part) { return part.extent == &extent; });
  pending.held -= extent.length();
  table_.unclaim(extent);
  waiting_.insert(pending.id);
}

void MemoryManager::grant(Pending& pending) {
  Grant grant{pending.id, pending.claim.vm, {}, pending.waited};
  ByteCount missing = pending.claim.length;
  for (const Part& part : pending.parts) {
    Extent& extent = *part.extent;
    if (extent.length() > missing) {
      Extent& rest = table_.split(extent, missing);
      table_.unclaim(rest);
      table_.coalesce(rest);
    }
    missing -= extent.length();
    if (pending.claim.kind == ClaimKind::Pool) {
      enforce(extent.state() == ExtentState::Clean, "only clean memory joins a pool");
      table_.move_to_pool(extent, pending.claim.pool);
      table_.unclaim(extent);
      table_.coalesce(extent);
    } else {
      grant.ranges.push_back(hand_over(pending, part));
    }
  }
  enforce(missing == ByteCount(0), "a grant is as long as its claim");
  if (pending.claim.kind == ClaimKind::Pool) pools_.at(pending.claim.pool).ready = true;
  pending.parts.clear();
  pending.held = pending.claim.length;
  finish(pending.id, std::move(grant));
}

/// The one place where memory changes hands.
GrantedRange MemoryManager::hand_over(const Pending& pending, const Part& part) {
  Extent& extent = *part.extent;
  const Claim& claim = pending.claim;
  const Decision decision = RecyclePolicy::decide(table_.owner(extent), claim);
  const bool clean = extent.state() == ExtentState::Clean;
  enforce(clean || decision.recycle, "only clean memory crosses from one trust domain to another");
  if (clean && part.scrubbed_because) {
    statistics_.scrubbed_for_claim[static_cast<std::size_t>(*part.scrubbed_because)] += extent.length();
  } else if (clean) {
    statistics_.granted_clean += extent.length();
  } else {
    statistics_.recycled[static_cast<std::size_t>(decision.reason)] += extent.length();
    if (part.was_queued) statistics_.taken_from_queue += extent.length();
  }
  const Brick& brick = table_.brick(extent);
  const MemorySpan memory = table_.memory(extent);
  const GrantedRange range{memory,
                           brick.fd,
                           static_cast<std::uint64_t>(memory.data() - brick.memory.data()),
                           !clean,
                           clean ? table_.pattern(extent) : 0,
                           decision.reason};
  table_.grant(extent, clean ? owner_of(claim) : passed_on(table_.owner(extent), claim));
  table_.coalesce(extent);
  return range;
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
  give_back(pending);
  waiting_.erase(id);
  if (pending.claim.kind == ClaimKind::Pool) {
    if (!pools_.at(pending.claim.pool).ready) {  // it was never filled
      pools_.erase(pending.claim.pool);
      ended_pools_.insert(pending.claim.pool);
    }
  }
  if (pending.claim.kind == ClaimKind::Reboot && (!result || pending.claim.allowed.new_memory_after_reboot)) {
    release_reserved(pending.claim.vm, Keep::Nothing);
  }
  finished_.push_back(
      {pending.claim, std::move(pending.grant_handler), std::move(pending.pool_handler), std::move(result)});
  pending_.erase(found);
}

/// Gives back what was taken and not granted. Scrubs that run go on; cancels that were asked for stand.
void MemoryManager::give_back(Pending& pending) {
  // The last first: what waits for its scrub again is put before what was released after it.
  for (auto part = pending.parts.rbegin(); part != pending.parts.rend(); ++part) {
    Extent& extent = *part->extent;
    scrubber_.withdraw(extent);
    working_.erase(&extent);
    table_.unclaim(extent);
    table_.coalesce(extent);
  }
  pending.parts.clear();
}

}  // namespace sluice::inline manager
