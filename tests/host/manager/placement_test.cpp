// SPDX-License-Identifier: Apache-2.0
// Where a claim's memory lies: nodes, lengths of pages, contiguity.
#include <gmock/gmock.h>

#include "support/manager_fixture.hpp"
#include "support/patience.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr CustomerId kCustomer{1};
constexpr CustomerId kOtherCustomer{2};
constexpr std::size_t kHuge = 2ULL << 20;

/// A host of two nodes, with 64 small pages and four of 2 MiB on each.
class Host : public BackingMemory {
 public:
  Host() {
    for (std::uint32_t node = 0; node < 2; ++node) {
      bricks_.push_back({small_[node].all(), -1, PageKind::Small, node});
      bricks_.push_back({huge_[node].all(), -1, PageKind::Huge2MiB, node});
    }
  }
  [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }

 private:
  Memory small_[2] = {Memory(64 * 4096, std::byte{0xEE}), Memory(64 * 4096, std::byte{0xEE})};
  Memory huge_[2] = {Memory(4 * kHuge, std::byte{0xEE}), Memory(4 * kHuge, std::byte{0xEE})};
  std::vector<Brick> bricks_;
};

class Placements : public ::testing::Test {
 protected:
  Placements() { settle(); }

  void settle() {
    for (const Patience patience; manager_.has_work() && !patience.over();) {
      manager_.poll();
      engine_.end_all();
    }
    manager_.poll();
  }
  void create(VmId vm, const Placement& placement, CustomerId customer = kCustomer) {
    const auto created = manager_.create_vm({vm, customer, {}, {}, {}, {}, placement});
    ASSERT_TRUE(created) << created.error().message;
  }
  Result<Grant> ask(VmId vm, std::uint64_t bytes) {
    std::optional<Result<Grant>> result;
    const auto claim =
        manager_.allocate(vm, ByteCount(bytes), [&](Result<Grant> grant) { result.emplace(std::move(grant)); });
    if (!claim) return claim.error();
    settle();
    return *result;
  }
  Grant take(VmId vm, std::uint64_t bytes) {
    auto grant = ask(vm, bytes);
    EXPECT_TRUE(grant) << (grant ? "" : grant.error().message);
    return grant ? *grant : Grant{};
  }
  /// Bytes of a grant on a node; all of them with pages of this kind.
  std::uint64_t on_node(const Grant& grant, std::uint32_t node, PageKind pages = PageKind::Small) {
    std::uint64_t bytes = 0;
    for (const GrantedRange& range : grant.ranges) {
      const Brick& brick = manager_.extents().brick(*manager_.extents().find(range.memory.data()));
      EXPECT_EQ(brick.pages, pages);
      if (brick.node == node) bytes += range.memory.size();
    }
    return bytes;
  }

  Host host_;
  ManualEngine engine_;
  std::unique_ptr<MemoryManager> owned_ = *MemoryManager::create(host_, engine_);
  MemoryManager& manager_ = *owned_;
};

TEST_F(Placements, PreferANodeAndTakeTheOtherBeforeAScrub) {
  create(kA, {.node = 1});
  create(kB, {.node = 1}, kOtherCustomer);
  EXPECT_EQ(on_node(take(kA, 40 * 4096), 1), 40U * 4096);
  ASSERT_TRUE(manager_.terminate(kA));  // a scrub would make room again
  const Grant grant = take(kB, 40 * 4096);
  EXPECT_EQ(on_node(grant, 1), 24U * 4096);
  EXPECT_EQ(on_node(grant, 0), 16U * 4096);
  EXPECT_FALSE(grant.waited);
}

TEST_F(Placements, OnlyOnANodeWaitsForAScrubThere) {
  create(kA, {.node = 1});
  create(kB, {.node = 1, .only_node = true}, kOtherCustomer);
  take(kA, 40 * 4096);
  ASSERT_TRUE(manager_.terminate(kA));
  const Grant grant = take(kB, 40 * 4096);
  EXPECT_EQ(on_node(grant, 1), 40U * 4096);
  EXPECT_TRUE(grant.waited);
  const auto refused = ask(kB, 25 * 4096);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::OutOfMemory);
  EXPECT_THAT(refused.error().message, HasSubstr("102400 bytes were asked for and 98304"));
}

TEST_F(Placements, OnNoNodeGoWhereMostIsClean) {
  create(kA, {.node = 0});
  create(kB, {});
  take(kA, 4096);
  EXPECT_EQ(on_node(take(kB, 4096), 1), 4096U);
}

