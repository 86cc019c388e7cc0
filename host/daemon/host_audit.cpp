// SPDX-License-Identifier: Apache-2.0
// What of a host's memory goes into the audit, and when.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "sluice/daemon/host.hpp"
#include "sluice/memory/extent_table.hpp"

namespace sluice::inline daemon {

/// Before the VM has it: what is not in the audit is not handed over. An error closes the descriptors.
Result<void> Host::note_hand_over(const LeaseGrant& grant) {
  const auto record = vms_.find(grant.id.vm);
  const Uuid uuid = record == vms_.end() ? Uuid() : record->second.uuid;
  for (const LeasedBrick& brick : grant.bricks) {
    audit_->note({.kind = AuditKind::HandOver,
                  .vm = grant.id.vm,
                  .uuid = uuid,
                  .brick = brick.number,
                  .offset = 0,
                  .length = brick.length.value(),
                  .how = brick.recycled ? std::string(to_string(brick.reason)) : "scrubbed"});
    last_[brick.number] = {grant.id.vm, uuid, false, false,
                           brick.recycled ? std::optional(brick.reason) : std::nullopt};
  }
  auto committed = audit_->commit();
  if (committed) return {};
  for (const int fd : grant.descriptors) ::close(fd);
  not_delivered(grant);
  return committed;
}

void Host::note_return(VmId vm, std::uint32_t brick, bool reserved) {
  audit_->note({.kind = AuditKind::Return,
                .vm = vm,
                .uuid = last_[brick].uuid,
                .brick = brick,
                .offset = 0,
                .length = bricks_[brick].memory.size(),
                .how = reserved ? "reserved" : "released"});
}

void Host::scrubbed(const ScrubRecord& record) {
  // A job may reach over neighbouring bricks of no VM: a line for each.
  for (MemorySpan rest = record.memory; !rest.empty();) {
    const auto [first, number] = *std::prev(by_address_.upper_bound(rest.data()));
    const auto offset = static_cast<std::uint64_t>(rest.data() - first);
    const std::uint64_t length = std::min<std::uint64_t>(rest.size(), bricks_[number].memory.size() - offset);
    audit_->note({.kind = record.failed ? AuditKind::Failure : AuditKind::Scrub,
                  .vm = last_[number].vm,
                  .uuid = last_[number].uuid,
                  .brick = number,
                  .offset = offset,
                  .length = length,
                  .how = fmt::format("{}{}", record.engine, record.verified ? ", verified" : "")});
    rest = rest.subspan(length);
  }
}

/// The last lines before a crash may not have been written.
Result<void> Host::complete_audit() {
  std::set<std::uint32_t> leased;
  for (const LeaseFacts& lease : leases_.all()) {
    for (const LeasedBrick& brick : lease.bricks) leased.insert(brick.number);
  }
  const ExtentTable& extents = policies_->manager().extents();
  for (std::uint32_t number = 0; number < bricks_.size(); ++number) {
    Audit::BrickFacts& fact = last_[number];
    if (!fact.vm.is_set() || leased.contains(number)) continue;
    if (!std::exchange(fact.returned, true)) note_return(fact.vm, number, false);
    const Extent* const extent = extents.find(bricks_[number].memory.data());
    const bool clean = extent != nullptr && extent->state() == ExtentState::Clean &&
                       extents.memory(*extent).size() >= bricks_[number].memory.size();
    if (!clean || std::exchange(fact.scrubbed, true)) continue;
    audit_->note({.kind = AuditKind::Scrub,
                  .vm = fact.vm,
                  .uuid = fact.uuid,
                  .brick = number,
                  .offset = 0,
                  .length = bricks_[number].memory.size(),
                  .how = "clean by the ledger"});
  }
  return audit_->commit();
}

}  // namespace sluice::inline daemon
