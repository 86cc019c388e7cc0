// SPDX-License-Identifier: Apache-2.0
// What the tests of recovery share: a manager with a ledger, whose process ends at any time.
#pragma once

#include "host/memory/ledgers.hpp"
#include "sluice/memory/extent_table.hpp"
#include "support/manager_fixture.hpp"
#include "support/patience.hpp"

namespace sluice::test {

class Recovery : public Ledgers {
 protected:
  static constexpr VmId kA{1};
  static constexpr VmId kB{2};
  static constexpr CustomerId kCustomer{1};

  void start(const BackingMemory& memory) {
    ledger_ = open_with(memory);
    engine_.emplace();
    manager_ = MemoryManager::recover(memory, *engine_, *ledger_).value();
  }
  /// As a crash leaves it: nothing that ends in order changes the file.
  void crash() {
    copy_to(path_ + ".kept");
    manager_.reset();
    ledger_.reset();
    std::filesystem::rename(path_ + ".kept", path_);
  }
  void settle() {
    for (const Patience patience; manager_->has_work() && !patience.over();) {
      manager_->poll();
      engine_->end_all();
    }
    manager_->poll();
  }
  Grant take(VmId vm, std::size_t pages) {
    std::optional<Result<Grant>> result;
    EXPECT_TRUE(manager_->allocate(vm, ByteCount(pages * 4096), [&](Result<Grant> grant) { result.emplace(grant); }));
    settle();
    EXPECT_TRUE(result && *result);
    return result && *result ? **result : Grant{};
  }
  void make_pool(DedicatedPoolId pool, std::size_t pages, const PoolOptions& options = {}) {
    std::optional<Result<void>> made;
    const auto claim = manager_->create_dedicated_pool(
        pool, kCustomer, ByteCount(pages * 4096), [&](Result<void> result) { made = result; }, options);
    ASSERT_TRUE(claim) << claim.error().message;
    settle();
    ASSERT_TRUE(made && *made);
  }
  [[nodiscard]] std::uint64_t pages_of(DedicatedPoolId pool) const {
    return manager_->extents().bytes_in(pool).value() / 4096;
  }
  [[nodiscard]] std::uint64_t pages_in(ExtentState state) const {
    return manager_->extents().bytes(state).value() / 4096;
  }

  std::unique_ptr<Ledger> ledger_;
  std::optional<ManualEngine> engine_;
  std::unique_ptr<MemoryManager> manager_;
};

}  // namespace sluice::test
