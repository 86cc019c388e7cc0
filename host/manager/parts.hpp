// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "claims.hpp"
#include "pool_rules.hpp"

namespace sluice::inline manager {

/// What a manager is made of. Each part knows those above it.
struct MemoryManager::Parts {
  Parts(const BackingMemory& memory, std::unique_ptr<JobSplitter> engine, const ScrubberConfig& config,
        Ledger* crash_ledger)
      : ledger(crash_ledger),
        table(memory.bricks(), crash_ledger),
        tenants(table.zones()),
        scrubber(std::move(engine), memory, table, statistics, config),
        holdings(table, tenants, scrubber),
        notifications(tenants),
        claims(table, tenants, holdings, scrubber, notifications, statistics, crash_ledger),
        rules(table, tenants, scrubber, claims) {}

  void settings_changed(std::span<const VmId> vms);
  /// Pools that may have memory from now on. Errors: NoResources.
  [[nodiscard]] Result<void> enter_pools(DedicatedPoolId first, std::uint32_t count);
  /// A pool that has no memory ends, or has never been.
  void forget_pool(DedicatedPoolId pool) {
    if (ledger != nullptr) ledger->forget(pool);
  }
  [[nodiscard]] Holdings::Promised promised_at_reboot(const Tenants::Vm& vm) const;
  [[nodiscard]] Result<void> check_shared_minimum(ByteCount length) const;
  [[nodiscard]] Result<void> check_new_pools(DedicatedPoolId first, std::uint32_t count, CustomerId customer,
                                             ByteCount length, const PoolOptions& options);

  Statistics statistics;
  Ledger* ledger;  ///< nullptr: a crash makes all dirty.
  ExtentTable table;
  Tenants tenants;
  Scrubber scrubber;
  Holdings holdings;
  Notifications notifications;
  Claims claims;
  PoolRules rules;
};

}  // namespace sluice::inline manager
