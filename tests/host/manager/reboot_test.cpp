// SPDX-License-Identifier: Apache-2.0
// What a VM may ask for about its memory when it reboots, and its own say.
#include <gmock/gmock.h>

#include <set>

#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr TrustGroupId kGroup{7};

class Reboot : public MemoryManagerTest {
 protected:
  /// A holds `pages` with its data, and goes down.
  void go_down(std::size_t pages, RecycleSettings allowed, TrustGroupId group = {}) {
    create(kA, kCustomer, group, {}, allowed);
    const Grant grant = take(kA, pages);
    for (const GrantedRange& range : grant.ranges) write(range.memory);
    for (std::byte* page : pages_of(grant)) before_.insert(page);
    ASSERT_TRUE(manager_.begin_reboot(kA));
  }
  Result<ClaimId> come_back(std::size_t pages, std::optional<Result<Grant>>& result) {
    result.reset();
    return manager_.finish_reboot(kA, length(pages), [&](Result<Grant> grant) { result.emplace(std::move(grant)); });
  }
  Grant come_back(std::size_t pages) {
    std::optional<Result<Grant>> result;
    EXPECT_TRUE(come_back(pages, result));
    settle();
    EXPECT_TRUE(result && *result);
    return result && *result ? **result : Grant{};
  }
  static void write(MemorySpan memory) { std::fill(memory.begin(), memory.end(), std::byte{0xAA}); }
  static std::set<std::byte*> pages_of(const Grant& grant) {
    std::set<std::byte*> pages;
    for (const GrantedRange& range : grant.ranges) {
      for (std::size_t at = 0; at < range.memory.size(); at += kPageSize.value())
        pages.insert(range.memory.data() + at);
    }
    return pages;
  }
  static std::size_t recycled_pages(const Grant& grant) {
    std::size_t bytes = 0;
    for (const GrantedRange& range : grant.ranges) {
      EXPECT_EQ(first_not(range.memory, range.recycled ? std::byte{0xAA} : std::byte{0}), std::nullopt);
      if (range.recycled) bytes += range.memory.size();
    }
    return bytes / kPageSize.value();
  }
  [[nodiscard]] ByteCount reserved() const { return manager_.extents().bytes(ExtentState::Reserved); }

  std::set<std::byte*> before_;
};

TEST_F(Reboot, RetainedMemoryStaysReservedForTheNextBalloon) {
  go_down(16, {.retain_memory = true});
  EXPECT_EQ(recycled_pages(come_back(6)), 6U);
  EXPECT_EQ(reserved(), length(10));
  settle();
  EXPECT_EQ(reserved(), length(10)) << "it is not scrubbed";
  EXPECT_EQ(manager_.available_to(kA), length(10 + 48));
  create(kB, kOtherCustomer);
  EXPECT_EQ(manager_.available_to(kB), length(48)) << "and nobody else gets it";
  const Grant balloon = take(kA, 12);
  EXPECT_EQ(recycled_pages(balloon), 10U) << "unscrubbed, and 2 pages more";
  EXPECT_EQ(reserved(), length(0));
}

TEST_F(Reboot, RetainedMemoryIsReleasedWhenTheVmEnds) {
  go_down(16, {.retain_memory = true});
  come_back(6);
  ASSERT_TRUE(manager_.terminate(kA));
  settle();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(64));
  EXPECT_EQ(manager_.statistics().scrubbed, length(16));
}

TEST_F(Reboot, RetainedMemoryStaysReservedThroughTheNextReboot) {
  go_down(16, {.retain_memory = true});
  come_back(6);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(reserved(), length(16));
  EXPECT_EQ(recycled_pages(come_back(16)), 16U);
}

TEST_F(Reboot, RetainedMemoryGoesBackToItsPlaceWhenItsClaimIsAbandoned) {
  go_down(16, {.retain_memory = true});
  come_back(6);
  create(kB, kOtherCustomer);
  const Grant others = take(kB, 48);
  ASSERT_TRUE(manager_.release(kB, others.ranges.at(0).memory));
  std::optional<Result<Grant>> result;
  const ClaimId claim = ask(kA, 12, result);
  manager_.poll();
  EXPECT_FALSE(result) << "two pages are being scrubbed";
  EXPECT_TRUE(manager_.abandon(claim));
  EXPECT_EQ(reserved(), length(10));
}

TEST_F(Reboot, RetainedMemoryIsReleasedOnceSettingsForbidItsReuse) {
  go_down(16, {.retain_memory = true});
  come_back(6);
  ASSERT_TRUE(manager_.change_settings(kA, {.retain_memory = false}));
  EXPECT_EQ(reserved(), length(0));
}

