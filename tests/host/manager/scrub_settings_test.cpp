// SPDX-License-Identifier: Apache-2.0
// When memory is scrubbed and what it is filled with.
#include <gmock/gmock.h>

#include <cstring>
#include <set>

#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr std::uint64_t kPattern = 0x0123456789ABCDEF;

class Scrubs : public MemoryManagerTest {
 protected:
  void create_with(VmId vm, CustomerId customer, const ScrubSettings& scrub) {
    const auto created = manager_.create_vm({vm, customer, {}, {}, {}, scrub});
    ASSERT_TRUE(created) << created.error().message;
  }
  /// A wrote to all memory and has ended.
  void end_a() {
    std::optional<Result<Grant>> result;
    ask(kA, 64, result);
    settle();
    ASSERT_TRUE(result && *result);
    pool_.fill(std::byte{0xAA});
    manager_.reset_statistics();
    ASSERT_TRUE(manager_.terminate(kA));
  }
  /// What B gets, after the scrubs that it takes.
  Grant give_to_b(std::size_t pages) {
    std::optional<Result<Grant>> result;
    ask(kB, pages, result);
    settle();
    EXPECT_TRUE(result && *result);
    return result && *result ? **result : Grant{};
  }
  [[nodiscard]] ByteCount in(ExtentState state) const { return manager_.extents().bytes(state); }
  [[nodiscard]] ByteCount scrubbed_before_grant() const {
    return manager_.statistics().scrubbed_for_claim[static_cast<std::size_t>(Reason::BeforeGrant)];
  }
  static bool holds(const Grant& grant, std::uint64_t pattern) {
    for (const GrantedRange& range : grant.ranges) {
      EXPECT_EQ(range.pattern, pattern);
      for (std::size_t at = 0; at < range.memory.size(); at += 8) {
        if (std::memcmp(range.memory.data() + at, &pattern, 8) != 0) return false;
      }
    }
    return true;
  }
};

TEST_F(Scrubs, BeforeGrantLeaveMemoryUntilItIsClaimed) {
  create_with(kA, kCustomer, {.timing = ScrubTiming::BeforeGrant});
  end_a();
  settle();
  EXPECT_FALSE(manager_.has_work());
  EXPECT_EQ(in(ExtentState::Dirty), length(64));
  create(kB, kOtherCustomer);
  EXPECT_TRUE(holds(give_to_b(4), 0));
  EXPECT_EQ(manager_.statistics().scrubbed, length(4));
}

TEST_F(Scrubs, BeforeGrantScrubCleanMemoryAgain) {
  create_with(kB, kCustomer, {.timing = ScrubTiming::BeforeGrant});
  pool_.fill(std::byte{0xAA});  // behind the manager's back
  std::optional<Result<Grant>> result;
  ask(kB, 4, result);
  manager_.poll();
  EXPECT_FALSE(result) << "not before the scrub";
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_TRUE(holds(**result, 0));
  EXPECT_EQ(scrubbed_before_grant(), length(4));
}

TEST_F(Scrubs, BothHappenInTheBackgroundAndRightBefore) {
  create_with(kA, kCustomer, {.timing = ScrubTiming::Both});
  create_with(kB, kOtherCustomer, {.timing = ScrubTiming::Both});
  end_a();
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(64));
  EXPECT_EQ(manager_.statistics().scrubbed, length(64));
  give_to_b(4);
  EXPECT_EQ(manager_.statistics().scrubbed, length(68));
}

TEST_F(Scrubs, AreNotRepeatedForWhatWasScrubbedForTheClaimAnyway) {
  create_with(kA, kCustomer, {.timing = ScrubTiming::BeforeGrant});
  create_with(kB, kOtherCustomer, {.timing = ScrubTiming::BeforeGrant});
  end_a();
  give_to_b(64);
  EXPECT_EQ(manager_.statistics().scrubbed, length(64));
  EXPECT_EQ(scrubbed_before_grant(), length(0));
}

TEST_F(Scrubs, OfAnAbandonedClaimLeaveTheMemoryClean) {
  create_with(kB, kCustomer, {.timing = ScrubTiming::BeforeGrant});
  std::optional<Result<Grant>> result;
  const ClaimId claim = ask(kB, 4, result);
  EXPECT_TRUE(manager_.abandon(claim));
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(64));
}

TEST_F(Scrubs, ThatNeverStartedLeaveItKnownWhatIsInTheMemory) {
  ManagerFixture fixture(64, {.max_jobs_in_flight = 1});
  const ScrubSettings ones{.timing = ScrubTiming::BeforeGrant, .method = FillMethod::Ones};
  ASSERT_TRUE(fixture.manager_.create_vm({kA, kCustomer, {}, {}, {}, ones}));
  fixture.create(kB, kOtherCustomer);
  std::optional<Result<Grant>> first;
  std::optional<Result<Grant>> second;
  fixture.ask(kA, 32, first);
  const ClaimId claim = fixture.ask(kA, 32, second);
  EXPECT_EQ(fixture.engine_.running().size(), 1U) << "the second waits for the engine";
  EXPECT_TRUE(fixture.manager_.abandon(claim));
  EXPECT_TRUE(holds(fixture.take(kB, 32), 0));
}

