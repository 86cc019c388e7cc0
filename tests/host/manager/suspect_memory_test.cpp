// SPDX-License-Identifier: Apache-2.0
// Tests of suspect memory: what is bad in it is found and named, and nobody gets any of it meanwhile.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "support/recycling_fixture.hpp"

namespace sluice::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr ScrubSettings kMuchLater{.timing = ScrubTiming::Scheduled, .delay = std::chrono::hours(1000)};
constexpr std::uint64_t kPattern = 0x5A5A5A5A5A5A5A5A;

class SuspectMemory : public RecyclingTest {
 protected:
  using Report = std::optional<Result<SuspectReport>>;

  [[nodiscard]] MemorySpan pages(std::size_t first, std::size_t count) const {
    return pool_.part(first * kPageSize.value(), count * kPageSize.value());
  }
  ClaimId begin_test(Report& report, VmId vm = {}, std::vector<std::uint64_t> patterns = {}) {
    const auto claim = manager_.test_suspect(vm, std::move(patterns), [this, &report](Result<SuspectReport> result) {
      if (!ending_) report.emplace(std::move(result));
    });
    EXPECT_TRUE(claim) << (claim ? "" : claim.error().message);
    return claim ? *claim : ClaimId();
  }
  SuspectReport test(VmId vm = {}, std::vector<std::uint64_t> patterns = {}) {
    Report report;
    begin_test(report, vm, std::move(patterns));
    settle();
    EXPECT_TRUE(report && *report) << "the test should have ended";
    return report && *report ? **report : SuspectReport{};
  }
  Error refused_test(VmId vm = {}) {
    const auto claim = manager_.test_suspect(vm, {}, [](const Result<SuspectReport>&) { FAIL(); });
    EXPECT_FALSE(claim);
    return claim ? Error{} : claim.error();
  }
  [[nodiscard]] ByteCount in(ExtentState state) const { return manager_.extents().bytes(state); }
  /// Each range as its first page and how many there are.
  [[nodiscard]] std::vector<std::pair<std::size_t, std::size_t>> numbers(const std::vector<MemorySpan>& ranges) const {
    std::vector<std::pair<std::size_t, std::size_t>> all;
    for (const MemorySpan range : ranges) {
      const auto offset = static_cast<std::size_t>(range.data() - pool_.all().data());
      all.emplace_back(offset / kPageSize.value(), range.size() / kPageSize.value());
    }
    return all;
  }
  void stick(std::size_t page, std::byte bit = std::byte{1}) { engine_.stick(&pages(page, 1)[100], bit); }
};

using Runs = std::vector<std::pair<std::size_t, std::size_t>>;

TEST_F(SuspectMemory, IsTestedAndTheBadPageFoundWhoeverReadsItBack) {
  for (const bool engine_verifies : {true, false}) {
    SCOPED_TRACE(engine_verifies);
    ManagerFixture fixture;
    fixture.engine_.offer(engine_verifies, false);
    fixture.manager_.poll();
    const MemorySpan suspect = fixture.pool_.part(8 * 4096, 16 * 4096);
    ASSERT_TRUE(fixture.manager_.suspect(suspect));
    fixture.engine_.stick(&suspect[3 * 4096 + 17], std::byte{0x10});
    std::optional<Result<SuspectReport>> report;
    ASSERT_TRUE(fixture.manager_.test_suspect({}, {}, [&](Result<SuspectReport> result) { report = result; }));
    fixture.settle();
    ASSERT_TRUE(report && *report);
    EXPECT_EQ((*report)->tested, length(16));
    EXPECT_EQ((*report)->not_tested, length(0));
    ASSERT_EQ((*report)->failed.size(), 1U);
    EXPECT_EQ((*report)->failed[0].data(), suspect.data() + 3 * 4096);
    EXPECT_EQ((*report)->failed[0].size(), 4096U);
    EXPECT_EQ(fixture.manager_.extents().bytes(ExtentState::Quarantined), length(1));
    EXPECT_EQ(fixture.manager_.extents().bytes(ExtentState::Clean), length(63));
    EXPECT_EQ(first_not(suspect.first(3 * 4096), std::byte{0}), std::nullopt);
    EXPECT_EQ(first_not(suspect.subspan(4 * 4096), std::byte{0}), std::nullopt);
  }
}

