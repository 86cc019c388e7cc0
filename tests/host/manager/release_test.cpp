// SPDX-License-Identifier: Apache-2.0
// Releases of ranges that are not one grant: over several grants, holders, states, bricks.
#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};

/// Three bricks of 16 pages. The first two touch; the third lies behind a gap, and is first in the order of bricks.
class Releases : public ::testing::Test {
 protected:
  class Bricks final : public BackingMemory {
   public:
    [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }
    [[nodiscard]] MemorySpan pages(std::size_t first, std::size_t count) const {
      return memory_.part(first * 4096, count * 4096);
    }

   private:
    Memory memory_{64 * 4096, std::byte{0xEE}};
    Brick bricks_[3] = {
        {memory_.part(48 * 4096, 16 * 4096)}, {memory_.part(0, 16 * 4096)}, {memory_.part(16 * 4096, 16 * 4096)}};
  };

  Releases() {
    settle();
    for (const VmId vm : {kA, kB}) EXPECT_TRUE(manager_->create_vm({vm, CustomerId(vm.value()), {}, {}, {}, {}, {}}));
  }
  void settle() {
    for (int round = 0; round < 1000 && manager_->has_work(); ++round) {
      manager_->poll();
      engine_.end_all();
    }
    manager_->poll();
  }
  void take(VmId vm, std::size_t pages) {
    bool granted = false;
    ASSERT_TRUE(
        manager_->allocate(vm, ByteCount(pages * 4096), [&](const Result<Grant>& grant) { granted = bool(grant); }));
    settle();
    ASSERT_TRUE(granted);
  }
  /// A holds all but pages 4 to 7, which B holds.
  void share() {
    take(kA, 48);
    ASSERT_TRUE(manager_->release(kA, bricks_.pages(4, 4)));
    settle();
    take(kB, 4);
  }
  void expect_not_held(MemorySpan memory) {
    const ByteCount owned = in(ExtentState::Owned);
    const auto refused = manager_->release(kA, memory);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, HostErrc::NotHeld) << refused.error().message;
    EXPECT_EQ(in(ExtentState::Owned), owned) << "an error changes nothing";
    EXPECT_EQ(manager_->jobs_in_flight(), 0U);
  }
  [[nodiscard]] ByteCount in(ExtentState state) const { return manager_->extents().bytes(state); }

  Bricks bricks_;
  ManualEngine engine_;
  std::unique_ptr<MemoryManager> manager_ = *MemoryManager::create(bricks_, engine_);
};

TEST_F(Releases, OverBricksThatTouchAreOne) {
  take(kA, 48);
  ASSERT_TRUE(manager_->release(kA, bricks_.pages(12, 8)));
  EXPECT_EQ(in(ExtentState::Owned), ByteCount(40 * 4096));
  settle();
  EXPECT_EQ(in(ExtentState::Clean), ByteCount(8 * 4096));
  EXPECT_EQ(first_not(bricks_.pages(12, 8), std::byte{0}), std::nullopt);
  EXPECT_EQ(manager_->extents().find(bricks_.pages(16, 1).data())->length(), ByteCount(4 * 4096))
      << "an extent lies in one brick";
}

TEST_F(Releases, OverAGapBetweenBricksAreRefused) {
  take(kA, 48);
  expect_not_held(bricks_.pages(30, 20));
  expect_not_held(bricks_.pages(30, 4));
  expect_not_held(bricks_.pages(0, 64));
}

TEST_F(Releases, OverSomebodyElsesMemoryAreRefused) {
  share();
  expect_not_held(bricks_.pages(0, 16));
  expect_not_held(bricks_.pages(3, 2));
  expect_not_held(bricks_.pages(7, 9));
  expect_not_held(bricks_.pages(0, 32));
  EXPECT_TRUE(manager_->release(kA, bricks_.pages(0, 4)));
  EXPECT_TRUE(manager_->release(kA, bricks_.pages(8, 24)));
  EXPECT_TRUE(manager_->release(kB, bricks_.pages(4, 4)));
}

TEST_F(Releases, OverMemoryThatWasReleasedAlreadyAreRefused) {
  take(kA, 48);
  ASSERT_TRUE(manager_->release(kA, bricks_.pages(10, 2)));
  settle();
  expect_not_held(bricks_.pages(8, 4));
  expect_not_held(bricks_.pages(10, 2));
  expect_not_held(bricks_.pages(11, 1));
}

/// Each grant has a lineage of its own: A was in another group at that time.
TEST_F(Releases, OfSeveralGrantsAreOne) {
  for (std::uint64_t grant = 1; grant <= 6; ++grant) {
    ASSERT_TRUE(manager_->create_trust_group(TrustGroupId(grant), CustomerId(1)));
    ASSERT_TRUE(manager_->change_trust_group(kA, TrustGroupId(grant)));
    take(kA, 8);
  }
  ASSERT_TRUE(manager_->release(kA, bricks_.pages(3, 26)));
  EXPECT_EQ(in(ExtentState::Owned), ByteCount(22 * 4096));
  EXPECT_TRUE(manager_->release(kA, bricks_.pages(0, 3)));
  EXPECT_TRUE(manager_->release(kA, bricks_.pages(29, 3)));
  EXPECT_TRUE(manager_->release(kA, bricks_.pages(48, 16)));
  settle();
  EXPECT_EQ(in(ExtentState::Clean), ByteCount(48 * 4096));
}

}  // namespace
}  // namespace sluice::test
