// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>
#include <optional>

#include "claims.hpp"

namespace sluice::inline manager {

/// Has dedicated pools grow and shrink by their rules, a step at a time. A step that the shared pool cannot give, or
/// that was refused, waits until something has become free: meanwhile there is nothing to do.
class PoolRules {
 public:
  PoolRules(ExtentTable& table, Tenants& tenants, Scrubber& scrubber, Claims& claims)
      : table_(table), tenants_(tenants), scrubber_(scrubber), claims_(claims) {}
  PoolRules(const PoolRules&) = delete;
  PoolRules& operator=(const PoolRules&) = delete;

  /// Errors: InvalidArgument.
  [[nodiscard]] static Result<void> check(const std::optional<PoolRule>& rule, ByteCount unit);

  /// Whether a call may make the pool so much larger or smaller, by the limits of its rule. Errors: InvalidArgument.
  [[nodiscard]] Result<void> check_growth(DedicatedPoolId pool, ByteCount length) const;
  [[nodiscard]] Result<void> check_shrinking(DedicatedPoolId pool, ByteCount length) const;

  /// Takes a step of each pool that is due for one. At the beginning of a poll.
  void apply();
  /// Whether apply() would do something.
  [[nodiscard]] bool has_work() const;
  /// More has to stay shared, or pools have got memory by other ways, or are to get some: what is too much of their
  /// growth goes back.
  void limits_changed();
  /// The pool ends, or gets another rule: it grows no further by this one.
  void forget(DedicatedPoolId pool);

 private:
  struct Step {
    bool grows = false;
    ByteCount length;
  };
  struct Growth {
    bool under_way = false;
    ClaimId claim;
    ByteCount length;
    /// When the last step down, or up, was refused: so much was available, or has been since.
    std::array<std::optional<ByteCount>, 2> refused_with;
  };

  [[nodiscard]] std::optional<Step> due(DedicatedPoolId pool, const Tenants::Pool& facts) const;
  [[nodiscard]] std::optional<Step> wanted(DedicatedPoolId pool, const PoolRule& rule) const;
  [[nodiscard]] bool can_grow(DedicatedPoolId pool, ByteCount length) const;
  [[nodiscard]] bool can_shrink(DedicatedPoolId pool, ByteCount length) const;
  [[nodiscard]] ByteCount available_to(DedicatedPoolId pool) const;
  [[nodiscard]] const Growth* growth_of(DedicatedPoolId pool) const;
  [[nodiscard]] bool is_refused(DedicatedPoolId pool, bool grows) const;
  void grow(DedicatedPoolId pool, ByteCount length);
  void ended(DedicatedPoolId pool, bool has_grown);
  void shrink(DedicatedPoolId pool, ByteCount length);

  ExtentTable& table_;
  Tenants& tenants_;
  Scrubber& scrubber_;
  Claims& claims_;
  std::map<DedicatedPoolId, Growth> growths_;
};

}  // namespace sluice::inline manager
