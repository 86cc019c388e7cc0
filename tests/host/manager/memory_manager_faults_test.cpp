// SPDX-License-Identifier: Apache-2.0
// What the memory manager does when something fails, is given up, or makes no sense.
#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr TrustGroupId kGroup{7};
constexpr TrustGroupId kOtherGroup{8};
constexpr DedicatedPoolId kPool{9};

TEST_F(MemoryManagerTest, FailedScrubQuarantinesAndTheClaimGetsOtherMemory) {
  create(kA);
  create(kB, kOtherCustomer);
  take(kA, 32);
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  ask(kB, 40, result);
  manager_.poll();
  const MemorySpan bad = engine_.running().at(0).job.memory;
  engine_.end(0, Outcome::Failed, 0, FailureCause::SlaveError);
  settle();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length_of(bad));
  EXPECT_EQ(manager_.statistics().quarantined, length_of(bad));
  ASSERT_TRUE(result);
  ASSERT_FALSE(*result) << "32 of 64 pages are quarantined";
  EXPECT_EQ(result->error().code, HostErrc::OutOfMemory);
  const Grant rest = take(kB, 32);
  for (const GrantedRange& range : rest.ranges) {
    const bool overlaps =
        range.memory.data() < bad.data() + bad.size() && bad.data() < range.memory.data() + range.memory.size();
    EXPECT_FALSE(overlaps) << "quarantined memory is never granted";
  }
}

TEST_F(MemoryManagerTest, EngineThatBreaksDownLeavesCleanMemoryUsable) {
  create(kA);
  create(kB, kOtherCustomer);
  const Grant grant = take(kA, 32);
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> waiting;
  ask(kB, 64, waiting);
  engine_.break_down();
  manager_.poll();
  ASSERT_TRUE(waiting);
  EXPECT_FALSE(*waiting);
  ASSERT_TRUE(manager_.fault());
  EXPECT_EQ(take(kB, 32).ranges.size(), 1U);
  EXPECT_FALSE(manager_.has_work());
}

TEST_F(MemoryManagerTest, AbandonedClaimLosesNothing) {
  create(kA);
  create(kB, kOtherCustomer);
  take(kA, 64);
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  const ClaimId claim = ask(kB, 10, result);
  EXPECT_TRUE(manager_.abandon(claim));
  EXPECT_FALSE(manager_.abandon(claim));
  EXPECT_FALSE(result) << "handlers are called by poll";
  manager_.poll();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code, HostErrc::Abandoned);
  settle();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), manager_.extents().total());
  EXPECT_EQ(manager_.available_to(kB), length(64));
}

TEST_F(MemoryManagerTest, StopQuarantinesWhatIsInFlight) {
  create(kA);
  create(kB, kOtherCustomer);
  take(kA, 64);
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  ask(kB, 10, result);
  EXPECT_EQ(manager_.stop(), length(64));
  manager_.poll();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code, HostErrc::ScrubUnavailable);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Quarantined), length(64));
  EXPECT_FALSE(manager_.allocate(kB, length(1), [](const Result<Grant>&) {}));
}

TEST_F(MemoryManagerTest, HandlersMayCallTheManager) {
  create(kA);
  bool second = false;
  ASSERT_TRUE(manager_.allocate(kA, length(1), [&](const Result<Grant>&) {
    ASSERT_TRUE(manager_.allocate(kA, length(1), [&](const Result<Grant>&) { second = true; }));
  }));
  manager_.poll();
  EXPECT_FALSE(second);
  manager_.poll();
  EXPECT_TRUE(second);
}

