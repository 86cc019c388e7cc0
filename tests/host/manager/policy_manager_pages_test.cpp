// SPDX-License-Identifier: Apache-2.0
// Policies over memory with pages of several lengths.
#include <gmock/gmock.h>

#include "support/manual_engine.hpp"
#include "support/policy_fixture.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr DedicatedPoolId kPool{9};

/// A brick of small pages and one of huge pages.
class TwoKinds final : public BackingMemory {
 public:
  [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }

 private:
  Memory small_{16 * 4096, std::byte{0xEE}};
  Memory huge_{8ULL << 20, std::byte{0xEE}};
  Brick bricks_[2] = {{small_.all(), -1, PageKind::Small}, {huge_.all(), -1, PageKind::Huge2MiB}};
};

TEST(PolicyManagerPages, APoolWithOtherPagesIsRefusedForTheVmThatCannotHaveIt) {
  const TwoKinds memory;
  ManualEngine engine;
  const auto manager = MemoryManager::create(memory, engine).value();
  PolicyManager policies(PolicyBook(), *manager);
  const CustomerId customer(1);
  const Placement huge{.pages = PageKind::Huge2MiB};
  ASSERT_TRUE(policies.create_dedicated_pool(kProvider, kPool, customer, ByteCount(4ULL << 20), {}, {huge}));
  for (int round = 0; round < 100 && manager->has_work(); ++round) {
    manager->poll();
    engine.end_all();
  }
  ASSERT_TRUE(policies.create_vm(kProvider, {kA, {}, {}, customer, {}}, huge));
  ASSERT_TRUE(policies.create_vm(kProvider, {kB, {}, {}, customer, {}}));
  const BothSides before = both_sides(policies);
  const auto refused = attach(policies, kProvider, {PolicyScope::Customer, 1}, R"({"dedicated_pool": 9})");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("VM 2 has pages of 4096 bytes and pool 9 has pages of 2097152"));
  EXPECT_EQ(both_sides(policies), before);
  ASSERT_TRUE(attach(policies, kProvider, {PolicyScope::Instance, kA.value()}, R"({"dedicated_pool": 9})"));
  EXPECT_EQ(manager->dedicated_pool(kPool)->vms, 1U);
}

}  // namespace
}  // namespace sluice::test
