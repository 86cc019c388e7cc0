// SPDX-License-Identifier: Apache-2.0
// Bricks that change hands as a whole: whoever has a brick's descriptor reaches all of it.
#include <gmock/gmock.h>
#include <sys/mman.h>

#include <map>
#include <random>
#include <set>

#include "sluice/memory/ledger.hpp"
#include "support/manager_fixture.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr CustomerId kCustomer{1};
constexpr std::uint64_t kShort = 16 << 10;
constexpr std::uint64_t kLong = 64 << 10;
constexpr VmId kA{1};
constexpr VmId kB{2};

/// Twelve whole bricks of 16 KiB, four of 64 KiB, and 16 pages that may be cut.
class WholeBricks : public ::testing::Test {
 protected:
  WholeBricks() {
    std::vector<Brick> bricks;
    for (std::size_t at = 0; at < 12; ++at) add(bricks, kShort, true);
    for (std::size_t at = 0; at < 4; ++at) add(bricks, kLong, true);
    add(bricks, 16 * 4096, false);
    host_ = *ForeignMemory::create(bricks);
    ScrubberConfig config;
    config.background_job_length = ByteCount(4096);  // shorter than any of them
    manager_ = *MemoryManager::create(*host_, engine_, config);
    settle();
  }
  ~WholeBricks() override { ending_ = true; }

  void add(std::vector<Brick>& bricks, std::uint64_t length, bool whole) {
    memory_.push_back(std::make_unique<Memory>(length, std::byte{0xEE}));
    bricks.push_back({.memory = memory_.back()->all(), .whole = whole});
  }
  void settle() {
    for (int round = 0; round < 1000 && manager_->has_work(); ++round) {
      manager_->poll();
      engine_.end_all();
    }
    manager_->poll();
  }
  void create(VmId vm, std::uint64_t unit, CustomerId customer = kCustomer) {
    const auto created = manager_->create_vm({.vm = vm, .customer = customer, .placement = {.unit = ByteCount(unit)}});
    ASSERT_TRUE(created) << created.error().message;
  }
  Result<Grant> take(VmId vm, std::uint64_t bytes) {
    std::optional<Result<Grant>> result;
    const auto claim = manager_->allocate(vm, ByteCount(bytes), [&](Result<Grant> grant) {
      if (!ending_) result.emplace(std::move(grant));
    });
    if (!claim) return claim.error();
    settle();
    return std::move(*result);
  }
  /// Each is one brick from its beginning to its end.
  void expect_whole(const Grant& grant, std::uint64_t unit) const {
    for (const GrantedRange& range : grant.ranges) {
      const Brick& brick = manager_->extents().brick(*manager_->extents().find(range.memory.data()));
      EXPECT_EQ(range.memory.data(), brick.memory.data());
      EXPECT_EQ(range.memory.size(), unit);
      EXPECT_EQ(range.fd_offset, 0U);
    }
  }

  std::vector<std::unique_ptr<Memory>> memory_;
  std::unique_ptr<ForeignMemory> host_;
  ManualEngine engine_;
  std::unique_ptr<MemoryManager> manager_;
  bool ending_ = false;
};

TEST_F(WholeBricks, AreGrantedFromBeginningToEnd) {
  create(kA, kShort);
  create(kB, kLong);
  const auto a = take(kA, 3 * kShort);
  const auto b = take(kB, 2 * kLong);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->ranges.size(), 3U);
  EXPECT_EQ(b->ranges.size(), 2U);
  expect_whole(*a, kShort);
  expect_whole(*b, kLong);
}

TEST_F(WholeBricks, AreUsedUpToTheLastOneAndNoFurther) {
  create(kA, kLong);
  ASSERT_TRUE(take(kA, 3 * kLong));
  EXPECT_EQ(manager_->available_to(kA), ByteCount(kLong));
  EXPECT_EQ(take(kA, 2 * kLong).error().code, HostErrc::OutOfMemory) << "though shorter ones and pages are free";
  ASSERT_TRUE(take(kA, kLong));
  EXPECT_EQ(manager_->available_to(kA), ByteCount(0));
}

TEST_F(WholeBricks, RefuseLengthsThatNoneOfThemServes) {
  create(kA, kShort);
  const auto refused = take(kA, kShort + 4096);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::InvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("give a multiple of 16384 bytes"));
  const auto created = manager_->create_vm({.vm = kB, .customer = kCustomer, .placement = {.unit = ByteCount(8192)}});
  ASSERT_FALSE(created);
  EXPECT_THAT(created.error().message,
              HasSubstr("memory in pieces of 8192 bytes: the host has node 0 with pages of 4096 bytes, in pieces of "
                        "16384 bytes, node 0 with pages of 4096 bytes, in pieces of 65536 bytes, node 0 with pages of "
                        "4096 bytes"));
}

TEST_F(WholeBricks, AreNotCutByARelease) {
  create(kA, kShort);
  const Grant grant = *take(kA, 2 * kShort);
  const MemorySpan brick = grant.ranges[0].memory;
  for (const MemorySpan part : {brick.first(4096), brick.subspan(4096)}) {
    const auto released = manager_->release(kA, part);
    ASSERT_FALSE(released);
    EXPECT_EQ(released.error().code, HostErrc::InvalidArgument);
    EXPECT_THAT(released.error().message, HasSubstr("give multiples of 16384 bytes"));
  }
  EXPECT_FALSE(manager_->suspect(brick.first(4096)));
  EXPECT_TRUE(manager_->release(kA, brick));
}

