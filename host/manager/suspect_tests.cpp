// SPDX-License-Identifier: Apache-2.0
// Tests of suspect memory: claims that get nothing. Each part holds one pattern after the other, on its own.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "claims.hpp"
#include "errors.hpp"
#include "sluice/base/enforce.hpp"

namespace sluice::inline manager {
namespace {

/// Each bit as 0 and as 1, neighbours in opposite states, and clean at the end.
const std::vector<std::uint64_t> kPatterns = {0x5555555555555555, 0xAAAAAAAAAAAAAAAA, 0};

std::string whose(VmId vm) { return vm.is_set() ? fmt::format("for VM {}", vm.value()) : "for all"; }

bool is_free(const Extent& extent) {
  const ExtentState state = extent.state();
  return !extent.is_claimed() &&
         (state == ExtentState::Clean || state == ExtentState::Dirty || state == ExtentState::Scrubbing);
}

/// By their addresses, neighbours as one.
std::vector<MemorySpan> joined(std::vector<MemorySpan> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](MemorySpan a, MemorySpan b) { return a.data() < b.data(); });
  std::vector<MemorySpan> all;
  for (const MemorySpan range : ranges) {
    if (!all.empty() && all.back().data() + all.back().size() == range.data()) {
      all.back() = {all.back().data(), all.back().size() + range.size()};
    } else {
      all.push_back(range);
    }
  }
  return all;
}

}  // namespace

Result<void> Claims::check_new_test(VmId vm) const {
  if (closed_) return *closed_;
  for (const auto& [id, pending] : pending_) {
    if (!pending.test || pending.test->vm != vm) continue;
    return Error{HostErrc::WrongState, fmt::format("a test of what is suspect {} runs as claim {}: wait for it, or "
                                                   "abandon it",
                                                   whose(vm), id.value())};
  }
  return {};
}

Result<ClaimId> Claims::start_test(VmId vm, std::vector<std::uint64_t> patterns, SuspectHandler handler) {
  if (auto checked = check_new_test(vm); !checked) return checked.error();
  // What became free since the last poll goes to the claims that wait for it already.
  end_if_nothing_is_scrubbed();
  retry_waiting();
  std::vector<Extent*> free;
  ByteCount not_tested;
  std::size_t cuts = 0;
  for (Extent* extent : table_.all_of(Domain::suspect(vm))) {
    if (is_free(*extent)) {
      free.push_back(extent);
      cuts += extent->length().value() / scrubber_.longest_in_background(*extent).value();
    } else if (extent->state() != ExtentState::Quarantined) {
      not_tested += extent->length();
    }
  }
  if (free.empty()) {
    return Error{HostErrc::OutOfMemory, fmt::format("{} bytes are suspect {} and in use, and none are free: name some "
                                                    "with suspect(), or have their VMs release them",
                                                    not_tested.value(), whose(vm))};
  }
  if (auto room = table_.make_room(cuts); !room) return room.error();
  if (patterns.empty()) patterns = kPatterns;
  const ClaimId id(next_claim_++);
  Pending& pending = pending_[id];
  pending.id = id;
  pending.claim.kind = ClaimKind::Test;
  pending.test = SuspectTest{vm, std::move(patterns), std::move(handler), {}};
  for (Extent* extent : free) add_to_test(pending, *extent);
  pending.claim.length = pending.held;
  pending.test->report.tested = pending.held;
  pending.test->report.not_tested = not_tested;
  scrubber_.pump();
  return id;
}

/// In pieces, so that it ends soon when it is abandoned, and urgent scrubs come between.
void Claims::add_to_test(Pending& pending, Extent& extent) {
  Extent* rest = &extent;
  while (rest != nullptr) {
    Extent& part = *rest;
    const ByteCount longest = scrubber_.longest_in_background(part);
    const bool cuts = part.state() != ExtentState::Scrubbing && part.length() > longest;
    rest = cuts ? &table_.split(part, longest) : nullptr;
    pending.parts.push_back({&part, std::nullopt});
    pending.held += part.length();
    table_.claim(part);
    if (part.state() == ExtentState::Scrubbing) {
      wait_for(pending, part);
    } else {
      go_on(pending, part, 0);
    }
  }
}

/// The next pattern, if there is one.
void Claims::go_on(Pending& pending, Extent& extent, std::size_t patterns_held) {
  const std::vector<std::uint64_t>& patterns = pending.test->patterns;
  if (patterns_held == patterns.size()) return;
  wait_for(pending, extent);
  working_[&extent].patterns_held = patterns_held;
  scrubber_.request_test(extent, patterns[patterns_held]);
}

void Claims::pattern_held(Extent& extent, std::uint64_t pattern) {
  const auto found = working_.find(&extent);
  if (found != working_.end()) {
    const auto& test = pending_.at(found->second.claim).test;
    std::size_t& held = found->second.patterns_held;
    // It may have been written for a test that was abandoned.
    if (test && held < test->patterns.size() && test->patterns[held] == pattern) ++held;
  }
  let_go(extent);
}

/// Of a test: its pieces stay a part of it. False: of another claim, or of none.
bool Claims::break_up(Extent& extent) {
  const auto found = working_.find(&extent);
  if (found == working_.end()) return false;
  Pending& pending = pending_.at(found->second.claim);
  if (!pending.test) return false;
  broken_ = Broken{found->second, extent.length()};
  working_.erase(found);
  std::erase_if(pending.parts, [&](const ClaimPart& part) { return part.extent == &extent; });
  return true;
}

/// One that can be used is tested again with the pattern that was under way.
void Claims::take_piece(Extent& piece) {
  enforce(broken_.has_value(), "what an engine works on for a claim is known");
  Pending& pending = pending_.at(broken_->part.claim);
  const std::size_t patterns_held = broken_->part.patterns_held;
  broken_->left -= piece.length();
  if (broken_->left == ByteCount(0)) {
    broken_.reset();
    --pending.unsettled;
  }
  if (piece.state() == ExtentState::Quarantined) {
    pending.test->report.failed.push_back(table_.memory(piece));
    pending.held -= piece.length();
    pending.claim.length -= piece.length();
    table_.unclaim(piece);
    table_.coalesce(piece);
  } else {
    pending.parts.push_back({&piece, std::nullopt});
    go_on(pending, piece, patterns_held);
  }
  end_if_tested(pending);
}

void Claims::end_if_tested(Pending& pending) {
  if (pending.unsettled > 0) return;
  if (const auto fault = scrubber_.fault()) {
    finish(pending.id, errors::scrub_unavailable(*fault));
    return;
  }
  pending.test->report.failed = joined(std::move(pending.test->report.failed));
  finish(pending.id, Grant{});
}

}  // namespace sluice::inline manager
