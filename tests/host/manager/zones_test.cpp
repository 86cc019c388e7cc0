// SPDX-License-Identifier: Apache-2.0
// What is counted is counted by what it can serve: by node, by length of pages, by pool.
#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr CustomerId kCustomer{1};
constexpr std::size_t kHuge = 2ULL << 20;
constexpr DedicatedPoolId kPool{1};
constexpr DedicatedPoolId kOtherPool{2};

/// 16 small pages and four of 2 MiB on each of two nodes.
class TwoNodes final : public BackingMemory {
 public:
  TwoNodes() {
    for (std::uint32_t node = 0; node < 2; ++node) {
      bricks_.push_back({small_[node].all(), -1, PageKind::Small, node});
      bricks_.push_back({huge_[node].all(), -1, PageKind::Huge2MiB, node});
    }
  }
  [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }

 private:
  Memory small_[2] = {Memory(16 * 4096, std::byte{0xEE}), Memory(16 * 4096, std::byte{0xEE})};
  Memory huge_[2] = {Memory(4 * kHuge, std::byte{0xEE}), Memory(4 * kHuge, std::byte{0xEE})};
  std::vector<Brick> bricks_;
};

class Zones : public ::testing::Test {
 protected:
  Zones() { settle(); }
  ~Zones() override { ending_ = true; }

  void settle() {
    for (int round = 0; round < 1000 && manager_.has_work(); ++round) {
      manager_.poll();
      engine_.end_all();
    }
    manager_.poll();
  }
  /// A VM of a customer of its own, unless it is in a pool.
  void create(std::uint64_t vm, const Placement& placement, DedicatedPoolId pool = {}, RecycleSettings allowed = {}) {
    const CustomerId customer = pool.is_set() ? kCustomer : CustomerId(100 + vm);
    const auto created = manager_.create_vm({VmId(vm), customer, pool, {}, allowed, {}, placement});
    ASSERT_TRUE(created) << created.error().message;
  }
  /// What has become of a VM's claim. -1: nothing yet.
  enum class Came { Waits = -1, Granted, OutOfMemory, Other };
  void ask(std::uint64_t vm, std::uint64_t bytes) {
    came_[vm] = Came::Waits;
    const auto claim = manager_.allocate(VmId(vm), ByteCount(bytes), [this, vm](const Result<Grant>& grant) {
      if (ending_) return;
      came_[vm] = grant ? Came::Granted : outcome(grant.error());
      if (grant) grants_[vm] = *grant;
    });
    if (!claim) came_[vm] = outcome(claim.error());
  }
  static Came outcome(const Error& error) {
    return error.code == HostErrc::OutOfMemory ? Came::OutOfMemory : Came::Other;
  }
  void take(std::uint64_t vm, std::uint64_t bytes) {
    ask(vm, bytes);
    settle();
    ASSERT_EQ(came_[vm], Came::Granted);
  }
  void fill_pool(DedicatedPoolId pool, std::uint64_t bytes, const Placement& placement) {
    bool ready = false;
    const auto claim = manager_.create_dedicated_pool(pool, kCustomer, ByteCount(bytes),
                                                      [&ready](const Result<void>& made) { ready = bool(made); },
                                                      {.placement = placement});
    ASSERT_TRUE(claim) << claim.error().message;
    settle();
    ASSERT_TRUE(ready);
  }
  [[nodiscard]] const Brick& brick_of(const GrantedRange& range) const {
    return manager_.extents().brick(*manager_.extents().find(range.memory.data()));
  }
  [[nodiscard]] std::uint64_t on_node(std::uint64_t vm, std::uint32_t node) {
    std::uint64_t bytes = 0;
    for (const GrantedRange& range : grants_[vm].ranges)
      bytes += brick_of(range).node == node ? range.memory.size() : 0;
    return bytes;
  }

  TwoNodes host_;
  ManualEngine engine_;
  std::unique_ptr<MemoryManager> owned_ = *MemoryManager::create(host_, engine_);
  MemoryManager& manager_ = *owned_;
  std::map<std::uint64_t, Came> came_;
  std::map<std::uint64_t, Grant> grants_;
  bool ending_ = false;
};