TEST_F(MemoryManagerTest, RefusesWhatMakesNoSenseAndChangesNothing) {
  const GrantHandler ignore = [](const Result<Grant>&) {};
  const auto code = [](const auto& result) {
    return result.has_value() ? boost::system::error_code() : result.error().code;
  };
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kOtherGroup, kOtherCustomer));
  EXPECT_EQ(code(manager_.create_trust_group(kGroup, kCustomer)), HostErrc::IdUsedBefore);
  EXPECT_EQ(code(manager_.create_trust_group(TrustGroupId(0), kCustomer)), HostErrc::InvalidArgument);
  EXPECT_EQ(code(manager_.create_vm({VmId(0), kCustomer, {}, {}, {}})), HostErrc::InvalidArgument);
  EXPECT_EQ(code(manager_.create_vm({kA, kCustomer, {}, kOtherGroup, {}})), HostErrc::ForeignCustomer);
  EXPECT_EQ(code(manager_.create_vm({kA, kCustomer, {}, TrustGroupId(99), {}})), HostErrc::UnknownId);
  EXPECT_EQ(code(manager_.create_vm({kA, kCustomer, kPool, {}, {}})), HostErrc::UnknownId);
  EXPECT_EQ(code(manager_.allocate(kA, length(1), ignore)), HostErrc::UnknownId);
  create(kA);
  EXPECT_EQ(code(manager_.create_vm({kA, kCustomer, {}, {}, {}})), HostErrc::IdUsedBefore);
  EXPECT_EQ(code(manager_.allocate(kA, ByteCount(0), ignore)), HostErrc::InvalidArgument);
  EXPECT_EQ(code(manager_.allocate(kA, ByteCount(4095), ignore)), HostErrc::InvalidArgument);
  const auto too_much = manager_.allocate(kA, length(65), ignore);
  ASSERT_EQ(code(too_much), HostErrc::OutOfMemory);
  EXPECT_NE(too_much.error().message.find("266240"), std::string::npos) << "names what was asked for";
  EXPECT_NE(too_much.error().message.find("262144"), std::string::npos) << "and what there is";
  EXPECT_EQ(code(manager_.finish_reboot(kA, length(1), ignore)), HostErrc::WrongState);
  EXPECT_EQ(code(manager_.change_trust_group(kA, kOtherGroup)), HostErrc::ForeignCustomer);
  EXPECT_EQ(code(manager_.destroy_dedicated_pool(kPool)), HostErrc::UnknownId);
  const Grant grant = take(kA, 2);
  const MemorySpan held = grant.ranges.at(0).memory;
  EXPECT_EQ(code(manager_.release(kA, MemorySpan(held.data(), 3 * 4096))), HostErrc::NotHeld);
  EXPECT_EQ(code(manager_.release(kA, held.subspan(1))), HostErrc::InvalidArgument);
  EXPECT_EQ(code(manager_.release(kA, {})), HostErrc::InvalidArgument);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Owned), length(2));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(code(manager_.begin_reboot(kA)), HostErrc::WrongState);
  EXPECT_EQ(code(manager_.allocate(kA, length(1), ignore)), HostErrc::WrongState);
  EXPECT_EQ(code(manager_.release(kA, held)), HostErrc::WrongState);
  EXPECT_EQ(code(manager_.finish_reboot(kA, ByteCount(5), ignore)), HostErrc::InvalidArgument);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Reserved), length(2)) << "a refused reboot keeps the reservation";
  ASSERT_TRUE(manager_.terminate(kA));
  EXPECT_EQ(code(manager_.terminate(kA)), HostErrc::UnknownId);
  EXPECT_EQ(code(manager_.create_vm({kA, kCustomer, {}, {}, {}})), HostErrc::IdUsedBefore);
}

TEST_F(MemoryManagerTest, VmWithAPendingClaimIsNotPulledAway) {
  create(kA);
  create(kB, kOtherCustomer);
  take(kA, 64);
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  ask(kB, 10, result);
  EXPECT_EQ(manager_.terminate(kB).error().code, HostErrc::WrongState);
  EXPECT_EQ(manager_.begin_reboot(kB).error().code, HostErrc::WrongState);
  settle();
  EXPECT_TRUE(manager_.terminate(kB));
}

}  // namespace
}  // namespace sluice::test