TEST_F(Reboot, AllIsReleasedWhenTheClaimIsAbandoned) {
  go_down(16, {.retain_memory = true});
  create(kB, kOtherCustomer);
  const Grant others = take(kB, 48);
  ASSERT_TRUE(manager_.release(kB, others.ranges.at(0).memory));
  std::optional<Result<Grant>> result;
  const auto claim = come_back(20, result);
  ASSERT_TRUE(claim);
  EXPECT_TRUE(manager_.abandon(*claim));
  EXPECT_EQ(reserved(), length(0));
  settle();
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(64));
}

TEST_F(Reboot, WithoutReuseItsMemoryIsFreeForItsGroupMeanwhile) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  ASSERT_TRUE(manager_.create_vm({kB, kCustomer, {}, kGroup, {}}));
  go_down(64, {.recycle_on_reboot = false}, kGroup);
  EXPECT_EQ(reserved(), length(0));
  std::optional<Result<Grant>> result;
  ask(kB, 8, result);
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(recycled_pages(**result), 8U);
  const auto refused = come_back(64, result);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::OutOfMemory);
  EXPECT_EQ(recycled_pages(come_back(56)), 0U);
}

TEST_F(Reboot, GivesOtherMemoryWhereThatIsAskedFor) {
  go_down(16, {.force_new_memory = true});
  EXPECT_EQ(reserved(), length(0)) << "others may have it";
  EXPECT_EQ(manager_.suspect_bytes(kA), length(16));
  const Grant after = come_back(40);
  for (std::byte* page : pages_of(after)) EXPECT_FALSE(before_.contains(page));
  EXPECT_EQ(recycled_pages(after), 0U);
  EXPECT_EQ(manager_.statistics().scrubbed, length(16));
}

TEST_F(Reboot, KeepsTheOldMemoryApartUntilTheOtherIsThere) {
  create(kB, kOtherCustomer);
  go_down(32, {.force_new_memory = true});
  const Grant others = take(kB, 32);
  ASSERT_TRUE(manager_.release(kB, others.ranges.at(0).memory));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(come_back(8, result));
  settle();
  ASSERT_TRUE(result && *result);
  for (std::byte* page : pages_of(**result)) EXPECT_FALSE(before_.contains(page));
  EXPECT_EQ(manager_.available_to(kB), length(56)) << "which others may have";
  EXPECT_EQ(manager_.available_to(kA), length(24));
}

TEST_F(Reboot, KeepsTheOldMemoryFromABalloonMeanwhile) {
  create(kB, kOtherCustomer);
  go_down(16, {.force_new_memory = true});
  const Grant others = take(kB, 48);
  for (const std::size_t half : {std::size_t{0}, std::size_t{1}}) {
    ASSERT_TRUE(manager_.release(kB, others.ranges.at(0).memory.subspan(half * 24 * kPageSize.value(), 24 * 4096)));
  }
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(come_back(8, result));
  std::optional<Result<Grant>> balloon;
  ask(kA, 8, balloon);
  settle();
  ASSERT_TRUE(balloon && *balloon);
  for (std::byte* page : pages_of(**balloon)) EXPECT_FALSE(before_.contains(page));
}

TEST_F(Reboot, RefusesOtherMemoryThatIsNotThereAndLosesNothing) {
  go_down(40, {.force_new_memory = true});
  std::optional<Result<Grant>> result;
  const auto refused = come_back(40, result);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("163840 bytes were asked for and 98304 could be granted"));
  ASSERT_TRUE(manager_.change_settings(kA, {}));
  EXPECT_FALSE(come_back(40, result)) << "it is suspect until somebody says otherwise";
  ASSERT_TRUE(manager_.absolve(kA));
  ASSERT_TRUE(come_back(40, result));
  engine_.end(0, Outcome::Cancelled, 0);
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(recycled_pages(**result), 40U) << "with its old memory after all";
}

TEST_F(Reboot, IsScrubbedWhereReuseIsForbiddenMeanwhile) {
  go_down(64, {});
  ASSERT_TRUE(manager_.change_settings(kA, {.recycle_on_reboot = false}));
  EXPECT_EQ(reserved(), length(0)) << "nothing to wait for";
  EXPECT_EQ(recycled_pages(come_back(64)), 0U);
}

TEST_F(Reboot, HappensWithoutReuseOnceTheVmItselfHasSaidSo) {
  create(kA);
  for (const GrantedRange& range : take(kA, 64).ranges) write(range.memory);
  ASSERT_TRUE(manager_.switch_recycling(kA, {.enable = false, .recycle_on_reboot = {}}));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(recycled_pages(come_back(64)), 0U);
  ASSERT_TRUE(manager_.switch_recycling(kA, {.enable = true, .recycle_on_reboot = {}}));
  pool_.fill(std::byte{0xAA});
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(recycled_pages(come_back(64)), 64U);
}

