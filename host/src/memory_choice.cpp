// SPDX-License-Identifier: Apache-2.0
#include "memory_choice.hpp"

#include <unordered_set>

#include "sluice/host/recycle_policy.hpp"

namespace sluice {
namespace {

class Choice {
 public:
  Choice(const ExtentTable& table, const Claim& claim, ByteCount missing)
      : table_(table), claim_(claim), missing_(missing) {}

  std::vector<Extent*> make() && {
    if (claim_.kind != ClaimKind::Pool) {
      take_reserved();
      take_recyclable(table_.dirty_of_vm(claim_.vm));
      take_recyclable(table_.dirty_of_owner_pool(claim_.pool));
      take_recyclable(table_.dirty_of_group(claim_.group.id));
      take_recyclable(table_.dirty_of_larger_group(claim_.larger_group.id));
    }
    if (claim_.pool.is_set() && claim_.kind != ClaimKind::Pool) {
      take_clean(claim_.pool);
      take_clean({});
      take_for_scrub(table_.dirty_by_age(claim_.pool));
    } else {
      take_clean({});
    }
    for (Extent* extent : table_.scrubbing()) {
      if (enough()) break;
      take(*extent);
    }
    take_for_scrub(table_.dirty_by_age({}));
    return std::move(chosen_);
  }

 private:
  [[nodiscard]] bool enough() const { return missing_ == ByteCount(0); }

  void take(Extent& extent) {
    if (enough() || !seen_.insert(&extent).second) return;
    chosen_.push_back(&extent);
    missing_ -= std::min(missing_, extent.length());
  }

  void take_reserved() {
    if (claim_.allowed.new_memory_after_reboot) return;
    for (Extent* extent : table_.held_by(claim_.vm)) {
      if (extent->state == ExtentState::Reserved && RecyclePolicy::decide(extent->owner, claim_).recycle) take(*extent);
    }
  }

  /// A set that may be recycled: decide() says what is. Scrubs that run already come last.
  void take_recyclable(const ExtentTable::Set& candidates) {
    for (const ExtentState state : {ExtentState::Dirty, ExtentState::Scrubbing}) {
      for (Extent* extent : candidates) {
        if (enough()) return;
        const bool in_reach = !extent->pool.is_set() || extent->pool == claim_.pool;
        if (extent->state == state && in_reach && RecyclePolicy::decide(extent->owner, claim_).recycle) take(*extent);
      }
    }
  }

  /// The shortest extent that is enough, or else the longest ones: few extents for a large claim, little cutting for a
  /// small one.
  void take_clean(DedicatedPoolId pool) {
    const ExtentTable::SetByLength& clean = table_.clean(pool);
    for (auto longest = clean.rbegin(); longest != clean.rend() && !enough(); ++longest) {
      if ((*longest)->length() < missing_) {
        take(**longest);
        continue;
      }
      Extent wanted;
      wanted.memory = MemorySpan(static_cast<std::byte*>(nullptr), missing_.value());
      for (auto fitting = clean.lower_bound(&wanted); fitting != clean.end() && !enough(); ++fitting) take(**fitting);
    }
  }

  void take_for_scrub(const std::map<std::uint64_t, Extent*>& by_age) {
    for (const auto& [age, extent] : by_age) {
      if (enough()) return;
      take(*extent);
    }
  }

  const ExtentTable& table_;
  const Claim& claim_;
  ByteCount missing_;
  std::vector<Extent*> chosen_;
  std::unordered_set<const Extent*> seen_;
};

}  // namespace

std::vector<Extent*> choose_memory(const ExtentTable& table, const Claim& claim, ByteCount missing) {
  return Choice(table, claim, missing).make();
}

}  // namespace sluice