TEST_F(SuspectMemory, StaysSuspectAfterATestUntilItIsAbsolved) {
  create(kA);
  ASSERT_TRUE(manager_.suspect(pages(8, 16)));
  stick(8);
  test();
  EXPECT_EQ(manager_.available_to(kA), length(48));
  ASSERT_TRUE(manager_.absolve());
  EXPECT_EQ(manager_.available_to(kA), length(63));
  EXPECT_FALSE(pages_of(take(kA, 63)).contains(pages(8, 1).data()));
  EXPECT_EQ(refused(kA, 1), HostErrc::OutOfMemory) << "bad memory is never granted";
}

TEST_F(SuspectMemory, IsBadWhereABitIsStuckOneWayOrTheOther) {
  ASSERT_TRUE(manager_.suspect(pages(0, 32)));
  stick(0, std::byte{0x01});   // seen with 0xAA, and with 0
  stick(13, std::byte{0x80});  // seen with 0x55
  stick(14, std::byte{0x40});
  stick(31, std::byte{0x02});
  EXPECT_EQ(numbers(test().failed), (Runs{{0, 1}, {13, 2}, {31, 1}}));
  EXPECT_EQ(in(ExtentState::Quarantined), length(4));
  EXPECT_EQ(manager_.statistics().quarantined, length(4));
  EXPECT_THAT(test().failed, IsEmpty()) << "what is in quarantine is not tested again";
}

TEST_F(SuspectMemory, ThatIsAllBadGoesIntoQuarantinePageByPage) {
  ASSERT_TRUE(manager_.suspect(pages(10, 6)));
  for (std::size_t page = 10; page < 16; ++page) stick(page);
  EXPECT_EQ(numbers(test().failed), (Runs{{10, 6}}));
  EXPECT_THAT(refused_test().message, HasSubstr("0 bytes are suspect for all and in use, and none are free"));
}

/// As a CPU answers for memory that its machine has given up.
TEST_F(SuspectMemory, ThatTakesNoStoresIsBadFromThePageOnWhereTheyStopped) {
  ASSERT_TRUE(manager_.suspect(pages(0, 16)));
  Report report;
  begin_test(report);
  engine_.end(0, Outcome::Failed, 5 * kPageSize.value() + 8, FailureCause::SlaveError);
  settle();
  ASSERT_TRUE(report && *report);
  EXPECT_EQ(numbers((*report)->failed), (Runs{{5, 1}}));
  EXPECT_EQ(in(ExtentState::Clean), length(63));
}

/// Nobody knows what such an engine still writes.
TEST_F(SuspectMemory, ThatAnEngineStumblesOverIsAllQuarantined) {
  ASSERT_TRUE(manager_.suspect(pages(0, 16)));
  Report report;
  begin_test(report);
  engine_.end(0, Outcome::Failed, 8 * kPageSize.value(), FailureCause::EngineFault);
  settle();
  ASSERT_TRUE(report && *report);
  EXPECT_EQ(numbers((*report)->failed), (Runs{{0, 16}}));
}

TEST_F(SuspectMemory, HoldsOnePatternAfterTheOther) {
  engine_.offer(true, false);
  manager_.poll();
  ASSERT_TRUE(manager_.suspect(pages(0, 4)));
  std::vector<std::uint64_t> written;
  Report report;
  begin_test(report);
  for (int round = 0; round < 10 && !report; ++round) {
    if (!engine_.running().empty()) {
      EXPECT_EQ(engine_.running().front().job.operation, Operation::FillVerify);
      EXPECT_EQ(engine_.running().front().job.urgency, Urgency::Background);
      written.push_back(engine_.running().front().job.pattern);
      EXPECT_EQ(in(ExtentState::Clean), length(60)) << "not clean while it is written";
    }
    engine_.end_all();
    manager_.poll();
  }
  EXPECT_THAT(written, ElementsAre(0x5555555555555555, 0xAAAAAAAAAAAAAAAA, 0));
  EXPECT_EQ(in(ExtentState::Clean), length(64));
}

