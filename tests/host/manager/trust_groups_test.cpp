// SPDX-License-Identifier: Apache-2.0
// Trust groups: enabled and disabled, inside larger groups, of a whole customer, ended.
#include <gmock/gmock.h>

#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr TrustGroupId kGroup{7};
constexpr TrustGroupId kSibling{8};
constexpr TrustGroupId kLarger{20};

class TrustGroups : public MemoryManagerTest {
 protected:
  /// A takes all, writes, and ends; then B takes half. Whether B got any of it as it was.
  bool passes_from_a_to_b(const std::function<void()>& between = {}) {
    std::optional<Result<Grant>> result;
    ask(kA, 64, result);
    settle();
    EXPECT_TRUE(result && *result);
    pool_.fill(std::byte{0xAA});
    EXPECT_TRUE(manager_.terminate(kA));
    if (between) between();
    ask(kB, 32, result);
    settle();
    EXPECT_TRUE(result && *result);
    bool recycled = false;
    for (const GrantedRange& range : (*result)->ranges) {
      recycled |= range.recycled;
      EXPECT_EQ(first_not(range.memory, range.recycled ? std::byte{0xAA} : std::byte{0}), std::nullopt);
      if (range.recycled) reason_ = range.reason;
    }
    return recycled;
  }
  void in_groups(TrustGroupId group_of_a, TrustGroupId group_of_b) {
    ASSERT_TRUE(manager_.create_vm({kA, kCustomer, {}, group_of_a, {}}));
    ASSERT_TRUE(manager_.create_vm({kB, kCustomer, {}, group_of_b, {}}));
  }
  static HostErrc code(const Result<void>& result) {
    return result ? HostErrc{} : HostErrc(result.error().code.value());
  }
  Reason reason_ = Reason::UnknownOwner;
};

TEST_F(TrustGroups, ShareWhileTheyAreEnabled) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  in_groups(kGroup, kGroup);
  EXPECT_TRUE(passes_from_a_to_b());
  EXPECT_EQ(reason_, Reason::TrustGroup);
}

TEST_F(TrustGroups, KeepTheirMemoryAmongThemselvesThoughOtherIsClean) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  in_groups(kGroup, kGroup);
  const Grant first = take(kA, 8);
  ASSERT_TRUE(manager_.terminate(kA));
  std::optional<Result<Grant>> result;
  ask(kB, 8, result);
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ((*result)->ranges.at(0).memory.data(), first.ranges.at(0).memory.data());
  EXPECT_TRUE((*result)->ranges.at(0).recycled);
}

TEST_F(TrustGroups, ShareNothingWhileTheyAreDisabled) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  in_groups(kGroup, kGroup);
  EXPECT_FALSE(passes_from_a_to_b([&] { ASSERT_TRUE(manager_.enable_trust_group(kGroup, false)); }));
}

TEST_F(TrustGroups, DoNotShareWhatWasWrittenBeforeTheyWereDisabled) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  in_groups(kGroup, kGroup);
  EXPECT_FALSE(passes_from_a_to_b([&] {
    ASSERT_TRUE(manager_.enable_trust_group(kGroup, false));
    ASSERT_TRUE(manager_.enable_trust_group(kGroup, true));
  }));
}

TEST_F(TrustGroups, DoNotShareWhatWasWrittenWhileTheyWereDisabled) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  ASSERT_TRUE(manager_.enable_trust_group(kGroup, false));
  in_groups(kGroup, kGroup);
  EXPECT_FALSE(passes_from_a_to_b([&] { ASSERT_TRUE(manager_.enable_trust_group(kGroup, true)); }));
}

TEST_F(TrustGroups, InsideALargerOneShareWithTheirSiblings) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer, kLarger));
  in_groups(kGroup, kSibling);
  EXPECT_TRUE(passes_from_a_to_b());
  EXPECT_EQ(reason_, Reason::LargerGroup);
}

TEST_F(TrustGroups, DisabledTakeTheirMemoryAlongFromTheLargerOne) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer, kLarger));
  in_groups(kGroup, kSibling);
  EXPECT_FALSE(passes_from_a_to_b([&] { ASSERT_TRUE(manager_.enable_trust_group(kGroup, false)); }));
}

TEST_F(TrustGroups, DoNotShareWithSiblingsWhileTheLargerOneIsDisabled) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer, kLarger));
  ASSERT_TRUE(manager_.enable_trust_group(kLarger, false));
  in_groups(kGroup, kSibling);
  EXPECT_FALSE(passes_from_a_to_b());
}

TEST_F(TrustGroups, WithoutALargerOneDoNotShare) {
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer));
  in_groups(kGroup, kSibling);
  EXPECT_FALSE(passes_from_a_to_b());
}

TEST_F(TrustGroups, LargerOneSharesWithTheGroupsInsideIt) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  in_groups(kGroup, kLarger);
  EXPECT_TRUE(passes_from_a_to_b());
}

TEST_F(TrustGroups, WhoLeavesALargerOneClosesItForWhatWasWritten) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(TrustGroupId(9), kCustomer, kLarger));
  in_groups(kGroup, kSibling);
  ASSERT_TRUE(manager_.create_vm({VmId(3), kCustomer, {}, TrustGroupId(9), {}}));
  EXPECT_FALSE(passes_from_a_to_b([&] { ASSERT_TRUE(manager_.change_trust_group(VmId(3), {})); }));
}

TEST_F(TrustGroups, WhoJoinsALargerOneFindsItClosedForWhatWasWritten) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer, kLarger));
  in_groups(kGroup, kSibling);
  create(VmId(3));
  EXPECT_FALSE(passes_from_a_to_b([&] { ASSERT_TRUE(manager_.change_trust_group(VmId(3), kGroup)); }))
      << "a new member saw nothing of it";
}

