// SPDX-License-Identifier: Apache-2.0
// Whom the policy book knows, and who may do what with it.
#include <gmock/gmock.h>

#include "sluice/policy/policy_book.hpp"

namespace sluice {
namespace {

using ::testing::HasSubstr;

constexpr Caller kProvider = Caller::provider();
constexpr Caller kOwner = Caller::customer(CustomerId(4));
constexpr Caller kStranger = Caller::customer(CustomerId(9));
constexpr Caller kUser = Caller::user(UserId(3));
constexpr PolicyTarget kVm{PolicyScope::Instance, 1};
constexpr PolicyTarget kOtherVm{PolicyScope::Instance, 5};
constexpr PolicyTarget kGroup{PolicyScope::TrustGroup, 2};
constexpr PolicyTarget kUserTarget{PolicyScope::User, 3};
constexpr PolicyTarget kCustomer{PolicyScope::Customer, 4};
constexpr PolicyTarget kDefault{};

/// Customer 4 has user 3, group 2, VM 1 of that user and group, and VM 5 of nobody else.
PolicyBook with_vms() {
  PolicyBook book;
  EXPECT_TRUE(book.add_user(kProvider, UserId(3), CustomerId(4)));
  EXPECT_TRUE(book.add_group(kProvider, TrustGroupId(2), CustomerId(4)));
  EXPECT_TRUE(book.register_vm(kProvider, {VmId(1), TrustGroupId(2), UserId(3), CustomerId(4), {}}));
  EXPECT_TRUE(book.register_vm(kProvider, {VmId(5), {}, {}, CustomerId(4), {}}));
  return book;
}

template <class T>
bool denied(const Result<T>& result) {
  return !result && result.error().code == HostErrc::NotPermitted;
}

TEST(PolicyBookRegistry, KnowsUsersAndKeepsCustomersApart) {
  PolicyBook book = with_vms();
  const PolicyBook before = book;
  EXPECT_EQ(book.add_user(kProvider, UserId(3), CustomerId(9)).error().code, HostErrc::IdUsedBefore);
  EXPECT_EQ(book.add_user(kProvider, {}, CustomerId(9)).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(book.register_vm(kProvider, {VmId(6), {}, UserId(3), CustomerId(9), {}}).error().code,
            HostErrc::ForeignCustomer);
  EXPECT_EQ(book.register_vm(kProvider, {VmId(6), TrustGroupId(2), {}, CustomerId(9), {}}).error().code,
            HostErrc::ForeignCustomer);
  EXPECT_EQ(book.register_vm(kProvider, {VmId(6), {}, UserId(99), CustomerId(4), {}}).error().code,
            HostErrc::UnknownId);
  EXPECT_EQ(book.register_vm(kProvider, {VmId(1), {}, {}, CustomerId(4), {}}).error().code, HostErrc::IdUsedBefore);
  EXPECT_EQ(book.attach(kProvider, {PolicyScope::User, 99}, {}).error().code, HostErrc::UnknownId);
  EXPECT_EQ(book.lock(kProvider, {PolicyScope::TrustGroup, 99}, PolicyField::Enable).error().code, HostErrc::UnknownId);
  EXPECT_EQ(book, before);
}

TEST(PolicyBookRegistry, KeepsAUserWhileSomethingDependsOnIt) {
  PolicyBook book = with_vms();
  EXPECT_THAT(book.remove_user(kProvider, UserId(3)).error().message, HasSubstr("VM 1 is registered with it"));
  ASSERT_TRUE(book.attach(kProvider, kVm, {}));
  ASSERT_TRUE(book.forget_vm(kProvider, VmId(1)));
  EXPECT_FALSE(book.attached(kVm)) << "what was attached to a VM goes with it";
  ASSERT_TRUE(book.attach(kProvider, kUserTarget, {}));
  EXPECT_EQ(book.remove_user(kProvider, UserId(3)).error().code, HostErrc::WrongState);
  ASSERT_TRUE(book.detach(kProvider, kUserTarget));
  ASSERT_TRUE(book.create_template(kUser, "mine", {}));
  EXPECT_EQ(book.remove_user(kProvider, UserId(3)).error().code, HostErrc::WrongState);
  ASSERT_TRUE(book.remove_template(kUser, "mine"));
  EXPECT_TRUE(book.remove_user(kProvider, UserId(3)));
  EXPECT_EQ(book.remove_user(kProvider, UserId(3)).error().code, HostErrc::UnknownId);
}

TEST(PolicyBookCallers, AttachOnlyToWhatIsTheirs) {
  PolicyBook book = with_vms();
  const PolicyBook before = book;
  for (const PolicyTarget target : {kVm, kOtherVm, kGroup, kUserTarget, kCustomer, kDefault}) {
    EXPECT_EQ(denied(book.attach(kOwner, target, {})), target == kDefault);
    EXPECT_EQ(denied(book.attach(kUser, target, {})), target != kVm && target != kUserTarget);
    EXPECT_FALSE(denied(book.attach(kProvider, target, {})));
    EXPECT_EQ(denied(book.detach(kUser, target)), target != kVm && target != kUserTarget);
    EXPECT_TRUE(book.detach(kProvider, target));
    for (const Caller& caller :
         {kStranger, Caller::user(UserId(99)), Caller::user({}), Caller::customer({}), Caller::instance(VmId(1))}) {
      EXPECT_TRUE(denied(book.attach(caller, target, {})));
      EXPECT_TRUE(denied(book.detach(caller, target)));
    }
  }
  EXPECT_EQ(book, before);
  EXPECT_EQ(book.attach(kStranger, kVm, {}).error().message,
            "customer 9 may not attach a policy to VM 1: only the provider, and the VM's customer and user if it is "
            "registered with them, may");
  EXPECT_TRUE(denied(book.attach(Caller::customer({}), {PolicyScope::Instance, 77}, {}))) << "nobody's is not theirs";
}

TEST(PolicyBookCallers, OnlyTheProviderLocksAndRegisters) {
  PolicyBook book = with_vms();
  const PolicyBook before = book;
  for (const Caller& caller : {kOwner, kUser, Caller::instance(VmId(1))}) {
    EXPECT_TRUE(denied(book.lock(caller, kVm, PolicyField::Enable)));
    EXPECT_TRUE(denied(book.unlock(caller, kVm, PolicyField::Enable)));
    EXPECT_TRUE(denied(book.register_vm(caller, {VmId(8), {}, {}, CustomerId(4), {}})));
    EXPECT_TRUE(denied(book.change_vm(caller, {VmId(5), {}, {}, CustomerId(4), {}})));
    EXPECT_TRUE(denied(book.forget_vm(caller, VmId(1))));
    EXPECT_TRUE(denied(book.add_group(caller, TrustGroupId(8), CustomerId(4))));
    EXPECT_TRUE(denied(book.remove_group(caller, TrustGroupId(2))));
    EXPECT_TRUE(denied(book.add_pool(caller, DedicatedPoolId(8), CustomerId(4))));
    EXPECT_TRUE(denied(book.remove_pool(caller, DedicatedPoolId(8))));
  }
  EXPECT_TRUE(denied(book.add_user(kStranger, UserId(8), CustomerId(4))));
  EXPECT_TRUE(denied(book.remove_user(kStranger, UserId(3))));
  EXPECT_EQ(book, before);
  EXPECT_TRUE(book.add_user(kOwner, UserId(8), CustomerId(4)));
}

TEST(PolicyBookCallers, TemplatesHaveOwners) {
  PolicyBook book = with_vms();
  ASSERT_TRUE(book.create_template(kProvider, "all", {}));
  ASSERT_TRUE(book.create_template(kOwner, "four", {}));
  ASSERT_TRUE(book.create_template(kUser, "three", {}));
  EXPECT_EQ(book.templates().at("four").owner, kOwner);
  EXPECT_TRUE(book.attach_template(kUser, kVm, "all"));
  EXPECT_TRUE(denied(book.change_template(kOwner, "all", {}))) << "the provider's";
  EXPECT_TRUE(book.change_template(kOwner, "three", {})) << "its user's";
  EXPECT_TRUE(denied(book.remove_template(kUser, "four")));
  for (const char* name : {"four", "three"}) {
    EXPECT_TRUE(denied(book.attach_template(kStranger, {PolicyScope::Customer, 9}, name)));
    EXPECT_TRUE(denied(book.copy_template(kStranger, name, "nine")));
    EXPECT_TRUE(denied(book.change_template(kStranger, name, {})));
    EXPECT_TRUE(denied(book.remove_template(kStranger, name)));
    EXPECT_EQ(book.attach_template(kProvider, {PolicyScope::Customer, 9}, name).error().code, HostErrc::ForeignCustomer)
        << "its owner could change the policy of others";
  }
  ASSERT_TRUE(book.copy_template(kStranger, "all", "nine"));
  EXPECT_EQ(book.templates().at("nine").owner, kStranger);
  EXPECT_TRUE(denied(book.create_template(Caller::instance(VmId(1)), "mine", {})));
}

TEST(PolicyBookCallers, AVmSpeaksForItselfAlone) {
  PolicyBook book = with_vms();
  const PolicyField field = PolicyField::Enable;
  EXPECT_TRUE(denied(book.say(Caller::instance(VmId(5)), VmId(1), field, true)));
  EXPECT_TRUE(denied(book.say(Caller::instance(VmId(5)), VmId(1), field, std::nullopt)));
  EXPECT_TRUE(denied(book.say(kOwner, VmId(1), field, true)));
  EXPECT_TRUE(denied(book.say(kStranger, VmId(1), field, std::nullopt)));
  EXPECT_TRUE(book.say(Caller::instance(VmId(1)), VmId(1), field, false));
  EXPECT_EQ(book.say(Caller::instance(VmId(7)), VmId(7), field, true).error().code, HostErrc::UnknownId);
}

}  // namespace
}  // namespace sluice