/// A's data is gone, so it is nobody's: A gets it scrubbed, and so does everybody else.
TEST_F(SuspectMemory, IsDirtyAfterAPatternThatIsNotZeros) {
  ASSERT_TRUE(manager_.create_vm({kA, kCustomer, {}, {}, {}, kMuchLater}));
  create(kB, kOtherCustomer);
  const Grant grant = take(kA, 64);
  write(grant);
  give_back(kA, grant);
  ASSERT_TRUE(manager_.suspect(pages(0, 16), kB));
  EXPECT_EQ(test(kB, {kPattern}).tested, length(16));
  EXPECT_EQ(first_not_pattern(pages(0, 16), kPattern), std::nullopt);
  EXPECT_EQ(in(ExtentState::Clean), length(0));
  EXPECT_EQ(manager_.suspect_bytes(kB), length(16));
  EXPECT_EQ(look(more(kA, 64)), (Seen{64, 48, 0, 48})) << "the rest is A's as it was";
  EXPECT_EQ(first_not(pages(0, 16), std::byte{0}), std::nullopt);
}

TEST_F(SuspectMemory, ThatIsInUseIsNotTouchedButCounted) {
  create(kA);
  const Grant grant = take(kA, 8);
  const Pages held = write(grant);
  const MemorySpan memory = grant.ranges.at(0).memory;
  ASSERT_EQ(memory.size(), length(8).value());
  ASSERT_TRUE(manager_.suspect(pool_.all()));
  const SuspectReport report = test();
  EXPECT_EQ(report.tested, length(56));
  EXPECT_EQ(report.not_tested, length(8));
  EXPECT_EQ(first_not(memory, kData), std::nullopt);
  EXPECT_EQ(with_data(held), 8U);
}

TEST_F(SuspectMemory, ThatBecomesFreeDuringATestIsNotAPartOfIt) {
  create(kA);
  const Grant grant = take(kA, 8);
  write(grant);
  ASSERT_TRUE(manager_.suspect(pool_.all()));
  Report report;
  begin_test(report);
  const std::size_t jobs = engine_.running().size();
  give_back(kA, grant);
  EXPECT_EQ(engine_.running().size(), jobs + 1) << "it is scrubbed";
  settle();
  ASSERT_TRUE(report && *report);
  EXPECT_EQ((*report)->tested, length(56));
  EXPECT_EQ((*report)->not_tested, length(8));
  EXPECT_EQ(in(ExtentState::Clean), length(64));
}

/// What is scrubbed already is tested after that.
TEST_F(SuspectMemory, ThatIsScrubbedWhenATestBeginsIsTestedToo) {
  create(kA);
  const Grant grant = take(kA, 64);
  ASSERT_TRUE(manager_.suspect(pages(0, 8)));
  stick(5);
  give_back(kA, grant);
  manager_.poll();
  ASSERT_EQ(in(ExtentState::Scrubbing), length(64));
  const SuspectReport report = test();
  EXPECT_EQ(report.tested, length(8));
  EXPECT_EQ(numbers(report.failed), (Runs{{5, 1}}));
}

TEST_F(SuspectMemory, LeavesClaimsToOtherMemoryDuringATest) {
  create(kA);
  ASSERT_TRUE(manager_.suspect(pages(0, 16)));
  Report report;
  begin_test(report);
  const Grant grant = take(kA, 48);
  for (const std::byte* page : pages_of(grant)) EXPECT_GE(page, pages(16, 1).data());
  EXPECT_FALSE(report);
  EXPECT_EQ(refused(kA, 1), HostErrc::OutOfMemory);
  settle();
  ASSERT_TRUE(report && *report);
  EXPECT_EQ(first_not(pages(0, 16), std::byte{0}), std::nullopt);
}

/// Of B's suspect memory, which A may have: after the test, and not what has failed.
TEST_F(SuspectMemory, ServesThoseWhoMayHaveItAfterTheTest) {
  create(kA);
  create(kB, kOtherCustomer);
  ASSERT_TRUE(manager_.suspect(pages(0, 16), kB));
  stick(2);
  Report report;
  begin_test(report, kB);
  std::optional<Result<Grant>> waiting;
  ask(kA, 63, waiting);
  manager_.poll();
  EXPECT_FALSE(waiting) << "an engine works on it";
  settle();
  ASSERT_TRUE(waiting && *waiting);
  EXPECT_EQ(look(**waiting), (Seen{63, 0, 0, 0}));
  EXPECT_FALSE(pages_of(**waiting).contains(pages(2, 1).data()));
  EXPECT_EQ(refused(kA, 1), HostErrc::OutOfMemory);
}

