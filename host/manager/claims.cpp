// SPDX-License-Identifier: Apache-2.0
// Which claim gets which memory, and when. What then happens to the parts of a claim is in claim_parts.cpp, and to
// those of a test in suspect_tests.cpp.
#include "claims.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "availability.hpp"
#include "errors.hpp"
#include "memory_choice.hpp"

namespace sluice::inline manager {
namespace {

Error out_of_memory(ByteCount wanted, ByteCount available) {
  return {HostErrc::OutOfMemory, fmt::format("{} bytes were asked for and {} could be granted: release memory, or make "
                                             "the pool larger",
                                             wanted.value(), available.value())};
}

}  // namespace

Result<ClaimId> Claims::start(const Claim& claim, GrantHandler grant_handler, PoolHandler pool_handler) {
  if (closed_) return *closed_;
  if (auto checked = errors::check_length(claim.length, *claim.placement.unit); !checked) return checked.error();
  serve_waiting();
  if (auto checked = check_available(claim); !checked) return checked.error();
  if (auto room = table_.make_room(2); !room) return room.error();
  scrubber_.note_claim();
  const ClaimId id(next_claim_++);
  Pending& pending = pending_[id];
  pending.id = id;
  pending.claim = claim;
  pending.grant_handler = std::move(grant_handler);
  pending.pool_handler = std::move(pool_handler);
  tenants_.claim_started(claim);
  waiting_.insert(id);
  choose(pending);
  if (waiting_.contains(id)) pending.waited = true;
  scrubber_.pump();
  return id;
}

void Claims::serve_waiting() {
  end_if_nothing_is_scrubbed();
  retry_waiting();
}

/// What is free now, or comes back and is not needed by those that wait for it already.
Result<void> Claims::check_available(const Claim& claim) const {
  const ByteCount available = available_for(table_, claim);
  if (available >= claim.length) return {};
  std::vector<Shortfall> in_turn = shortfalls();
  in_turn.push_back({&claim, claim.length - available, zones_for(table_, claim)});
  if (coming_back().share_out(in_turn) == in_turn.size()) return {};
  return out_of_memory(claim.length, available);
}

/// Of the claims that wait, in their order.
std::vector<Shortfall> Claims::shortfalls() const {
  std::vector<Shortfall> all;
  for (const ClaimId id : waiting_) {
    const Pending& pending = pending_.at(id);
    all.push_back({&pending.claim, pending.claim.length - pending.held, zones_for(table_, pending.claim)});
  }
  return all;
}

/// What an abandoned claim had asked to cancel, what is tested, and the excess that claims hold with their last part.
ComingMemory Claims::coming_back() const {
  ComingMemory coming(table_);
  const auto add = [&](DedicatedPoolId pool, std::uint32_t zone) {
    for (const auto& [suspect, bytes] : table_.coming_back(pool, zone)) coming.add(pool, zone, suspect, bytes);
  };
  const auto zones = static_cast<std::uint32_t>(table_.zones().size());
  for (std::uint32_t zone = 0; zone < zones; ++zone) {
    add({}, zone);
    for (const auto& [pool, facts] : tenants_.pools()) add(pool, zone);
  }
  for (const auto& [id, pending] : pending_) {
    for (const ClaimPart& part : pending.test ? std::span(pending.parts) : std::span<const ClaimPart>()) {
      const Lineage& lineage = table_.lineage(*part.extent);
      coming.add(lineage.pool, lineage.zone, lineage.suspect, part.extent->length());
    }
    if (pending.held <= pending.claim.length || pending.parts.empty()) continue;
    const Lineage& lineage = table_.lineage(*pending.parts.back().extent);
    coming.add(lineage.pool, lineage.zone, lineage.suspect, pending.held - pending.claim.length);
  }
  return coming;
}

/// A claim that is short keeps what it has found: no later one gets that.
void Claims::choose(Pending& pending) {
  if (auto room = table_.make_room(1); !room) {
    finish(pending.id, room.error());
    return;
  }
  choose_missing(pending);
  if (pending.held < pending.claim.length) return;
  waiting_.erase(pending.id);
  advance(pending);
}

/// Takes what the claim is short of, as far as it is there.
void Claims::choose_missing(Pending& pending) {
  if (pending.held >= pending.claim.length) return;
  ByteCount held = pending.held;
  const ByteCount missing = pending.claim.length - held;
  choose_memory(table_, pending.claim, zones_for(table_, pending.claim), missing, [&](Extent& extent) {
    held += extent.length();
    pending.parts.push_back({&extent, std::nullopt, extent.state() == ExtentState::Dirty});
    if (extent.state() == ExtentState::Scrubbing) working_[&extent] = {pending.id, false};
    table_.claim(extent);
  });
  pending.held = held;
}

void Claims::retry_waiting() {
  while (!waiting_.empty()) {
    const std::vector<ClaimId> looking(waiting_.begin(), waiting_.end());
    for (const ClaimId id : looking) {
      if (waiting_.contains(id)) choose(pending_.at(id));
    }
    for (const ClaimId id : waiting_) pending_.at(id).waited = true;
    const std::vector<Shortfall> short_of = shortfalls();
    const std::size_t met = coming_back().share_out(short_of);
    if (met == short_of.size()) return;
    const Pending& hopeless = pending_.at(*std::next(waiting_.begin(), static_cast<std::ptrdiff_t>(met)));
    finish(hopeless.id, out_of_memory(hopeless.claim.length, hopeless.held));  // what it held may serve the others
  }
}

void Claims::end_if_nothing_is_scrubbed() {
  if (scrubber_.jobs_in_flight() > 0) return;
  const auto fault = scrubber_.fault();
  while (fault && !pending_.empty()) finish(pending_.begin()->first, errors::scrub_unavailable(*fault));
}

void Claims::take_back(VmId vm) {
  for (auto& [id, pending] : pending_) {
    if (pending.claim.vm != vm) continue;
    give_back(pending);
    pending.held = ByteCount(0);
    pending.unsettled = 0;
    waiting_.insert(id);
  }
}

void Claims::choose_anew(std::span<const VmId> vms) {
  for (auto& [id, pending] : pending_) {
    if (std::find(vms.begin(), vms.end(), pending.claim.vm) == vms.end()) continue;
    pending.claim = tenants_.claim_for(*tenants_.look_up(pending.claim.vm), pending.claim.kind, pending.claim.length);
  }
  retry_waiting();
}

bool Claims::comes_back(VmId vm) const {
  return std::any_of(pending_.begin(), pending_.end(), [&](const auto& entry) {
    return entry.second.claim.vm == vm && entry.second.claim.kind == ClaimKind::Reboot;
  });
}

ByteCount Claims::claimed_by_pools() const {
  ByteCount bytes;
  for (const auto& [id, pending] : pending_) {
    if (pending.claim.kind == ClaimKind::Pool) bytes += pending.claim.length;
  }
  return bytes;
}

ByteCount Claims::claimed_by(DedicatedPoolId pool) const {
  ByteCount bytes;
  for (const auto& [id, pending] : pending_) {
    const Claim& claim = pending.claim;
    if (claim.kind == ClaimKind::Pool && claim.pool == pool && !claim.by_rule) bytes += claim.length;
  }
  return bytes;
}

bool Claims::abandon(ClaimId claim) {
  if (!pending_.contains(claim)) return false;
  finish(claim, Error{HostErrc::Abandoned, fmt::format("claim {} was abandoned", claim.value())});
  return true;
}

void Claims::close(const Error& reason) {
  closed_ = reason;
  while (!pending_.empty()) finish(pending_.begin()->first, reason);
}

void Claims::forget(const Error& reason) {
  closed_ = reason;
  for (auto& [id, pending] : std::exchange(pending_, {})) {
    notify(pending, reason);
  }
  waiting_.clear();
  working_.clear();
}

}  // namespace sluice::inline manager