/// VM 1 holds all of one zone. All of another is being scrubbed, and VM 4 has claimed a page of it.
class ZonesThatWait : public Zones {
 protected:
  void start(const Placement& full, const Placement& scrubbed, std::uint64_t page) {
    create(1, full);
    create(2, full);
    take(1, manager_.available_to(VmId(1)).value());
    for (const std::uint64_t vm : {3U, 4U, 5U, 6U}) create(vm, scrubbed);
    all_ = manager_.available_to(VmId(3)).value();
    take(3, all_);
    ASSERT_TRUE(manager_.terminate(VmId(3)));
    manager_.poll();
    ask(4, page);
    ASSERT_EQ(came_[4], Came::Waits);
  }
  void expect_each_judged_by_its_own(std::uint64_t page, std::uint64_t other_page) {
    ask(2, other_page);
    EXPECT_EQ(came_[2], Came::OutOfMemory) << "nothing comes back where it may have memory from";
    ask(5, all_ - page);
    EXPECT_EQ(came_[5], Came::Waits) << "all this comes back";
    ask(6, page);
    EXPECT_EQ(came_[6], Came::OutOfMemory) << "and that is promised to others";
    settle();
    EXPECT_EQ(came_[4], Came::Granted);
    EXPECT_EQ(came_[5], Came::Granted);
  }
  std::uint64_t all_ = 0;
};

TEST_F(ZonesThatWait, MemoryOfOneNodeIsNoHopeForClaimsOfAnother) {
  start({.node = 0, .only_node = true}, {.node = 1, .only_node = true}, 4096);
  expect_each_judged_by_its_own(4096, 4096);
}

TEST_F(ZonesThatWait, SmallPagesAreNoHopeForClaimsOfHugeOnes) {
  start({.pages = PageKind::Huge2MiB}, {.node = 0, .only_node = true}, 4096);
  expect_each_judged_by_its_own(4096, kHuge);
}

TEST_F(ZonesThatWait, HugePagesAreNoHopeForClaimsOfSmallOnes) {
  start({}, {.pages = PageKind::Huge2MiB, .node = 1, .only_node = true}, kHuge);
  expect_each_judged_by_its_own(kHuge, 4096);
}

TEST_F(ZonesThatWait, ClaimOfAnyNodeTakesWhatOthersCannotUse) {
  start({.node = 0, .only_node = true}, {.node = 1, .only_node = true}, 4096);
  create(7, {});
  ask(7, all_ - 2 * 4096);
  EXPECT_EQ(came_[7], Came::Waits) << "it may have the other node's";
  ask(5, 4096);
  EXPECT_EQ(came_[5], Came::Waits);
  ask(6, 4096);
  EXPECT_EQ(came_[6], Came::OutOfMemory);
  settle();
  EXPECT_EQ(came_[7], Came::Granted);
  EXPECT_EQ(came_[5], Came::Granted);
}

/// A pool's free memory is scrubbed for one of its VMs, which needs a part of it.
TEST_F(Zones, MemoryOfAPoolThatComesBackIsForItsVmsAlone) {
  fill_pool(kPool, 8 * 4096, {.node = 0, .only_node = true});
  create(1, {}, kPool);
  create(2, {}, kPool, {.enable = false});
  create(3, {}, kPool, {.enable = false});
  create(4, {});
  take(4, manager_.available_to(VmId(4)).value());
  take(1, 8 * 4096);
  ASSERT_TRUE(manager_.terminate(VmId(1)));
  ask(2, 4096);
  ASSERT_EQ(came_[2], Came::Waits) << "it takes nothing that was not scrubbed";
  create(5, {});
  ask(5, 4096);
  EXPECT_EQ(came_[5], Came::OutOfMemory) << "the shared pool is empty";
  ask(3, 7 * 4096);
  EXPECT_EQ(came_[3], Came::Waits);
  settle();
  EXPECT_EQ(came_[2], Came::Granted);
  EXPECT_EQ(came_[3], Came::Granted);
}

