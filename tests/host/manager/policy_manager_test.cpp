// SPDX-License-Identifier: Apache-2.0
// Policies as they reach VMs that run, wait and reboot: contents of memory are read.
#include <gmock/gmock.h>

#include "support/policy_fixture.hpp"
#include "support/recycling_fixture.hpp"

namespace sluice::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr VmId kC{3};
constexpr UserId kUser{5};
constexpr UserId kOtherUser{6};
constexpr TrustGroupId kGroup{7};
constexpr DedicatedPoolId kPool{9};
constexpr DedicatedPoolId kPart{10};
constexpr PolicyTarget kDefault{PolicyScope::Default, 0};

class PolicyManagerTest : public RecyclingTest {
 protected:
  static constexpr PolicyTarget kOfCustomer{PolicyScope::Customer, kCustomer.value()};
  static constexpr Caller kCustomerItself = Caller::customer(kCustomer);

  static PolicyTarget of(VmId vm) { return {PolicyScope::Instance, vm.value()}; }
  static PolicyTarget of(UserId user) { return {PolicyScope::User, user.value()}; }
  void create(VmId vm, CustomerId customer = kCustomer, UserId user = {}, TrustGroupId group = {}) {
    const auto created = policies_.create_vm(kProvider, {vm, group, user, customer, {}});
    ASSERT_TRUE(created) << created.error().message;
  }
  void expect_changed(const Result<ChangedVms>& changed, const std::vector<VmId>& vms) {
    ASSERT_TRUE(changed) << changed.error().message;
    EXPECT_EQ(*changed, vms);
    expect_in_line(policies_);
  }
  /// A refusal with this code, of which both sides show no trace.
  template <class Call>
  std::string refusal(HostErrc code, const Call& call) {
    const BothSides before = both_sides(policies_);
    const auto result = call();
    EXPECT_EQ(both_sides(policies_), before);
    EXPECT_FALSE(result);
    if (result) return {};
    EXPECT_EQ(result.error().code, code) << result.error().message;
    return result.error().message;
  }
  void add_user(UserId user, CustomerId customer = kCustomer) {
    ASSERT_TRUE(policies_.apply([&](PolicyBook& book) { return book.add_user(kProvider, user, customer); }));
  }
  void fill(DedicatedPoolId pool, std::size_t pages) {
    ASSERT_TRUE(policies_.create_dedicated_pool(kProvider, pool, kCustomer, length(pages), {}));
    settle();
    ASSERT_TRUE(policies_.book().pools().contains(pool));
  }
  /// Whether a VM gets back unscrubbed what it wrote and gave back.
  bool recycles(VmId vm) {
    const Grant grant = more(vm, 4);
    write(grant);
    give_back(vm, grant);
    const Grant again = more(vm, 4);
    const Seen seen = look(again);
    give_back(vm, again);
    settle();
    EXPECT_TRUE(seen.with_data == 0 || seen.with_data == 4);
    return seen.with_data == 4;
  }

  PolicyManager policies_{PolicyBook(), manager_};
};

