// SPDX-License-Identifier: Apache-2.0
// Dedicated pools that are resized by a rule, where the ledger finds no room.
#include <gtest/gtest.h>

#include "host/memory/ledgers.hpp"
#include "support/full_disk.hpp"
#include "support/manual_engine.hpp"
#include "support/patience.hpp"
#include "support/pool_rules.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr DedicatedPoolId kPool{9};

const PoolRule kRule = rule_of(4, 16, 4, 8, 32);

class RuledPoolsOnAFullDisk : public Ledgers {
 protected:
  static constexpr std::size_t kPages = 16'384;
  void settle() {
    for (const Patience patience; manager_->has_work() && !patience.over();) {
      manager_->poll();
      engine_.end_all();
    }
    manager_->poll();
  }
  /// The ledger holds 4,096 extents.
  void release_every_other_page(const Grant& grant) {
    for (std::size_t at = 0; manager_->release(kB, grant.ranges.at(0).memory.subspan(at, 4096));) at += 8192;
  }

  std::unique_ptr<FileMemory> long_ = FileMemory::create(ByteCount(kPages * 4096), 1).value();
  ManualEngine engine_;
  std::unique_ptr<Ledger> ledger_ = open_with(*long_);
  std::unique_ptr<MemoryManager> manager_ = MemoryManager::recover(*long_, engine_, *ledger_).value();
};

/// A step that is refused is not tried again before something has become free.
TEST_F(RuledPoolsOnAFullDisk, DoNotTryForEver) {
  settle();
  ASSERT_TRUE(manager_->create_dedicated_pool(kPool, CustomerId(1), ByteCount(16 * 4096), {}));
  ASSERT_TRUE(manager_->create_vm({kA, CustomerId(1), kPool, {}, {}, {}, {}}));
  ASSERT_TRUE(manager_->create_vm({kB, CustomerId(2), {}, {}, {}, {}, {}}));
  ASSERT_TRUE(manager_->allocate(kA, ByteCount(16 * 4096), {}));
  std::optional<Grant> all;
  ASSERT_TRUE(manager_->allocate(kB, ByteCount((kPages - 16) * 4096), [&](Result<Grant> grant) { all = *grant; }));
  manager_->poll();
  ASSERT_TRUE(all && all->ranges.size() == 1);
  {
    const FullDisk disk(kRecords);
    release_every_other_page(*all);
    settle();
    ASSERT_TRUE(manager_->change_pool_rule(kPool, kRule));
    for (int round = 0; round < 10; ++round) manager_->poll();
    EXPECT_FALSE(manager_->has_work());
    EXPECT_EQ(manager_->dedicated_pool(kPool)->size, ByteCount(16 * 4096));
  }
  EXPECT_FALSE(manager_->has_work()) << "nobody knows that there is room again";
  ASSERT_TRUE(manager_->release(kB, all->ranges[0].memory.last(4096)));
  EXPECT_TRUE(manager_->has_work());
  settle();
  EXPECT_EQ(manager_->dedicated_pool(kPool)->size, ByteCount(20 * 4096));
}

}  // namespace
}  // namespace sluice::test