TEST_F(WholeBricks, AreScrubbedInOneJobHoweverShortBackgroundJobsAre) {
  create(kA, kLong);
  const Grant grant = *take(kA, kLong);
  std::ranges::fill(grant.ranges[0].memory, std::byte{0xAA});
  ASSERT_TRUE(manager_->terminate(kA));
  manager_->poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  EXPECT_EQ(engine_.running()[0].job.memory.size(), kLong);
  settle();
  EXPECT_EQ(first_not_pattern(grant.ranges[0].memory, 0), std::nullopt);
}

TEST_F(WholeBricks, AreQuarantinedAsAWholeWhereAScrubFails) {
  create(kA, kLong);
  ASSERT_TRUE(take(kA, kLong));
  ASSERT_TRUE(manager_->terminate(kA));
  manager_->poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  engine_.end(0, Outcome::Failed, 4096);
  settle();
  EXPECT_EQ(manager_->extents().bytes(ExtentState::Quarantined), ByteCount(kLong));
}

TEST_F(WholeBricks, GoBackToTheirVmAsTheyAreWhenTheirScrubIsCancelled) {
  create(kA, kLong);
  const Grant first = *take(kA, kLong);
  std::ranges::fill(first.ranges[0].memory, std::byte{0xAA});
  ASSERT_TRUE(manager_->release(kA, first.ranges[0].memory));
  manager_->poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  std::optional<Result<Grant>> again;
  ASSERT_TRUE(manager_->allocate(kA, ByteCount(kLong), [&](Result<Grant> grant) { again.emplace(std::move(grant)); }));
  ASSERT_TRUE(engine_.running()[0].cancel_requested);
  engine_.end(0, Outcome::Cancelled, 8192);
  settle();
  ASSERT_TRUE(again && *again);
  expect_whole(**again, kLong);
  EXPECT_TRUE((*again)->ranges[0].recycled);
  EXPECT_EQ((*again)->ranges[0].memory.data(), first.ranges[0].memory.data());
}

TEST_F(WholeBricks, WithoutAWishAVmHasTheShortestUnit) {
  ASSERT_TRUE(manager_->create_vm({.vm = kA, .customer = kCustomer}));
  EXPECT_EQ(manager_->profile(kA)->placement.unit, ByteCount(4096));
  EXPECT_FALSE(manager_->change_placement(kA, {.unit = ByteCount(kLong)})) << "its memory would be of two kinds";
}

TEST_F(WholeBricks, PoolsOfThemGrowAndShrinkByWholeOnes) {
  const DedicatedPoolId pool(5);
  const auto made = manager_->create_dedicated_pool(pool, kCustomer, ByteCount(2 * kLong), [](const Result<void>&) {},
                                                    {.placement = {.unit = ByteCount(kLong)}});
  ASSERT_TRUE(made) << made.error().message;
  settle();
  EXPECT_EQ(manager_->dedicated_pool(pool)->placement.unit, ByteCount(kLong));
  EXPECT_EQ(manager_->shrink_dedicated_pool(pool, ByteCount(kShort)).error().code, HostErrc::InvalidArgument);
  EXPECT_TRUE(manager_->shrink_dedicated_pool(pool, ByteCount(kLong)));
  EXPECT_EQ(manager_->dedicated_pool(pool)->size, ByteCount(kLong));
  ASSERT_TRUE(manager_->create_vm({.vm = kA, .customer = kCustomer, .pool = pool}));
  EXPECT_EQ(manager_->profile(kA)->placement.unit, ByteCount(kLong)) << "as its pool";
}

TEST_F(WholeBricks, HaveOneHolderWhateverHappens) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    std::map<std::uint64_t, std::vector<MemorySpan>> held;
    std::uint64_t next = 1000 * seed;
    for (int step = 0; step < 100; ++step) {
      const std::uint64_t unit = random() % 2 == 0 ? kShort : kLong;
      if (held.size() < 4) {
        create(VmId(++next), unit, CustomerId(1 + random() % 2));
        held[next];
      }
      auto chosen = std::next(held.begin(), static_cast<long>(random() % held.size()));
      const VmId vm(chosen->first);
      const std::uint64_t own = manager_->profile(vm)->placement.unit->value();
      if (random() % 2 == 0) {
        if (const auto grant = take(vm, (1 + random() % 3) * own)) {
          expect_whole(*grant, own);
          for (const GrantedRange& range : grant->ranges) chosen->second.push_back(range.memory);
        }
      } else if (!chosen->second.empty() && random() % 2 == 0) {
        ASSERT_TRUE(manager_->release(vm, chosen->second.back()));
        chosen->second.pop_back();
      } else {
        ASSERT_TRUE(manager_->terminate(vm));
        held.erase(chosen);
      }
      std::set<const std::byte*> bricks;
      for (const auto& [id, spans] : held) {
        for (const MemorySpan span : spans) ASSERT_TRUE(bricks.insert(span.data()).second) << "two holders";
      }
    }
    for (const auto& [id, spans] : held) ASSERT_TRUE(manager_->terminate(VmId(id)));
    settle();
  }
}

TEST(WholeBricksInFiles, ALedgerOfPoolsThatWereCutIsNotBelieved) {
  const TemporaryFolder folder("/dev/shm");
  const auto open = [&](bool whole) {
    auto memory = *FileMemory::open(folder.path(), ByteCount(kLong), 2);
    if (whole) memory->keep_whole();
    return memory;
  };
  const std::string path = folder / "ledger";
  {
    const auto memory = open(false);
    const auto ledger = *Ledger::open(path, memory->bricks());
    ASSERT_TRUE(ledger->publish());
  }
  const auto memory = open(true);
  const auto ledger = *Ledger::open(path, memory->bricks());
  EXPECT_THAT(ledger->rejected(), HasSubstr("other")) << "half a brick may have been held";
}

}  // namespace
}  // namespace sluice::test