TEST_F(Reboot, OwnSayOverridesTheSettingsButNotALock) {
  ASSERT_TRUE(manager_.create_vm({.vm = kA, .customer = kCustomer, .allowed = {.enable = false}, .may_say = {}}));
  for (const GrantedRange& range : take(kA, 64).ranges) write(range.memory);
  const auto locked = manager_.switch_recycling(kA, {.enable = true, .recycle_on_reboot = {}});
  ASSERT_FALSE(locked);
  EXPECT_EQ(locked.error().code, HostErrc::NotPermitted);
  EXPECT_THAT(locked.error().message, HasSubstr("VM 1 switches recycling on, which the provider has locked"));
  EXPECT_TRUE(manager_.switch_recycling(kA, {.enable = false, .recycle_on_reboot = {}})) << "it may say no";
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(recycled_pages(come_back(64)), 0U);
}

TEST_F(Reboot, OwnSayMayConcernTheRebootAlone) {
  create(kA, kCustomer, {}, {}, {.recycle_on_reboot = false});
  for (const GrantedRange& range : take(kA, 64).ranges) write(range.memory);
  ASSERT_TRUE(manager_.switch_recycling(kA, {.enable = {}, .recycle_on_reboot = true}));
  ASSERT_TRUE(manager_.begin_reboot(kA));
  const Grant after = come_back(64);
  EXPECT_EQ(recycled_pages(after), 64U);
  ASSERT_TRUE(manager_.switch_recycling(kA, {.enable = {}, .recycle_on_reboot = false}));
  ASSERT_TRUE(manager_.release(kA, after.ranges.at(0).memory.first(4096)));
  std::optional<Result<Grant>> balloon;
  ask(kA, 1, balloon);
  settle();
  ASSERT_TRUE(balloon && *balloon);
  EXPECT_EQ(recycled_pages(**balloon), 0U) << "that was from before the reboot too";
  write((*balloon)->ranges.at(0).memory);
  ASSERT_TRUE(manager_.release(kA, (*balloon)->ranges.at(0).memory));
  ask(kA, 1, balloon);
  engine_.end(0, Outcome::Cancelled, 0);
  settle();
  ASSERT_TRUE(balloon && *balloon);
  EXPECT_EQ(recycled_pages(**balloon), 1U) << "its balloon is another matter";
  ASSERT_TRUE(manager_.begin_reboot(kA));
  EXPECT_EQ(recycled_pages(come_back(64)), 0U);
}

TEST_F(Reboot, SettingsReachAPendingClaim) {
  create(kA);
  create(kB, kOtherCustomer);
  take(kA, 64);
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> waiting;
  ask(kB, 8, waiting);
  EXPECT_TRUE(manager_.change_settings(kB, {}));
  EXPECT_TRUE(manager_.switch_recycling(kB, {.enable = false, .recycle_on_reboot = {}}));
  EXPECT_EQ(manager_.change_settings(VmId(404), {}).error().code, HostErrc::UnknownId);
  EXPECT_EQ(manager_.switch_recycling(VmId(404), {.enable = true, .recycle_on_reboot = {}}).error().code,
            HostErrc::UnknownId);
  EXPECT_EQ(manager_.change_settings(kB, {.reservation = std::chrono::nanoseconds(-1)}).error().code,
            HostErrc::InvalidArgument);
  settle();
  ASSERT_TRUE(waiting && *waiting);
  EXPECT_TRUE(manager_.change_settings(kB, {}));
}

/// A reboot claim waits for a scrub of more memory when reuse is forbidden: it gets none of its own unscrubbed.
TEST_F(Reboot, ADenialReachesTheClaimThatWaitsAfterAReboot) {
  create(kB, kOtherCustomer);
  go_down(32, {});
  const Grant others = take(kB, 32);
  ASSERT_TRUE(manager_.release(kB, others.ranges.at(0).memory));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(come_back(40, result));
  EXPECT_FALSE(result);
  ASSERT_TRUE(manager_.change_settings(kA, {.recycle_on_reboot = false}));
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(recycled_pages(**result), 0U);
  for (const GrantedRange& range : (*result)->ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
  EXPECT_EQ(reserved(), length(0));
}

/// The other way round: what was to be scrubbed is its own again.
TEST_F(Reboot, APermissionReachesTheClaimThatWaitsAfterAReboot) {
  go_down(32, {.recycle_on_reboot = false});
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(come_back(60, result));
  ASSERT_TRUE(manager_.change_settings(kA, {}));
  while (!result) {
    manager_.poll();
    for (std::size_t job = 0; job < engine_.running().size();) {
      engine_.running()[job].cancel_requested ? engine_.end(job, Outcome::Cancelled, 0) : static_cast<void>(++job);
    }
  }
  ASSERT_TRUE(*result);
  EXPECT_EQ(recycled_pages(**result), 32U);
}

}  // namespace
}  // namespace sluice::test
