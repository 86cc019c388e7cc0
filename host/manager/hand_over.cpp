// SPDX-License-Identifier: Apache-2.0
#include "hand_over.hpp"

#include "sluice/base/enforce.hpp"

namespace sluice::inline manager {

GrantedRange hand_over(ExtentTable& table, const Claim& claim, const ClaimPart& part, Statistics& statistics) {
  Extent& extent = *part.extent;
  const Lineage before = table.lineage(extent);
  const Decision decision = RecyclePolicy::decide(before, claim);
  const bool clean = extent.state() == ExtentState::Clean;
  enforce(clean || decision.recycle, "only clean memory crosses from one trust domain to another");
  enforce(!table.is_suspect(before.suspect, claim.vm), "nobody gets memory that is suspect for it");
  if (clean && part.scrubbed_because) {
    statistics.scrubbed_for_claim[static_cast<std::size_t>(*part.scrubbed_because)] += extent.length();
  } else if (clean) {
    statistics.granted_clean += extent.length();
  } else {
    statistics.recycled[static_cast<std::size_t>(decision.reason)] += extent.length();
    if (part.was_queued) statistics.taken_from_queue += extent.length();
  }
  const Brick& brick = table.brick(extent);
  const MemorySpan memory = table.memory(extent);
  const GrantedRange range{memory,
                           brick.fd,
                           static_cast<std::uint64_t>(memory.data() - brick.memory.data()),
                           !clean,
                           clean ? table.pattern(extent) : 0,
                           decision.reason};
  table.grant(extent, clean ? owner_of(claim, before.pool) : passed_on(before, claim));
  table.coalesce(extent);
  return range;
}

}  // namespace sluice::inline manager