TEST_F(SuspectMemory, ComesAfterEverythingThatIsUrgent) {
  ManagerFixture fixture(64, {.max_jobs_in_flight = 1, .background_job_length = length(4)});
  fixture.create(kA);
  fixture.create(kB, kOtherCustomer);
  const Grant grant = fixture.take(kA, 16);
  ASSERT_EQ(grant.ranges.at(0).memory.size(), length(16).value());
  ASSERT_TRUE(fixture.manager_.suspect(fixture.pool_.all()));
  ASSERT_TRUE(fixture.manager_.test_suspect({}, {}, {}));
  ASSERT_EQ(fixture.engine_.running().size(), 1U);
  ASSERT_TRUE(fixture.manager_.absolve());
  ASSERT_TRUE(fixture.manager_.terminate(kA));
  std::optional<Result<Grant>> waiting;
  fixture.ask(kB, 16, waiting);
  fixture.engine_.end_all();
  fixture.manager_.poll();
  ASSERT_EQ(fixture.engine_.running().size(), 1U);
  EXPECT_EQ(fixture.engine_.running().front().job.urgency, Urgency::Urgent);
  fixture.settle();
  EXPECT_TRUE(waiting && *waiting);
}

/// What is written then ends, and nothing else is touched: it is A's as it was.
TEST_F(SuspectMemory, IsLeftAsItWasWhenItsTestIsAbandoned) {
  ManagerFixture fixture(64, {.max_jobs_in_flight = 1, .background_job_length = length(4)});
  ASSERT_TRUE(fixture.manager_.create_vm({kA, kCustomer, {}, {}, {}, kMuchLater}));
  fixture.create(kB, kOtherCustomer);
  const Grant grant = fixture.take(kA, 64);
  const Pages all = write(grant);
  for (const GrantedRange& range : grant.ranges) ASSERT_TRUE(fixture.manager_.release(kA, range.memory));
  ASSERT_TRUE(fixture.manager_.suspect(fixture.pool_.all(), kB));
  Report report;
  const auto claim = fixture.manager_.test_suspect(
      kB, {kPattern}, [&](Result<SuspectReport> result) { report.emplace(std::move(result)); });
  ASSERT_TRUE(claim);
  ASSERT_EQ(fixture.engine_.running().size(), 1U);
  EXPECT_TRUE(fixture.manager_.abandon(*claim));
  EXPECT_FALSE(fixture.manager_.abandon(*claim));
  fixture.settle();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->error().code, HostErrc::Abandoned);
  EXPECT_EQ(with_data(all), 60U);
  EXPECT_EQ(first_not_pattern(fixture.pool_.part(0, 4 * 4096), kPattern), std::nullopt);
  EXPECT_EQ(fixture.manager_.extents().bytes(ExtentState::Dirty), length(64));
  EXPECT_EQ(fixture.manager_.extents().bytes(ExtentState::Clean), length(0)) << "it holds no zeros";
  EXPECT_EQ(look(fixture.take(kA, 60)), (Seen{60, 60, 0, 60}));
}

TEST_F(SuspectMemory, CanBeTestedAgainWhenATestWasAbandoned) {
  ASSERT_TRUE(manager_.suspect(pages(0, 8)));
  stick(3);
  Report first;
  manager_.abandon(begin_test(first, {}, {kPattern}));
  const SuspectReport second = test({}, {0, kPattern, 0});
  EXPECT_EQ(second.tested, length(8));
  EXPECT_EQ(numbers(second.failed), (Runs{{3, 1}}));
  EXPECT_EQ(in(ExtentState::Clean), length(63));
}

/// What the first test still writes is not what the second one asked for.
TEST_F(SuspectMemory, HoldsThePatternsOfTheTestThatIsUnderWay) {
  ASSERT_TRUE(manager_.suspect(pages(0, 8)));
  Report first;
  manager_.abandon(begin_test(first, {}, {kPattern}));
  Report second;
  begin_test(second, {}, {0});
  for (int round = 0; round < 10 && !second; ++round) {
    engine_.end_all();
    manager_.poll();
  }
  ASSERT_TRUE(second && *second);
  EXPECT_EQ(first_not(pages(0, 8), std::byte{0}), std::nullopt);
}

TEST_F(SuspectMemory, HasItsTestEndedByAStopAndByTheEnd) {
  ASSERT_TRUE(manager_.suspect(pages(0, 8)));
  Report report;
  begin_test(report);
  manager_.stop();
  manager_.poll();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->error().code, HostErrc::ScrubUnavailable);
  EXPECT_EQ(refused_test().code, HostErrc::ScrubUnavailable);
  Report other;
  {
    ManagerFixture fixture;
    ASSERT_TRUE(fixture.manager_.suspect(fixture.pool_.all()));
    ASSERT_TRUE(fixture.manager_.test_suspect({}, {}, [&](Result<SuspectReport> result) { other = result; }));
  }
  ASSERT_TRUE(other);
  EXPECT_EQ(other->error().code, HostErrc::Abandoned);
}