TEST_F(Zones, PartOfAPoolIsTakenFromAllItsNodes) {
  fill_pool(kPool, 24 * 4096, {.node = 1});  // all of node 1, and half of node 0
  const ByteCount shared = manager_.extents().bytes_in({});
  ASSERT_TRUE(manager_.partition_dedicated_pool(kPool, kOtherPool, ByteCount(20 * 4096)));
  EXPECT_EQ(manager_.dedicated_pool(kPool)->size, ByteCount(4 * 4096));
  EXPECT_EQ(manager_.dedicated_pool(kOtherPool)->size, ByteCount(20 * 4096));
  EXPECT_EQ(manager_.dedicated_pool(kOtherPool)->free, ByteCount(20 * 4096));
  EXPECT_EQ(manager_.extents().bytes_in({}), shared);
  create(1, {.node = 0, .only_node = true}, kPool);
  create(2, {.node = 1, .only_node = true}, kOtherPool);
  create(3, {.node = 0, .only_node = true}, kOtherPool);
  const std::uint64_t second = manager_.available_to(VmId(2)).value();
  const std::uint64_t third = manager_.available_to(VmId(3)).value() - 8 * 4096;  // 8 are of the shared pool
  EXPECT_EQ(second + third, 20U * 4096);
  take(2, second);
  EXPECT_EQ(on_node(2, 1), second);
  take(3, third);
  EXPECT_EQ(on_node(3, 0), third);
}

TEST_F(Zones, MergedPoolsOfTwoNodesServeClaimsOfEither) {
  fill_pool(kPool, 8 * 4096, {.node = 0, .only_node = true});
  fill_pool(kOtherPool, 8 * 4096, {.node = 1, .only_node = true});
  create(9, {});
  take(9, manager_.available_to(VmId(9)).value());  // nothing is left in the shared pool
  ASSERT_TRUE(manager_.merge_dedicated_pools(kPool, kOtherPool));
  EXPECT_EQ(manager_.dedicated_pool(kPool)->size, ByteCount(16 * 4096));
  EXPECT_EQ(manager_.dedicated_pool(kOtherPool), std::nullopt);
  create(1, {.node = 1, .only_node = true}, kPool);
  ask(1, 9 * 4096);
  EXPECT_EQ(came_[1], Came::OutOfMemory);
  take(1, 8 * 4096);
  EXPECT_EQ(on_node(1, 1), 8U * 4096);
  create(2, {}, kPool);
  take(2, 8 * 4096);
  EXPECT_EQ(on_node(2, 0), 8U * 4096);
}

TEST_F(Zones, HugePagesOfAPoolArePartitionedAndMergedWhole) {
  fill_pool(kPool, 6 * kHuge, {.pages = PageKind::Huge2MiB});
  EXPECT_EQ(manager_.partition_dedicated_pool(kPool, kOtherPool, ByteCount(kHuge + 4096)).error().code,
            HostErrc::InvalidArgument);
  ASSERT_TRUE(manager_.partition_dedicated_pool(kPool, kOtherPool, ByteCount(5 * kHuge)));
  EXPECT_EQ(manager_.dedicated_pool(kOtherPool)->placement.pages, PageKind::Huge2MiB);
  create(1, {}, kOtherPool);
  take(1, 5 * kHuge);
  for (const GrantedRange& range : grants_[1].ranges) {
    EXPECT_EQ(brick_of(range).pages, PageKind::Huge2MiB);
    EXPECT_EQ(static_cast<std::size_t>(range.memory.data() - brick_of(range).memory.data()) % kHuge, 0U);
  }
  EXPECT_EQ(on_node(1, 0) + on_node(1, 1), 5 * kHuge);
  fill_pool(DedicatedPoolId(3), 4096, {});
  EXPECT_EQ(manager_.merge_dedicated_pools(kPool, DedicatedPoolId(3)).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(manager_.dedicated_pool(DedicatedPoolId(3))->size, ByteCount(4096)) << "an error changes nothing";
  ASSERT_TRUE(manager_.terminate(VmId(1)));
  ASSERT_TRUE(manager_.merge_dedicated_pools(kPool, kOtherPool));
  EXPECT_EQ(manager_.dedicated_pool(kPool)->size, ByteCount(6 * kHuge));
  EXPECT_EQ(manager_.dedicated_pool(kPool)->free, ByteCount(6 * kHuge));
}

}  // namespace
}  // namespace sluice::test