TEST_F(PolicyManagerTest, ConfiguresAVmFromItsBirth) {
  ASSERT_TRUE(policies_.apply([](PolicyBook& book) {
    return book.create_template(kProvider, "ones", policy(R"({"fill": "ones", "scrub_timing": "before_grant"})"));
  }));
  expect_changed(policies_.apply([](PolicyBook& book) { return book.attach_template(kProvider, of(kA), "ones"); }), {});
  create(kA);
  create(kB);
  for (const GrantedRange& range : more(kA, 8).ranges)
    EXPECT_EQ(first_not(range.memory, std::byte{0xFF}), std::nullopt);
  for (const GrantedRange& range : more(kB, 8).ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
  expect_changed(attach(policies_, kCustomerItself, of(kA), R"({"fill": "zeros", "scrub_timing": "both"})"), {kA});
  for (const GrantedRange& range : more(kA, 8).ranges) EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
}

TEST_F(PolicyManagerTest, OneAttachmentReachesAllVmsThatItCoversAtOnce) {
  create(kA);
  create(kB);
  create(kC, kOtherCustomer);
  for (const VmId vm : {kA, kB, kC}) EXPECT_TRUE(recycles(vm));
  expect_changed(attach(policies_, kCustomerItself, kOfCustomer, R"({"recycle_within_vm": false})"), {kA, kB});
  EXPECT_FALSE(recycles(kA));
  EXPECT_FALSE(recycles(kB));
  EXPECT_TRUE(recycles(kC)) << "another customer's";
  expect_changed(policies_.apply([](PolicyBook& book) { return book.detach(kCustomerItself, kOfCustomer); }), {kA, kB});
  EXPECT_TRUE(recycles(kA));
  EXPECT_TRUE(recycles(kB));
}

TEST_F(PolicyManagerTest, AChangedTemplateReachesAllVmsThatItCovers) {
  create(kA);
  create(kB);
  ASSERT_TRUE(policies_.apply([](PolicyBook& book) -> Result<ChangedVms> {
    if (auto made = book.create_template(kCustomerItself, "mine", policy("{}")); !made) return made.error();
    return book.attach_template(kCustomerItself, kOfCustomer, "mine");
  }));
  EXPECT_TRUE(recycles(kA));
  expect_changed(policies_.apply([](PolicyBook& book) {
    return book.change_template(kCustomerItself, "mine", policy(R"({"recycle_within_vm": false})"));
  }),
                 {kA, kB});
  EXPECT_FALSE(recycles(kA));
  EXPECT_FALSE(recycles(kB));
}

TEST_F(PolicyManagerTest, ALockReachesThePendingClaimsOfAllVms) {
  create(kA);
  create(kB);
  const Grant first = take(kA, 32);
  const Grant second = take(kB, 32);
  write(first);
  write(second);
  give_back(kA, first);
  give_back(kB, second);
  std::optional<Result<Grant>> waiting;
  std::optional<Result<Grant>> later;
  ask(kA, 32, waiting);
  ask(kB, 32, later);
  ASSERT_FALSE(waiting || later);
  expect_changed(
      policies_.apply([](PolicyBook& book) { return book.lock(kProvider, kOfCustomer, PolicyField::Enable); }),
      {kA, kB});
  settle();
  ASSERT_TRUE(waiting && *waiting && later && *later);
  EXPECT_EQ(look(**waiting), (Seen{32, 0, 0, 0}));
  EXPECT_EQ(look(**later), (Seen{32, 0, 0, 0}));
}

TEST_F(PolicyManagerTest, UsersInsideOneCustomerDiffer) {
  add_user(kUser);
  add_user(kOtherUser);
  create(kA, kCustomer, kUser);
  create(kB, kCustomer, kOtherUser);
  expect_changed(attach(policies_, Caller::user(kUser), of(kUser), R"({"enable": false})"), {kA});
  EXPECT_FALSE(recycles(kA));
  EXPECT_TRUE(recycles(kB));
}

TEST_F(PolicyManagerTest, NobodyTouchesWhatIsAnothers) {
  create(kA);
  fill(kPool, 4);
  ASSERT_TRUE(policies_.create_trust_group(kProvider, kGroup, kCustomer));
  const Caller other = Caller::customer(kOtherCustomer);
  const HostErrc no = HostErrc::NotPermitted;
  for (const PolicyTarget target : {kOfCustomer, of(kA), PolicyTarget{PolicyScope::TrustGroup, kGroup.value()}}) {
    refusal(no, [&] { return attach(policies_, other, target, R"({"enable": false})"); });
  }
  for (const Caller caller : {other, kCustomerItself, Caller::instance(kA)}) {
    refusal(no, [&] { return policies_.create_vm(caller, {kB, {}, {}, kCustomer, {}}); });
    refusal(no, [&] { return policies_.terminate(caller, kA); });
    refusal(no, [&] { return policies_.adopt(caller, kA); });
    refusal(no, [&] { return policies_.create_trust_group(caller, TrustGroupId(8), kCustomer); });
    refusal(no, [&] { return policies_.destroy_trust_group(caller, kGroup); });
    refusal(no, [&] { return policies_.create_dedicated_pool(caller, kPart, kCustomer, length(4), {}); });
    refusal(no, [&] { return policies_.create_dedicated_pools(caller, kPart, 2, kCustomer, length(4), {}); });
    refusal(no, [&] { return policies_.grow_dedicated_pool(caller, kPool, length(4), {}); });
    refusal(no, [&] { return policies_.shrink_dedicated_pool(caller, kPool, length(1)); });
    refusal(no, [&] { return policies_.partition_dedicated_pool(caller, kPool, kPart, length(1)); });
    refusal(no, [&] { return policies_.merge_dedicated_pools(caller, kPool, kPart); });
    refusal(no, [&] { return policies_.move_between_pools(caller, kPool, kPart, length(1)); });
    refusal(no, [&] { return policies_.destroy_dedicated_pool(caller, kPool); });
  }
  EXPECT_FALSE(manager_.has_work());
}

TEST_F(PolicyManagerTest, CustomersEnableAndDisableTheirOwnGroups) {
  add_user(kUser);
  ASSERT_TRUE(policies_.create_trust_group(kProvider, kGroup, kCustomer));
  create(kA, kCustomer, kUser, kGroup);
  const auto enabled = [&] { return manager_.trust_group(kGroup)->enabled; };
  for (const Caller caller : {kCustomerItself, kProvider}) {
    ASSERT_TRUE(policies_.enable_trust_group(caller, kGroup, false));
    EXPECT_FALSE(enabled());
    ASSERT_TRUE(policies_.enable_trust_group(caller, kGroup, true));
    EXPECT_TRUE(enabled());
  }
  for (const Caller caller :
       {Caller::customer(kOtherCustomer), Caller::customer({}), Caller::user(kUser), Caller::instance(kA)}) {
    for (const TrustGroupId group : {kGroup, TrustGroupId(8)}) {
      EXPECT_THAT(refusal(HostErrc::NotPermitted, [&] { return policies_.enable_trust_group(caller, group, false); }),
                  HasSubstr("may not disable trust group"));
    }
  }
  refusal(HostErrc::UnknownId, [&] { return policies_.enable_trust_group(kProvider, TrustGroupId(8), false); });
  refusal(HostErrc::NotPermitted, [&] { return policies_.enable_trust_group(kCustomerItself, TrustGroupId(8), true); });
}

TEST_F(PolicyManagerTest, AGroupThatACustomerEnablesRecyclesNothingAgainstALock) {
  ASSERT_TRUE(policies_.create_trust_group(kProvider, kGroup, kCustomer));
  create(kA, kCustomer, {}, kGroup);
  create(kB, kCustomer, {}, kGroup);
  ASSERT_TRUE(policies_.enable_trust_group(kCustomerItself, kGroup, false));
  ASSERT_TRUE(policies_.apply([](PolicyBook& book) {
    return book.lock(kProvider, {PolicyScope::TrustGroup, kGroup.value()}, PolicyField::RecycleWithinTrustGroup);
  }));
  ASSERT_TRUE(policies_.enable_trust_group(kCustomerItself, kGroup, true));
  const Grant grant = more(kA, 60);
  const Pages old = write(grant);
  give_back(kA, grant);
  EXPECT_EQ(look(more(kB, 60), old).with_data, 0U);
}

TEST_F(PolicyManagerTest, AVmsOwnSayIsWorthNothingAgainstALock) {
  create(kA);
  const auto say = [&](bool value) {
    return policies_.apply(
        [&](PolicyBook& book) { return book.say(Caller::instance(kA), kA, PolicyField::RecycleOnReboot, value); });
  };
  expect_changed(say(false), {kA});
  write(take(kA, 16));
  const Grant back = reboot(kA, 16);
  EXPECT_EQ(look(back).with_data, 0U);
  write(back);
  expect_changed(say(true), {kA});
  ASSERT_TRUE(manager_.switch_recycling(kA, {.enable = {}, .recycle_on_reboot = true}));
  expect_changed(
      policies_.apply([](PolicyBook& book) { return book.lock(kProvider, kDefault, PolicyField::RecycleOnReboot); }),
      {kA});
  EXPECT_EQ(manager_.switch_recycling(kA, {.enable = {}, .recycle_on_reboot = true}).error().code,
            HostErrc::NotPermitted);
  expect_changed(say(true), {});
  EXPECT_EQ(look(reboot(kA, 16)).with_data, 0U) << "nor what it said to the manager before";
}

TEST_F(PolicyManagerTest, ALockOfAllRecyclingWithdrawsWhatAVmSaidToTheManager) {
  create(kA);
  ASSERT_TRUE(manager_.switch_recycling(kA, {.enable = true, .recycle_on_reboot = {}}));
  EXPECT_TRUE(recycles(kA));
  expect_changed(policies_.apply([](PolicyBook& book) { return book.lock(kProvider, kDefault, PolicyField::Enable); }),
                 {kA});
  EXPECT_FALSE(recycles(kA));
}

/// A field that is off already gives nobody away; what the VM may say has changed.
TEST_F(PolicyManagerTest, ALockOfWhatIsOffAnywayIsKnownToTheManager) {
  create(kA);
  ASSERT_TRUE(attach(policies_, kProvider, kOfCustomer, R"({"recycle_on_reboot": false})"));
  expect_changed(
      policies_.apply([](PolicyBook& book) { return book.lock(kProvider, kOfCustomer, PolicyField::RecycleOnReboot); }),
      {});
  EXPECT_EQ(manager_.switch_recycling(kA, {.enable = {}, .recycle_on_reboot = true}).error().code,
            HostErrc::NotPermitted);
}

TEST_F(PolicyManagerTest, VmsJoinTheGroupThatAPolicyNames) {
  ASSERT_TRUE(policies_.create_trust_group(kProvider, kGroup, kCustomer));
  create(kA);
  create(kB);
  expect_changed(attach(policies_, kCustomerItself, kOfCustomer, R"({"trust_group": 7})"), {kA, kB});
  const auto passes_to_b = [&] {
    const Grant grant = more(kA, 60);
    const Pages old = write(grant);
    give_back(kA, grant);
    const Grant next = more(kB, 60);
    const std::size_t data = look(next, old).with_data;
    give_back(kB, next);
    return data > 0;
  };
  EXPECT_TRUE(passes_to_b());
  expect_changed(attach(policies_, kCustomerItself, of(kB), R"({"trust_group": null})"), {kB});
  EXPECT_FALSE(passes_to_b());
  expect_changed(policies_.apply([](PolicyBook& book) { return book.detach(kCustomerItself, of(kB)); }), {kB});
  EXPECT_TRUE(passes_to_b());
  ASSERT_TRUE(policies_.enable_trust_group(kProvider, kGroup, false));
  EXPECT_FALSE(passes_to_b());
}

TEST_F(PolicyManagerTest, ACustomersOwnGroupCanBeNamedWhenItIsKnown) {
  create(kA);
  const TrustGroupId group = customer_group(kCustomer);
  const std::string json = R"({"trust_group": )" + std::to_string(group.value()) + "}";
  refusal(HostErrc::UnknownId, [&] { return attach(policies_, kCustomerItself, kOfCustomer, json); });
  refusal(HostErrc::UnknownId, [&] { return policies_.create_trust_group(kProvider, kGroup, kCustomer, group); });
  ASSERT_TRUE(policies_.create_trust_group(kProvider, group, kCustomer));
  expect_changed(attach(policies_, kCustomerItself, kOfCustomer, json), {kA});
  ASSERT_TRUE(policies_.create_trust_group(kProvider, kGroup, kCustomer, group));
  ASSERT_TRUE(policies_.apply([](PolicyBook& book) { return book.detach(kCustomerItself, kOfCustomer); }));
  EXPECT_THAT(refusal(HostErrc::WrongState, [&] { return policies_.destroy_trust_group(kProvider, group); }),
              HasSubstr("has 1 groups: destroy them first"));
  ASSERT_TRUE(policies_.destroy_trust_group(kProvider, kGroup));
  ASSERT_TRUE(policies_.destroy_trust_group(kProvider, group));
  EXPECT_TRUE(policies_.book().groups().empty());
}

TEST_F(PolicyManagerTest, VmsMoveToThePoolThatAPolicyNames) {
  create(kA);
  fill(kPool, 16);
  expect_changed(attach(policies_, kCustomerItself, of(kA), R"({"dedicated_pool": 9})"), {kA});
  take(kA, 10);
  EXPECT_EQ(manager_.dedicated_pool(kPool)->vms, 1U);
  EXPECT_EQ(manager_.dedicated_pool(kPool)->free, length(6));
  expect_changed(policies_.apply([](PolicyBook& book) { return book.detach(kCustomerItself, of(kA)); }), {kA});
  EXPECT_EQ(manager_.dedicated_pool(kPool)->vms, 0U);
  EXPECT_THAT(refusal(HostErrc::ForeignCustomer,
                      [&] {
                        return attach(policies_, kProvider, {PolicyScope::Customer, kOtherCustomer.value()},
                                      R"({"dedicated_pool": 9})");
                      }),
              HasSubstr("dedicated pool 9, which belongs to another"));
}

/// It has left the pool, and is a stranger to what it wrote there.
TEST_F(PolicyManagerTest, AVmThatPoliciesTakeOutOfItsPoolAndBackFindsNothingOfItsOwnThere) {
  create(kA);
  fill(kPool, 4);
  expect_changed(attach(policies_, kCustomerItself, of(kA), R"({"dedicated_pool": 9})"), {kA});
  const Grant grant = take(kA, 4);
  write(grant);
  give_back(kA, grant);
  expect_changed(policies_.apply([](PolicyBook& book) { return book.detach(kCustomerItself, of(kA)); }), {kA});
  expect_changed(attach(policies_, kCustomerItself, of(kA), R"({"dedicated_pool": 9})"), {kA});
  EXPECT_EQ(look(more(kA, 4)).with_data, 0U);
}

/// One VM of all cannot follow: none does.
TEST_F(PolicyManagerTest, AChangeThatOneVmCannotFollowLeavesAllAsTheyWere) {
  fill(kPool, 8);
  create(kA);
  create(kB);
  const auto move = [&] {
    return attach(policies_, kCustomerItself, kOfCustomer, R"({"dedicated_pool": 9, "enable": false})");
  };
  const Grant grant = take(kB, 16);
  give_back(kB, grant);
  std::optional<Result<Grant>> waiting;
  ask(kB, 16, waiting);
  ASSERT_FALSE(waiting);
  EXPECT_THAT(refusal(HostErrc::WrongState, move), HasSubstr("VM 2 has a claim pending: wait for it, or abandon it"));
  settle();
  ASSERT_TRUE(manager_.begin_reboot(kB));
  EXPECT_THAT(refusal(HostErrc::WrongState, move), HasSubstr("VM 2 reboots: change its pool when it is back"));
  back(kB, 8);
  expect_changed(move(), {kA, kB});
}

/// Settings are no pool: they reach VMs whatever those are doing.
TEST_F(PolicyManagerTest, VmsThatRebootFollowInAllButTheirPool) {
  create(kA);
  const Grant grant = take(kA, 16);
  write(grant);
  ASSERT_TRUE(manager_.begin_reboot(kA));
  expect_changed(attach(policies_, kCustomerItself, kOfCustomer, R"({"recycle_on_reboot": false})"), {kA});
  EXPECT_EQ(look(back(kA, 16)).with_data, 0U);
}

TEST_F(PolicyManagerTest, PoliciesNameOnlyPoolsThatHaveBeenFilled) {
  create(kA, kOtherCustomer);
  const Grant grant = take(kA, 60);
  write(grant);
  give_back(kA, grant);
  const auto claim = policies_.create_dedicated_pool(kProvider, kPool, kCustomer, length(60), {});
  ASSERT_TRUE(claim);
  const auto name = [&] { return attach(policies_, kCustomerItself, kOfCustomer, R"({"dedicated_pool": 9})"); };
  EXPECT_THAT(refusal(HostErrc::UnknownId, name), HasSubstr("dedicated pool 9, which is not registered"));
  ASSERT_TRUE(manager_.abandon(*claim));
  settle();
  refusal(HostErrc::UnknownId, name);
  EXPECT_TRUE(policies_.book().pools().empty());
  bool known_to_its_handler = false;
  ASSERT_TRUE(policies_.create_dedicated_pools(kProvider, kPart, 2, kCustomer, length(8),
                                               [&](DedicatedPoolId pool, const Result<void>&) {
                                                 known_to_its_handler = policies_.book().pools().contains(pool);
                                               }));
  settle();
  EXPECT_TRUE(known_to_its_handler);
  expect_changed(attach(policies_, kCustomerItself, kOfCustomer, R"({"dedicated_pool": 11})"), {});
}

TEST_F(PolicyManagerTest, APolicyChangeNeitherMakesNorEndsVmsGroupsAndPools) {
  create(kA);
  for (const auto& edit : std::initializer_list<Result<void> (*)(PolicyBook&)>{
           [](PolicyBook& book) { return book.add_group(kProvider, kGroup, kCustomer); },
           [](PolicyBook& book) { return book.add_pool(kProvider, kPool, kCustomer); },
           [](PolicyBook& book) {
             return book.register_vm(kProvider, {kB, {}, {}, kCustomer, {}});
           },
           [](PolicyBook& book) { return book.forget_vm(kProvider, kA); }}) {
    EXPECT_THAT(refusal(HostErrc::InvalidArgument, [&] { return policies_.apply(edit); }),
                HasSubstr("use the calls that create and end them"));
  }
  PolicyBook made_elsewhere;
  ASSERT_TRUE(made_elsewhere.add_group(kProvider, kGroup, kCustomer));
  EXPECT_THROW(PolicyManager(made_elsewhere, manager_), std::invalid_argument);
}

TEST_F(PolicyManagerTest, AVmThatTheManagerRefusesIsNotRegistered) {
  refusal(HostErrc::InvalidArgument, [&] {
    return policies_.create_vm(kProvider, {kA, {}, {}, kCustomer, {}}, {.pages = {}, .node = 77});
  });
  create(kA);
  ASSERT_TRUE(attach(policies_, kProvider, of(kA), R"({"enable": false})"));
  std::optional<Result<Grant>> waiting;
  give_back(kA, take(kA, 16));
  ask(kA, 16, waiting);
  refusal(HostErrc::WrongState, [&] { return policies_.terminate(kProvider, kA); });
  settle();
  ASSERT_TRUE(policies_.terminate(kProvider, kA));
  EXPECT_EQ(manager_.profile(kA), std::nullopt);
  EXPECT_TRUE(policies_.book().attachments().empty()) << "what was attached to it is gone too";
  refusal(HostErrc::IdUsedBefore, [&] { return policies_.create_vm(kProvider, {kA, {}, {}, kCustomer, {}}); });
}

TEST_F(PolicyManagerTest, VmsAndPoliciesFollowTheirPoolsThroughPartitionAndMerge) {
  fill(kPool, 16);
  ASSERT_TRUE(policies_.partition_dedicated_pool(kProvider, kPool, kPart, length(8)));
  ASSERT_TRUE(policies_.create_vm(kProvider, {kA, {}, {}, kCustomer, kPart}));
  create(kB);
  expect_changed(attach(policies_, kCustomerItself, of(kB), R"({"dedicated_pool": 10})"), {kB});
  ASSERT_TRUE(policies_.move_between_pools(kProvider, kPool, kPart, length(2)));
  ASSERT_TRUE(policies_.merge_dedicated_pools(kProvider, kPool, kPart));
  expect_in_line(policies_);
  EXPECT_EQ(manager_.profile(kA)->pool, kPool);
  EXPECT_EQ(manager_.profile(kB)->pool, kPool);
  EXPECT_EQ(policies_.book().attached(of(kB))->policy.value(PolicyField::DedicatedPool), "9");
  EXPECT_FALSE(policies_.book().pools().contains(kPart));
  ASSERT_TRUE(policies_.shrink_dedicated_pool(kProvider, kPool, length(4)));
  ASSERT_TRUE(policies_.grow_dedicated_pool(kProvider, kPool, length(2), {}));
  settle();
  EXPECT_EQ(manager_.dedicated_pool(kPool)->size, length(14));
  EXPECT_THAT(refusal(HostErrc::WrongState, [&] { return policies_.destroy_dedicated_pool(kProvider, kPool); }),
              HasSubstr("the policy for VM 2 names it"));
  for (const VmId vm : {kA, kB}) ASSERT_TRUE(policies_.terminate(kProvider, vm));
  ASSERT_TRUE(policies_.destroy_dedicated_pool(kProvider, kPool));
  EXPECT_TRUE(policies_.book().pools().empty());
}

}  // namespace
}  // namespace sluice::test