TEST_F(SuspectMemory, HasItsTestEndedByAnEngineThatBreaksDown) {
  ASSERT_TRUE(manager_.suspect(pages(0, 8)));
  ASSERT_TRUE(manager_.suspect(pages(16, 8)));
  Report report;
  begin_test(report);
  engine_.break_down();
  settle();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->error().code, HostErrc::ScrubUnavailable);
  EXPECT_EQ(in(ExtentState::Quarantined), length(16));
  EXPECT_FALSE(manager_.has_work());
}

TEST_F(SuspectMemory, HasItsTestEndedByAnEngineThatRefusesIt) {
  ASSERT_TRUE(manager_.suspect(pages(0, 8)));
  engine_.refuse_with({DriverErrc::InvalidArgument, "not that memory"});
  Report report;
  begin_test(report);
  settle();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->error().code, HostErrc::ScrubUnavailable);
  EXPECT_THAT(report->error().message, HasSubstr("not that memory"));
}

TEST_F(SuspectMemory, OfSeveralVmsIsTestedAtOnceEachByteByOne) {
  create(kA);
  create(kB, kOtherCustomer);
  ASSERT_TRUE(manager_.suspect(pages(0, 8), kA));
  ASSERT_TRUE(manager_.suspect(pages(4, 8), kB));
  ASSERT_TRUE(manager_.suspect(pages(20, 4)));
  Report of_a;
  Report of_b;
  Report of_all;
  const ClaimId claim = begin_test(of_a, kA);
  begin_test(of_b, kB);
  begin_test(of_all);
  const Error again = refused_test(kA);
  EXPECT_EQ(again.code, HostErrc::WrongState);
  EXPECT_THAT(again.message, HasSubstr(fmt::format("a test of what is suspect for VM 1 runs as claim {}: wait for it",
                                                   claim.value())));
  ASSERT_TRUE(manager_.terminate(kB)) << "its test is no claim of its own";
  settle();
  ASSERT_TRUE(of_a && *of_a && of_b && *of_b && of_all && *of_all);
  EXPECT_EQ((*of_a)->tested, length(8));
  EXPECT_EQ((*of_b)->tested, length(4));
  EXPECT_EQ((*of_b)->not_tested, length(4)) << "another test has it";
  EXPECT_EQ((*of_all)->tested, length(4));
  EXPECT_EQ(manager_.available_to(kA), length(52));
}

TEST_F(SuspectMemory, CannotBeTestedWhereThereIsNone) {
  EXPECT_EQ(refused_test(VmId(404)).code, HostErrc::UnknownId);
  create(kA);
  const Error none = refused_test(kA);
  EXPECT_EQ(none.code, HostErrc::OutOfMemory);
  EXPECT_THAT(none.message, HasSubstr("0 bytes are suspect for VM 1 and in use, and none are free: name some with "
                                      "suspect(), or have their VMs release them"));
  take(kA, 64);
  ASSERT_TRUE(manager_.suspect(pages(0, 2), kA));
  EXPECT_THAT(refused_test(kA).message, HasSubstr("8192 bytes are suspect for VM 1"));
}

/// What is in its pool stays there.
TEST_F(SuspectMemory, OfADedicatedPoolIsTestedInItsPlace) {
  fill_pool(DedicatedPoolId(9), 16);
  create(kA, kCustomer, {}, DedicatedPoolId(9));
  const Grant grant = take(kA, 16);
  const Pages old = write(grant);
  give_back(kA, grant);
  ASSERT_TRUE(manager_.suspect(grant.ranges.at(0).memory));
  EXPECT_EQ(test({}, {kPattern}).tested, length(16));
  EXPECT_EQ(manager_.dedicated_pool(DedicatedPoolId(9))->size, length(16));
  ASSERT_TRUE(manager_.absolve());
  EXPECT_EQ(look(more(kA, 16), old), (Seen{16, 0, 16, 0})) << "nothing of A's is left in it";
  EXPECT_EQ(manager_.available_to(kA), length(48));
}

}  // namespace
}  // namespace sluice::test