TEST_F(TrustGroups, MoveInsideALargerOneChangesNothingForTheOthersOfIt) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer, kLarger));
  in_groups(kGroup, kSibling);
  ASSERT_TRUE(manager_.create_vm({VmId(3), kCustomer, {}, kGroup, {}}));
  EXPECT_TRUE(passes_from_a_to_b([&] { ASSERT_TRUE(manager_.change_trust_group(VmId(3), kSibling)); }));
}

/// Somebody moved from A's and B's group to the sibling: the group is another one, the larger one around it is not.
TEST_F(TrustGroups, WhoMovesInsideALargerOneLeavesTheOthersOfItsGroupAsSiblings) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  ASSERT_TRUE(manager_.create_trust_group(kSibling, kCustomer, kLarger));
  in_groups(kGroup, kGroup);
  ASSERT_TRUE(manager_.create_vm({VmId(3), kCustomer, {}, kGroup, {}}));
  EXPECT_TRUE(passes_from_a_to_b([&] { ASSERT_TRUE(manager_.change_trust_group(VmId(3), kSibling)); }));
  EXPECT_EQ(reason_, Reason::LargerGroup);
}

TEST_F(TrustGroups, InsideALargerOneThatWasSwitchedOffShareAmongThemselvesAlone) {
  for (const bool same : {true, false}) {
    for (const bool on_again : {true, false}) {
      const TrustGroupId larger(30 + (same ? 2U : 0U) + (on_again ? 1U : 0U));
      const TrustGroupId group(larger.value() + 10);
      const TrustGroupId sibling(larger.value() + 20);
      ManagerFixture fixture;
      MemoryManager& manager = fixture.manager_;
      ASSERT_TRUE(manager.create_trust_group(larger, kCustomer));
      ASSERT_TRUE(manager.create_trust_group(group, kCustomer, larger));
      ASSERT_TRUE(manager.create_trust_group(sibling, kCustomer, larger));
      ASSERT_TRUE(manager.create_vm({kA, kCustomer, {}, group, {}}));
      ASSERT_TRUE(manager.create_vm({kB, kCustomer, {}, same ? group : sibling, {}}));
      fixture.take(kA, 64);
      ASSERT_TRUE(manager.terminate(kA));
      ASSERT_TRUE(manager.enable_trust_group(larger, false));
      if (on_again) {
        ASSERT_TRUE(manager.enable_trust_group(larger, true));
      }
      std::optional<Result<Grant>> result;
      fixture.ask(kB, 32, result);
      fixture.settle();
      ASSERT_TRUE(result && *result);
      EXPECT_EQ((*result)->ranges.at(0).recycled, same);
      if (same) {
        EXPECT_EQ((*result)->ranges.at(0).reason, Reason::TrustGroup);
        continue;
      }
      const Reason why = on_again ? Reason::GroupChanged : Reason::OtherDomain;
      EXPECT_EQ(manager.statistics().scrubbed_for_claim[static_cast<std::size_t>(why)], ManagerFixture::length(32));
    }
  }
}

TEST_F(TrustGroups, OfACustomerNeedNoCreation) {
  in_groups(customer_group(kCustomer), customer_group(kCustomer));
  EXPECT_TRUE(passes_from_a_to_b());
  const auto foreign = manager_.create_vm({VmId(3), kOtherCustomer, {}, customer_group(kCustomer), {}});
  EXPECT_EQ(code(foreign), HostErrc::ForeignCustomer);
}

TEST_F(TrustGroups, EndOnlyWhenNobodyIsInThem) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  in_groups(kGroup, {});
  EXPECT_EQ(code(manager_.destroy_trust_group(kGroup)), HostErrc::WrongState);
  EXPECT_EQ(code(manager_.destroy_trust_group(kLarger)), HostErrc::WrongState);
  ASSERT_TRUE(manager_.terminate(kA));
  EXPECT_TRUE(manager_.destroy_trust_group(kGroup));
  EXPECT_TRUE(manager_.destroy_trust_group(kLarger));
  EXPECT_EQ(code(manager_.create_trust_group(kGroup, kCustomer)), HostErrc::IdUsedBefore);
  EXPECT_EQ(code(manager_.change_trust_group(kB, kGroup)), HostErrc::UnknownId);
}

TEST_F(TrustGroups, RefuseWhatMakesNoSense) {
  ASSERT_TRUE(manager_.create_trust_group(kLarger, kCustomer));
  ASSERT_TRUE(manager_.create_trust_group(kGroup, kCustomer, kLarger));
  EXPECT_EQ(code(manager_.create_trust_group(kSibling, kCustomer, kGroup)), HostErrc::InvalidArgument) << "one level";
  EXPECT_EQ(code(manager_.create_trust_group(kSibling, kOtherCustomer, kLarger)), HostErrc::ForeignCustomer);
  EXPECT_EQ(code(manager_.create_trust_group(kSibling, kCustomer, TrustGroupId(404))), HostErrc::UnknownId);
  EXPECT_EQ(code(manager_.create_trust_group(customer_group(kOtherCustomer), kCustomer)), HostErrc::InvalidArgument);
  EXPECT_EQ(code(manager_.enable_trust_group(TrustGroupId(404), true)), HostErrc::UnknownId);
  EXPECT_EQ(code(manager_.destroy_trust_group(TrustGroupId(404))), HostErrc::UnknownId);
  in_groups(customer_group(kCustomer), {});
  EXPECT_EQ(code(manager_.destroy_trust_group(customer_group(kCustomer))), HostErrc::InvalidArgument);
}

}  // namespace
}  // namespace sluice::test