TEST_F(Placements, AreWholePagesOfTheLengthThatIsWanted) {
  create(kA, {.pages = PageKind::Huge2MiB});
  const Grant grant = take(kA, 6 * kHuge);
  EXPECT_EQ(on_node(grant, 0, PageKind::Huge2MiB) + on_node(grant, 1, PageKind::Huge2MiB), 6 * kHuge);
  for (const GrantedRange& range : grant.ranges) {
    const Brick& brick = manager_.extents().brick(*manager_.extents().find(range.memory.data()));
    EXPECT_EQ(static_cast<std::size_t>(range.memory.data() - brick.memory.data()) % kHuge, 0U);
    EXPECT_EQ(range.memory.size() % kHuge, 0U);
  }
  const auto refused = ask(kA, 3 * kHuge / 2);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("a length of 3145728 bytes: give a multiple of 2097152 bytes"));
  EXPECT_FALSE(ask(kA, 3 * kHuge)) << "small pages do not help";
  create(kB, {});
  EXPECT_EQ(on_node(take(kB, 64 * 4096), 0), 64U * 4096) << "small ones unless asked otherwise";
}

TEST_F(Placements, HugePagesAreReleasedWhole) {
  create(kA, {.pages = PageKind::Huge2MiB});
  const Grant grant = take(kA, 2 * kHuge);
  const MemorySpan memory = grant.ranges.at(0).memory;
  for (const MemorySpan part : {memory.first(4096), memory.subspan(4096, kHuge)}) {
    const auto refused = manager_.release(kA, part);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("give multiples of 2097152 bytes"));
  }
  EXPECT_TRUE(manager_.release(kA, memory.subspan(kHuge, kHuge)));
}

TEST_F(Placements, BackgroundJobsDoNotCutAHugePage) {
  const auto made = *MemoryManager::create(host_, engine_, {.background_job_length = ByteCount(4096)});
  MemoryManager& manager = *made;
  for (const Patience patience; manager.has_work() && !patience.over();) {
    manager.poll();
    engine_.end_all();
  }
  EXPECT_EQ(manager.extents().bytes(ExtentState::Clean), manager.extents().total());
}

TEST_F(Placements, OfAPoolHoldForItsVms) {
  bool ready = false;
  ASSERT_TRUE(manager_.create_dedicated_pool(
      DedicatedPoolId(1), kCustomer, ByteCount(2 * kHuge), [&](Result<void> made) { ready = made.has_value(); },
      {.placement = {.pages = PageKind::Huge2MiB, .node = 1, .only_node = true}}));
  settle();
  ASSERT_TRUE(ready);
  EXPECT_EQ(manager_.dedicated_pool(DedicatedPoolId(1))->placement.pages, PageKind::Huge2MiB);
  const auto refused = manager_.create_vm({kA, kCustomer, DedicatedPoolId(1), {}, {}, {}, {.pages = PageKind::Small}});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("pages of 4096 bytes were asked for where they have 2097152 bytes"));
  ASSERT_TRUE(manager_.create_vm({kA, kCustomer, DedicatedPoolId(1), {}, {}, {}, {}}));
  EXPECT_EQ(on_node(take(kA, kHuge), 1, PageKind::Huge2MiB), kHuge);
  EXPECT_EQ(manager_.shrink_dedicated_pool(DedicatedPoolId(1), ByteCount(4096)).error().code,
            HostErrc::InvalidArgument);
  EXPECT_TRUE(manager_.shrink_dedicated_pool(DedicatedPoolId(1), ByteCount(kHuge)));

  ASSERT_TRUE(manager_.create_dedicated_pool(DedicatedPoolId(2), kCustomer, kPageSize, [](const Result<void>&) {}));
  settle();
  const auto other_pages = manager_.merge_dedicated_pools(DedicatedPoolId(1), DedicatedPoolId(2));
  ASSERT_FALSE(other_pages);
  EXPECT_EQ(other_pages.error().code, HostErrc::InvalidArgument);
}

TEST_F(Placements, ThatTheHostHasNotAreRefused) {
  const auto no_node = manager_.create_vm({kA, kCustomer, {}, {}, {}, {}, {.node = 7}});
  ASSERT_FALSE(no_node);
  EXPECT_EQ(no_node.error().code, HostErrc::InvalidArgument);
  EXPECT_THAT(no_node.error().message, HasSubstr("node 7"));
  EXPECT_THAT(no_node.error().message, HasSubstr("node 1 with pages of 2097152 bytes"));
  EXPECT_FALSE(manager_.create_vm({kA, kCustomer, {}, {}, {}, {}, {.pages = PageKind::Huge1GiB}}));
  create(kA, {});
  EXPECT_FALSE(manager_.change_placement(kA, {.pages = PageKind::Huge2MiB})) << "its pages stay as they are";
  EXPECT_FALSE(manager_.change_placement(kA, {.node = 7}));
  EXPECT_FALSE(manager_.change_placement(kB, {}));
  ASSERT_TRUE(manager_.change_placement(kA, {.node = 1}));
  EXPECT_EQ(on_node(take(kA, 4096), 1), 4096U);
}