TEST_F(Scrubs, ScheduledWaitForTheirTime) {
  create_with(kA, kCustomer, {.timing = ScrubTiming::Scheduled, .delay = seconds(60)});
  engine_.set_time(seconds(100));
  end_a();
  settle();
  EXPECT_FALSE(manager_.has_work());
  EXPECT_EQ(in(ExtentState::Dirty), length(64));
  EXPECT_EQ(manager_.next_scheduled(), seconds(160));
  engine_.set_time(seconds(160));
  EXPECT_EQ(manager_.next_scheduled(), std::nullopt) << "it is due";
  EXPECT_TRUE(manager_.has_work());
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(64));
}

TEST_F(Scrubs, ScheduledHappenAtOnceForAClaim) {
  create_with(kA, kCustomer, {.timing = ScrubTiming::Scheduled, .delay = seconds(60)});
  end_a();
  create(kB, kOtherCustomer);
  EXPECT_TRUE(holds(give_to_b(4), 0));
  EXPECT_EQ(manager_.statistics().scrubbed, length(4));
}

TEST_F(Scrubs, ScheduledDoNotHoldBackOthers) {
  create_with(kA, kCustomer, {.timing = ScrubTiming::Scheduled, .delay = seconds(60)});
  create(kB, kOtherCustomer);
  take(kA, 32);
  take(kB, 32);
  ASSERT_TRUE(manager_.terminate(kA));
  ASSERT_TRUE(manager_.terminate(kB));
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(32));
  EXPECT_EQ(in(ExtentState::Dirty), length(32));
}

TEST_F(Scrubs, GoByTheClockThatWasGiven) {
  std::chrono::nanoseconds time{0};
  ManagerFixture fixture(64, {.clock = [&time] { return time; }});
  ASSERT_TRUE(fixture.manager_.create_vm(
      {kA, kCustomer, {}, {}, {}, {.timing = ScrubTiming::Scheduled, .delay = seconds(60)}}));
  fixture.take(kA, 64);
  ASSERT_TRUE(fixture.manager_.terminate(kA));
  EXPECT_FALSE(fixture.manager_.has_work());
  time = seconds(61);
  EXPECT_TRUE(fixture.manager_.has_work());
}

TEST_F(Scrubs, FillWithOnesOrAPattern) {
  create_with(kA, kCustomer, {.method = FillMethod::Ones});
  end_a();
  settle();
  create(kB, kOtherCustomer);
  EXPECT_TRUE(holds(give_to_b(64), ~0ULL)) << "clean memory holds what its last holder asked for";
  ASSERT_TRUE(manager_.change_scrub_settings(kB, {.method = FillMethod::Pattern, .pattern = kPattern}));
  ASSERT_TRUE(manager_.terminate(kB));
  settle();
  const ExtentTable& table = manager_.extents();
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    EXPECT_EQ(table.pattern(*extent), kPattern);
  }
  EXPECT_EQ(std::memcmp(pool_.all().data() + 8, &kPattern, 8), 0);
}

TEST_F(Scrubs, ForAClaimFillAsItsVmWants) {
  create_with(kA, kCustomer, {.timing = ScrubTiming::BeforeGrant, .method = FillMethod::Ones});
  create_with(kB, kOtherCustomer, {.method = FillMethod::Pattern, .pattern = kPattern});
  end_a();
  EXPECT_TRUE(holds(give_to_b(4), kPattern));
}

TEST_F(Scrubs, FillWithRandomData) {
  std::set<std::uint64_t> patterns;
  for (int round = 0; round < 2; ++round) {
    const VmId vm(10 + static_cast<std::uint64_t>(round));
    create_with(vm, kCustomer, {.method = FillMethod::Random});
    take(vm, 64);
    ASSERT_TRUE(manager_.terminate(vm));
    settle();
    const std::uint64_t pattern = manager_.extents().pattern(*manager_.extents().first_place());
    EXPECT_EQ(std::memcmp(pool_.all().data(), &pattern, 8), 0);
    patterns.insert(pattern);
  }
  EXPECT_EQ(patterns.size(), 2U) << "each job another one";
}

TEST_F(Scrubs, CleanMemoryOfDifferentContentIsNotJoined) {
  create_with(kA, kCustomer, {.method = FillMethod::Ones});
  take(kA, 16);
  ASSERT_TRUE(manager_.terminate(kA));
  settle();
  EXPECT_EQ(in(ExtentState::Clean), length(64));
  create(kB, kOtherCustomer);
  for (const GrantedRange& range : take(kB, 64).ranges) {
    const auto byte = range.pattern == 0 ? std::byte{0} : std::byte{0xFF};
    EXPECT_EQ(first_not(range.memory, byte), std::nullopt);
  }
}

TEST_F(Scrubs, OfBadSettingsAreRefused) {
  const ScrubSettings bad{.timing = ScrubTiming::Scheduled, .delay = seconds(-1)};
  const auto refused = manager_.create_vm({kA, kCustomer, {}, {}, {}, bad});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("-1000000000 ns"));
  create(kA);
  EXPECT_EQ(manager_.change_scrub_settings(kA, bad).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(manager_.change_scrub_settings(kB, {}).error().code, HostErrc::UnknownId);
}

}  // namespace
}  // namespace sluice::test
