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
    if (recycles) take_reserved(Domain::holder(claim_.vm));
    if (recycles && claim_.pool.is_set()) take_from(claim_.pool);
    take_from({});
  }

 private:
  /// Its own pool is used up before any of the shared pool is.
  void take_from(DedicatedPoolId pool) {
    pool_ = pool;
    const bool recycles = claim_.kind != ClaimKind::Pool;
    for (const ByteCount shortest : {claim_.placement.contiguous, ByteCount(0)}) {
      if (enough()) return;
      shortest_ = shortest;
      for (const std::uint32_t zone : zones_) {
        if (recycles) take_recyclable(zone);
        take_clean(zone);
      }
    }
    if (recycles) take_reserved(Domain::lent(claim_.group));
    if (recycles) take_reserved(Domain::larger_lent(claim_.larger_group));
    for (const std::uint32_t zone : zones_) take_for_scrub(zone);
  }

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

  void take_reserved(const Domain& domain) {
    for (const std::uint32_t zone : zones_) {
      visit(domain, zone, [&](LineageIndex lineage) { take_all(lineage, ExtentState::Reserved); });
    }
  }

  void take_recyclable(std::uint32_t zone) {
    for (const Domain& domain : {Domain::vm(claim_.vm), Domain::owner_pool(claim_.pool), Domain::group(claim_.group),
                                 Domain::larger_group(claim_.larger_group)}) {
      take_recyclable(domain, zone);
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
      const bool own = domain.kind == Domain::Kind::Holder;  // in whichever pool
      const bool in_reach = own || lineage.pool == pool_;
      if (lineage.zone != zone || !in_reach || table_.is_suspect(lineage.suspect, claim_.vm)) continue;
      if (RecyclePolicy::decide(lineage, claim_).recycle) visit(*index);
    }
  }

  /// The shortest extent that is enough, or else the longest ones: few extents for a large claim, little cutting for a
  /// small one.
  void take_clean(std::uint32_t zone) {
    while (!enough()) {
      Extent* clean = table_.fitting_clean(pool_, zone, claim_.vm, missing_);
      if (clean == nullptr) clean = table_.longest_clean(pool_, zone, claim_.vm);
      if (clean == nullptr || !long_enough(*clean)) return;
      take(*clean);
    }
  }

  void take_for_scrub(std::uint32_t zone) {
    while (!enough()) {
      Extent* dirty = table_.any_scrubbing(pool_, zone, claim_.vm);
      if (dirty == nullptr) dirty = table_.oldest_dirty(pool_, zone, claim_.vm);
      if (dirty == nullptr) return;
      take(*dirty);
    }
  }

  ExtentTable& table_;
  const Claim& claim_;
  std::span<const std::uint32_t> zones_;
  ByteCount missing_;
  const std::function<void(Extent&)>& take_;
  DedicatedPoolId pool_;  ///< That is searched now; unset: the shared pool.
  ByteCount shortest_;
};

}  // namespace

void choose_memory(ExtentTable& table, const Claim& claim, std::span<const std::uint32_t> zones, ByteCount missing,
                   const std::function<void(Extent&)>& take) {
  Choice(table, claim, zones, missing, take).make();
}

}  // namespace sluice::inline manager
