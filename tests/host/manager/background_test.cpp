// SPDX-License-Identifier: Apache-2.0
// How much is scrubbed in the background and how fast, and that nobody waits for ever.
#include "support/manager_fixture.hpp"
#include "support/patience.hpp"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr CustomerId kCustomer{1};

/// A host whose clock the test moves, all dirty but for what the background has done.
class Background : public ::testing::Test {
 protected:
  void start(ScrubberConfig config) {
    config.background_job_length = ManagerFixture::length(4);
    config.clock = [this] { return time_; };
    pieces_ = {pool_.all()};
    backing_ = *ForeignMemory::create(pieces_);
    manager_ = *MemoryManager::create(*backing_, engine_, config);
  }
  /// Lets happen what can happen at this time.
  void settle() {
    for (const Patience patience; manager_->has_work() && !patience.over();) {
      manager_->poll();
      engine_.end_all();
    }
    manager_->poll();
  }
  [[nodiscard]] std::uint64_t clean_pages() const {
    return manager_->extents().bytes(ExtentState::Clean).value() / kPageSize.value();
  }

  Memory pool_{64 * 4096, std::byte{0xEE}};
  std::vector<MemorySpan> pieces_;
  std::unique_ptr<ForeignMemory> backing_;
  ManualEngine engine_;
  nanoseconds time_{seconds(100)};
  std::unique_ptr<MemoryManager> manager_;
};

TEST_F(Background, KeepsSoMuchCleanAndTheRestWhenNobodyAsks) {
  start({.clean_target = ManagerFixture::length(16), .idle_after = seconds(1)});
  ASSERT_TRUE(manager_->create_vm({kA, kCustomer, {}, {}, {}, {}, {}}));
  const auto ask = [&](std::size_t pages) {
    ASSERT_TRUE(
        manager_->allocate(kA, ManagerFixture::length(pages), [](const Result<Grant>& grant) { EXPECT_TRUE(grant); }));
    settle();
  };
  ask(4);
  EXPECT_EQ(clean_pages(), 16U);
  EXPECT_EQ(manager_->next_scheduled(), seconds(101));
  ask(8);
  EXPECT_EQ(clean_pages(), 16U) << "what was taken is made up for";
  time_ += milliseconds(999);
  settle();
  EXPECT_EQ(clean_pages(), 16U);
  time_ += milliseconds(1);
  settle();
  EXPECT_EQ(clean_pages(), 52U) << "idle";
  EXPECT_EQ(manager_->next_scheduled(), std::nullopt);
}

TEST_F(Background, GoesNoFasterThanItsRate) {
  start({.background_rate = 8 * 4096.0});  // two jobs a second
  settle();
  EXPECT_EQ(clean_pages(), 4U);
  EXPECT_EQ(manager_->next_scheduled(), seconds(100) + milliseconds(500));
  for (int half = 1; half <= 6; ++half) {
    time_ += milliseconds(500);
    settle();
    EXPECT_EQ(clean_pages(), 4U + 4U * static_cast<std::uint64_t>(half));
  }
  ASSERT_TRUE(manager_->create_vm({kA, kCustomer, {}, {}, {}, {}, {}}));
  bool granted = false;
  ASSERT_TRUE(manager_->allocate(kA, ManagerFixture::length(60),
                                 [&](const Result<Grant>& grant) { granted = grant.has_value(); }));
  settle();
  EXPECT_TRUE(granted) << "a claim does not wait for the rate";
}

TEST_F(Background, RateIsNotSpentOnWhatTheEngineDidNotTake) {
  start({.background_rate = 8 * 4096.0});
  engine_.set_busy(true);
  for (int look = 0; look < 10; ++look) manager_->poll();
  engine_.set_busy(false);
  settle();
  EXPECT_EQ(clean_pages(), 4U);
}

/// Small claims come all the time and take whatever is free; the large one that came before them has its turn.
TEST_F(MemoryManagerTest, AClaimThatWaitsForMemoryIsNotOvertaken) {
  create(kA);
  create(kB, kOtherCustomer);
  const VmId c{3};
  create(c, CustomerId(3));
  std::optional<Result<Grant>> first;
  const Grant all = take(kA, 64);
  ASSERT_TRUE(manager_.release(kA, all.ranges.at(0).memory.first(32 * 4096)));  // one background job runs on it
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  const ClaimId given_up = ask(kA, 4, first);  // cancels that job, and gives up
  ASSERT_TRUE(manager_.abandon(given_up));
  std::optional<Result<Grant>> large;
  ask(kB, 32, large);
  ASSERT_FALSE(large) << "it waits for the engine";
  ASSERT_TRUE(manager_.release(kA, all.ranges.at(0).memory.subspan(32 * 4096, 8 * 4096)));
  std::vector<std::optional<Result<Grant>>> small(12);
  std::size_t refused = 0;
  for (auto& result : small) {
    const auto claim = manager_.allocate(c, length(1), [&result](Result<Grant> grant) { result.emplace(grant); });
    if (!claim) ++refused;
  }
  settle();
  ASSERT_TRUE(large && *large) << "it was there first";
  std::size_t granted = 0;
  for (const auto& result : small) granted += result && *result ? 1 : 0;
  EXPECT_EQ(granted, 8U);
  EXPECT_EQ(refused + granted, 12U) << "the others were refused at once";
}

/// Urgent work is done in the order in which it was asked for, and one background job is the most that it waits for.
TEST_F(MemoryManagerTest, EveryClaimGetsItsTurnUnderEndlessLoad) {
  ManagerFixture fixture(64, {.max_jobs_in_flight = 1, .background_job_length = length(4)});
  for (std::uint64_t vm = 1; vm <= 4; ++vm) fixture.create(VmId(vm), CustomerId(vm));
  std::vector<std::uint64_t> order;
  std::vector<std::uint64_t> asked;
  std::vector<std::vector<MemorySpan>> held(5);
  const auto claim = [&](std::uint64_t vm) {
    asked.push_back(vm);
    ASSERT_TRUE(fixture.manager_.allocate(VmId(vm), length(16), [&, vm](Result<Grant> grant) {
      if (!grant && grant.error().code == HostErrc::Abandoned) return;  // the end of the test
      ASSERT_TRUE(grant) << grant.error().message;
      order.push_back(vm);
      for (const GrantedRange& range : grant->ranges) held[vm].push_back(range.memory);
    }));
  };
  for (std::uint64_t vm = 1; vm <= 4; ++vm) claim(vm);
  for (int step = 0; step < 2000; ++step) {
    fixture.manager_.poll();
    fixture.engine_.end_all();
    for (std::uint64_t vm = 1; vm <= 4; ++vm) {
      if (held[vm].empty()) continue;
      for (const MemorySpan memory : held[vm]) ASSERT_TRUE(fixture.manager_.release(VmId(vm), memory));
      held[vm].clear();
      // Somebody else's memory next: everything has to be scrubbed.
      ASSERT_TRUE(fixture.manager_.change_settings(VmId(vm), {.enable = false}));
      claim(vm);
    }
  }
  ASSERT_GT(order.size(), 100U);
  asked.resize(order.size());
  EXPECT_EQ(order, asked) << "first come, first served";
}

}  // namespace
}  // namespace sluice::test
