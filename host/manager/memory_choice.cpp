// SPDX-License-Identifier: Apache-2.0
#include "memory_choice.hpp"

#include "sluice/policy/recycle_policy.hpp"

namespace sluice::inline manager {
namespace {

/// So many extents that are too short are looked at in search of longer ones.
constexpr int kLooksForLength = 256;

class Choice {
 public:
  Choice(ExtentTable& table, const Claim& claim, std::span<const std::uint32_t> zones, ByteCount missing,
         const std::function<void(Extent&)>& take)
      : table_(table), claim_(claim), zones_(zones), missing_(missing), take_(take) {}

  void make() && {
    const bool recycles = claim_.kind != ClaimKind::Pool;
    // What is kept for it comes first, whatever it wishes now.
    if (recycles && !claim_.allowed.force_new_memory) take_reserved();
    for (const ByteCount shortest : {claim_.placement.contiguous, ByteCount(0)}) {
      if (enough()) return;
      shortest_ = shortest;
      for (const std::uint32_t zone : zones_) {
        if (recycles) {
          take_recyclable(Domain::vm(claim_.vm), zone);
          take_recyclable(Domain::owner_pool(claim_.pool), zone);
          take_recyclable(Domain::group(claim_.group), zone);
          take_recyclable(Domain::larger_group(claim_.larger_group), zone);
        }
        if (recycles && claim_.pool.is_set()) take_clean(claim_.pool, zone);
        take_clean({}, zone);
      }
    }
    for (const std::uint32_t zone : zones_) {
      if (recycles && claim_.pool.is_set()) take_for_scrub(claim_.pool, zone);
      take_for_scrub({}, zone);
    }
  }

 private:
  [[nodiscard]] bool enough() const { return missing_ == ByteCount(0); }
  [[nodiscard]] bool long_enough(const Extent& extent) const {
    return extent.length() >= std::min(shortest_, missing_);
  }

  void take(Extent& extent) {
    if (extent.state() != ExtentState::Scrubbing && extent.length() > missing_) table_.split(extent, missing_);
    missing_ -= std::min(missing_, extent.length());
    take_(extent);
  }

  void take_all(LineageIndex lineage, ExtentState state) {
    int looks = 0;
    for (Extent* extent = table_.first(lineage, state); extent != nullptr && !enough();) {
      Extent& now = *extent;
      extent = table_.next(now);
      if (long_enough(now)) {
        take(now);
      } else if (++looks == kLooksForLength) {
        return;
      }
    }
  }

  void take_reserved() {
    for (const std::uint32_t zone : zones_) {
      visit(Domain::holder(claim_.vm), zone, [&](LineageIndex lineage) { take_all(lineage, ExtentState::Reserved); });
    }
  }

  /// decide() says what of a domain may be recycled. Scrubs that run already come last.
  void take_recyclable(const Domain& domain, std::uint32_t zone) {
    for (const ExtentState state : {ExtentState::Dirty, ExtentState::Scrubbing}) {
      visit(domain, zone, [&](LineageIndex lineage) { take_all(lineage, state); });
    }
  }

  template <class Visit>
  void visit(const Domain& domain, std::uint32_t zone, Visit visit) {
    if (domain.id == 0) return;
    for (auto index = table_.next_lineage(domain); index && !enough(); index = table_.next_lineage(domain, index)) {
      const Lineage& lineage = table_.lineage(*index);
      const bool in_reach = !lineage.pool.is_set() || lineage.pool == claim_.pool;
      if (lineage.zone == zone && in_reach && RecyclePolicy::decide(lineage.owner, claim_).recycle) visit(*index);
    }
  }

  /// The shortest extent that is enough, or else the longest ones: few extents for a large claim, little cutting for a
  /// small one.
  void take_clean(DedicatedPoolId pool, std::uint32_t zone) {
    while (!enough()) {
      Extent* clean = table_.fitting_clean(pool, zone, missing_);
      if (clean == nullptr) clean = table_.longest_clean(pool, zone);
      if (clean == nullptr || !long_enough(*clean)) return;
      take(*clean);
    }
  }

  void take_for_scrub(DedicatedPoolId pool, std::uint32_t zone) {
    while (!enough()) {
      Extent* dirty = table_.any_scrubbing(pool, zone);
      if (dirty == nullptr) dirty = table_.oldest_dirty(pool, zone);
      if (dirty == nullptr) return;
      take(*dirty);
    }
  }

  ExtentTable& table_;
  const Claim& claim_;
  std::span<const std::uint32_t> zones_;
  ByteCount missing_;
  const std::function<void(Extent&)>& take_;
  ByteCount shortest_;
};

}  // namespace

void choose_memory(ExtentTable& table, const Claim& claim, std::span<const std::uint32_t> zones, ByteCount missing,
                   const std::function<void(Extent&)>& take) {
  Choice(table, claim, zones, missing, take).make();
}

}  // namespace sluice::inline manager