TEST_F(Placements, OnOneNodeLeaveOwnMemoryOnAnotherAlone) {
  create(kA, {.node = 0});
  const Grant grant = take(kA, 8 * 4096);
  for (const GrantedRange& range : grant.ranges) ASSERT_TRUE(manager_.release(kA, range.memory));
  ASSERT_TRUE(manager_.change_placement(kA, {.node = 1, .only_node = true}));
  EXPECT_EQ(on_node(take(kA, 8 * 4096), 1), 8U * 4096);
}

TEST_F(Placements, RebootBringsMemoryBackFromAnyNode) {
  create(kA, {.node = 0});
  take(kA, 8 * 4096);
  ASSERT_TRUE(manager_.change_placement(kA, {.node = 1}));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(
      manager_.finish_reboot(kA, ByteCount(8 * 4096), [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(on_node(**result, 0), 8U * 4096) << "its own memory needs no scrub";
}

TEST(Contiguity, IsNoReasonToLeaveWhatWasKeptDuringAReboot) {
  ManagerFixture fixture(64);
  fixture.create(kA);
  fixture.take(kA, 2);
  ASSERT_TRUE(fixture.manager_.change_placement(kA, {.contiguous = ManagerFixture::length(8)}));
  ASSERT_TRUE(fixture.manager_.begin_reboot(kA));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(fixture.manager_.finish_reboot(kA, ManagerFixture::length(10),
                                             [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
  fixture.settle();
  ASSERT_TRUE(result && *result);
  EXPECT_TRUE((*result)->ranges.at(0).recycled);
}

/// Every other page of 32 belongs to another VM that goes: clean memory in pieces of one page, and the rest in one.
TEST(Contiguity, IsPreferredToShortPiecesOfOnesOwn) {
  ManagerFixture fixture(64);
  fixture.create(kA);
  fixture.create(kB, kOtherCustomer);
  for (int page = 0; page < 16; ++page) {
    fixture.take(kA, 1);
    fixture.take(kB, 1);
  }
  ASSERT_TRUE(fixture.manager_.change_scrub_settings(kA, {.timing = ScrubTiming::BeforeGrant}));
  ASSERT_TRUE(fixture.manager_.terminate(kB));
  fixture.settle();
  const VmId c{3};
  ASSERT_TRUE(
      fixture.manager_.create_vm({c, kOtherCustomer, {}, {}, {}, {}, {.contiguous = ManagerFixture::length(8)}}));
  const Grant grant = fixture.take(c, 20);
  ASSERT_EQ(grant.ranges.size(), 1U);
  EXPECT_EQ(grant.ranges[0].memory.size(), 20U * 4096);
  EXPECT_GT(fixture.take(c, 20).ranges.size(), 1U) << "as far as there are long ones";
}

/// Its own pages lie scattered and would be recycled; the VM would rather have eight in a row.
TEST(Contiguity, IsPreferredToRecycling) {
  for (const bool contiguous : {false, true}) {
    ManagerFixture fixture(64);
    ASSERT_TRUE(fixture.manager_.create_vm(
        {kA, kCustomer, {}, {}, {}, {.timing = ScrubTiming::Scheduled, .delay = std::chrono::hours(1)}, {}}));
    fixture.create(kB, kOtherCustomer);
    std::vector<MemorySpan> pages;
    for (int page = 0; page < 16; ++page) {
      pages.push_back(fixture.take(kA, 1).ranges.at(0).memory);
      fixture.take(kB, 1);
    }
    for (const MemorySpan page : pages) ASSERT_TRUE(fixture.manager_.release(kA, page));
    Placement wish;
    if (contiguous) wish.contiguous = ManagerFixture::length(8);
    ASSERT_TRUE(fixture.manager_.change_placement(kA, wish));
    EXPECT_EQ(fixture.take(kA, 8).ranges.size(), contiguous ? 1U : 8U);
  }
}

TEST(Contiguity, ThatIsNotThereCostsNoRecycling) {
  ManagerFixture fixture(32);
  ASSERT_TRUE(fixture.manager_.create_vm(
      {kA, kCustomer, {}, {}, {}, {.timing = ScrubTiming::Scheduled, .delay = std::chrono::hours(1)}, {}}));
  fixture.create(kB, kOtherCustomer);
  std::vector<MemorySpan> own;
  std::vector<MemorySpan> others;
  for (int page = 0; page < 16; ++page) {
    own.push_back(fixture.take(kA, 1).ranges.at(0).memory);
    others.push_back(fixture.take(kB, 1).ranges.at(0).memory);
  }
  for (const MemorySpan page : own) ASSERT_TRUE(fixture.manager_.release(kA, page));
  for (std::size_t page = 0; page < 16; page += 2) ASSERT_TRUE(fixture.manager_.release(kB, others[page]));
  fixture.settle();
  ASSERT_TRUE(fixture.manager_.change_placement(kA, {.contiguous = ManagerFixture::length(8)}));
  for (const GrantedRange& range : fixture.take(kA, 8).ranges) EXPECT_TRUE(range.recycled);
}

}  // namespace
}  // namespace sluice::test
