// SPDX-License-Identifier: Apache-2.0
// Groups, pools and reservations in policies; what the provider has built in; what a VM says itself; who has changed.
#include <gmock/gmock.h>

#include "sluice/policy/policy_book.hpp"

namespace sluice {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Caller kProvider = Caller::provider();
constexpr PolicyTarget kDefault{};
constexpr PolicyTarget kCustomer{PolicyScope::Customer, 4};
constexpr PolicyTarget kGroup{PolicyScope::TrustGroup, 2};
constexpr PolicyTarget kVm{PolicyScope::Instance, 1};

/// Customer 4 has VM 1 (user 3, group 2) and VM 5; customer 9 has group 8, pool 8, user 8 and VM 9.
class PolicyBookOfVms : public ::testing::Test {
 protected:
  PolicyBookOfVms() {
    EXPECT_TRUE(book_.add_user(kProvider, UserId(3), CustomerId(4)));
    EXPECT_TRUE(book_.add_user(kProvider, UserId(8), CustomerId(9)));
    for (const std::uint64_t id : {2U, 7U}) EXPECT_TRUE(book_.add_group(kProvider, TrustGroupId(id), CustomerId(4)));
    EXPECT_TRUE(book_.add_group(kProvider, TrustGroupId(8), CustomerId(9)));
    EXPECT_TRUE(book_.add_pool(kProvider, DedicatedPoolId(6), CustomerId(4)));
    EXPECT_TRUE(book_.add_pool(kProvider, DedicatedPoolId(8), CustomerId(9)));
    EXPECT_TRUE(book_.register_vm(kProvider, {VmId(1), TrustGroupId(2), UserId(3), CustomerId(4), {}}));
    EXPECT_TRUE(book_.register_vm(kProvider, {VmId(5), {}, {}, CustomerId(4), {}}));
    EXPECT_TRUE(book_.register_vm(kProvider, {VmId(9), {}, {}, CustomerId(9), {}}));
  }
  static Policy policy(const std::string& text) { return Policy::from_json(text).value(); }
  [[nodiscard]] PolicyExplanation why(VmId vm, PolicyField field) const {
    return book_.effective_of(vm)->explanation.at(static_cast<std::size_t>(field));
  }

  PolicyBook book_;
};

TEST_F(PolicyBookOfVms, PoliciesNameTheGroupAndThePool) {
  EXPECT_EQ(book_.effective_of(VmId(1))->group, TrustGroupId(2));
  EXPECT_EQ(why(VmId(1), PolicyField::TrustGroup).from, "as registered");
  ASSERT_TRUE(book_.attach(kProvider, kCustomer, policy(R"({"trust_group": 7, "dedicated_pool": 6})")));
  EXPECT_EQ(book_.effective_of(VmId(1))->group, TrustGroupId(7));
  EXPECT_EQ(book_.effective_of(VmId(5))->pool, DedicatedPoolId(6));
  ASSERT_TRUE(book_.attach(kProvider, {PolicyScope::TrustGroup, 7}, policy(R"({"fill": "erase"})")));
  EXPECT_EQ(book_.effective_of(VmId(1))->scrub.method, FillMethod::Erase) << "its policy is that of the group it is in";
  ASSERT_TRUE(book_.attach(kProvider, kVm, policy(R"({"trust_group": null, "dedicated_pool": 0})")));
  EXPECT_FALSE(book_.effective_of(VmId(1))->group.is_set());
  EXPECT_FALSE(book_.effective_of(VmId(1))->pool.is_set());
  EXPECT_EQ(why(VmId(1), PolicyField::TrustGroup).from, "VM 1");
}

TEST_F(PolicyBookOfVms, PoliciesNameOnlyGroupsAndPoolsOfTheCustomer) {
  const PolicyBook before = book_;
  const auto refused = [&](PolicyTarget target, const std::string& text) {
    return book_.attach(kProvider, target, policy(text)).error().code;
  };
  EXPECT_EQ(refused(kVm, R"({"trust_group": 8})"), HostErrc::ForeignCustomer);
  EXPECT_EQ(refused(kCustomer, R"({"dedicated_pool": 8})"), HostErrc::ForeignCustomer);
  EXPECT_EQ(refused(kVm, R"({"trust_group": 99})"), HostErrc::UnknownId);
  EXPECT_EQ(refused(kDefault, R"({"trust_group": 2})"), HostErrc::InvalidArgument);
  EXPECT_EQ(refused(kGroup, R"({"trust_group": 7})"), HostErrc::InvalidArgument);
  EXPECT_EQ(book_, before);
  const PolicyTarget unborn{PolicyScope::Instance, 12};
  ASSERT_TRUE(book_.attach(kProvider, unborn, policy(R"({"trust_group": 8})")));
  EXPECT_EQ(book_.register_vm(kProvider, {VmId(12), {}, {}, CustomerId(4), {}}).error().code,
            HostErrc::ForeignCustomer);
  EXPECT_FALSE(book_.effective_of(VmId(12)));
  EXPECT_EQ(book_.remove_group(kProvider, TrustGroupId(8)).error().code, HostErrc::WrongState);
  EXPECT_THROW(PolicyBook(policy(R"({"trust_group": 8})")), std::invalid_argument);
}

TEST(PolicyFields, IdsAreWholeNumbersOrNull) {
  for (const char* id : {"-1", "1.5", "1.0", "\"7\"", "true", "1e3", "18446744073709551616"}) {
    const auto read = Policy::from_json(std::string(R"({"trust_group": )") + id + "}");
    ASSERT_FALSE(read) << id;
    EXPECT_THAT(read.error().message, HasSubstr("'trust_group' is "));
  }
  EXPECT_EQ(Policy::from_json(R"({"dedicated_pool": null})")->value(PolicyField::DedicatedPool), "0");
  EXPECT_EQ(Policy::from_toml("dedicated_pool = 3\n")->value(PolicyField::DedicatedPool), "3");
  EXPECT_FALSE(Policy::from_toml("dedicated_pool = 1979-05-27\n")) << "a date is not null";
}

TEST(PolicyFields, ReservationsLastAnHourUnlessTheyAreSaidTo) {
  PolicyBook book;
  EXPECT_EQ(book.effective({}).recycle.reservation, std::chrono::hours(1));
  EXPECT_EQ(book.effective({}).explanation.at(static_cast<std::size_t>(PolicyField::Reservation)).value, "3600");
  EXPECT_FALSE(book.effective({}).recycle.lend_reserved_memory);
  ASSERT_TRUE(book.attach(kProvider, kDefault, Policy::from_json(R"({"reservation_s": 0})").value()));
  EXPECT_EQ(book.effective({}).recycle.reservation, seconds(0)) << "never";
  ASSERT_TRUE(book.lock(kProvider, kDefault, PolicyField::LendReservedMemory));
  EXPECT_FALSE(Policy::from_json(R"({"enable": false, "lend_reserved_memory": true})"));
}

TEST(PolicyFields, ErasedMemoryIsFilledWithZeros) {
  EXPECT_EQ(fill_of({.method = FillMethod::Erase, .pattern = 7}).pattern, 0U);
  EXPECT_FALSE(fill_of({.method = FillMethod::Erase}).random);
}

TEST_F(PolicyBookOfVms, TheProviderBuildsInWhatHoldsOtherwise) {
  PolicyBook book(policy(R"({"recycle_on_reboot": false, "scrub_timing": "both"})"));
  const EffectivePolicy effective = book.effective({VmId(1), {}, {}, CustomerId(4), {}});
  EXPECT_FALSE(effective.recycle.recycle_on_reboot);
  EXPECT_EQ(effective.scrub.timing, ScrubTiming::Both);
  EXPECT_EQ(effective.explanation.at(1).from, "built in by the provider");
  EXPECT_EQ(effective.explanation.at(2).from, "built in");
  ASSERT_TRUE(book.attach(kProvider, kCustomer, policy(R"({"recycle_on_reboot": true})")));
  EXPECT_TRUE(book.effective({VmId(1), {}, {}, CustomerId(4), {}}).recycle.recycle_on_reboot);
}

TEST_F(PolicyBookOfVms, AVmEnablesAndDisablesRecyclingItself) {
  const Caller vm = Caller::instance(VmId(1));
  ASSERT_TRUE(book_.attach(kProvider, kVm, policy(R"({"enable": false})")));
  EXPECT_THAT(book_.say(vm, VmId(1), PolicyField::Enable, true).value(), ElementsAre(VmId(1)));
  EXPECT_TRUE(book_.effective_of(VmId(1))->recycle.enable);
  EXPECT_EQ(why(VmId(1), PolicyField::Enable).from, "VM 1 itself");
  ASSERT_TRUE(book_.say(vm, VmId(1), PolicyField::RecycleOnReboot, false));
  EXPECT_TRUE(book_.effective_of(VmId(1))->recycle.enable) << "its reboots alone";
  EXPECT_FALSE(book_.effective_of(VmId(1))->recycle.recycle_on_reboot);
  EXPECT_EQ(book_.say(vm, VmId(1), PolicyField::RecycleWithinVm, true).error().code, HostErrc::InvalidArgument);
  ASSERT_TRUE(book_.lock(kProvider, kCustomer, PolicyField::Enable));
  EXPECT_FALSE(book_.effective_of(VmId(1))->recycle.enable) << "a lock wins";
  ASSERT_TRUE(book_.unlock(kProvider, kCustomer, PolicyField::Enable));
  EXPECT_THAT(book_.say(Caller::customer(CustomerId(4)), VmId(1), PolicyField::Enable, std::nullopt).value(),
              ElementsAre(VmId(1)));
  EXPECT_FALSE(book_.effective_of(VmId(1))->recycle.enable);
}

TEST_F(PolicyBookOfVms, EachCallSaysWhichVmsItReaches) {
  const Policy off = policy(R"({"recycle_on_reboot": false})");
  EXPECT_THAT(book_.attach(kProvider, kCustomer, off).value(), ElementsAre(VmId(1), VmId(5)));
  EXPECT_THAT(book_.attach(kProvider, kVm, off).value(), IsEmpty()) << "it holds already";
  EXPECT_THAT(book_.detach(kProvider, kCustomer).value(), ElementsAre(VmId(5)));
  ASSERT_TRUE(book_.create_template(kProvider, "on", policy(R"({"recycle_on_reboot": true})")));
  EXPECT_THAT(book_.attach_template(kProvider, kDefault, "on").value(), IsEmpty());
  EXPECT_THAT(book_.change_template(kProvider, "on", off).value(), ElementsAre(VmId(5), VmId(9)));
  EXPECT_THAT(book_.lock(kProvider, kGroup, PolicyField::RecycleWithinVm).value(), ElementsAre(VmId(1)));
  EXPECT_THAT(book_.unlock(kProvider, kGroup, PolicyField::RecycleWithinVm).value(), ElementsAre(VmId(1)));
  EXPECT_THAT(book_.change_vm(kProvider, {VmId(5), TrustGroupId(7), {}, CustomerId(4), {}}).value(),
              ElementsAre(VmId(5)));
}

TEST_F(PolicyBookOfVms, WhateverNamesAMergedPoolHasTheOtherOne) {
  ASSERT_TRUE(book_.add_pool(kProvider, DedicatedPoolId(7), CustomerId(4)));
  ASSERT_TRUE(book_.register_vm(kProvider, {VmId(2), {}, {}, CustomerId(4), DedicatedPoolId(7)}));
  ASSERT_TRUE(book_.attach(kProvider, kVm, policy(R"({"dedicated_pool": 7})")));
  ASSERT_TRUE(book_.create_template(kProvider, "seven", policy(R"({"dedicated_pool": 7})")));
  ASSERT_TRUE(book_.attach_template(kProvider, {PolicyScope::Instance, 5}, "seven"));
  const PolicyBook before = book_;
  const auto merge = [&](const Caller& caller, std::uint64_t pool, std::uint64_t other) {
    return book_.merge_pools(caller, DedicatedPoolId(pool), DedicatedPoolId(other));
  };
  EXPECT_EQ(merge(Caller::customer(CustomerId(4)), 6, 7).error().code, HostErrc::NotPermitted);
  EXPECT_EQ(merge(kProvider, 7, 7).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(merge(kProvider, 6, 8).error().code, HostErrc::ForeignCustomer);
  EXPECT_EQ(merge(kProvider, 6, 99).error().code, HostErrc::UnknownId);
  EXPECT_EQ(book_, before);
  EXPECT_THAT(merge(kProvider, 6, 7).value(), ElementsAre(VmId(1), VmId(2), VmId(5)));
  for (const std::uint64_t vm : {1U, 2U, 5U}) EXPECT_EQ(book_.effective_of(VmId(vm))->pool, DedicatedPoolId(6));
  EXPECT_EQ(book_.pools().size(), 2U);
}

TEST_F(PolicyBookOfVms, WhatIsLockedIsKnownAlsoWhereItIsOffAnyway) {
  ASSERT_TRUE(book_.attach(kProvider, kVm, policy(R"({"enable": false})")));
  EXPECT_THAT(book_.effective_of(VmId(1))->locked, IsEmpty());
  ASSERT_TRUE(book_.lock(kProvider, kCustomer, PolicyField::Enable));
  EXPECT_THAT(book_.effective_of(VmId(1))->locked, ElementsAre(PolicyField::Enable));
  EXPECT_THAT(book_.effective_of(VmId(9))->locked, IsEmpty());
}

TEST_F(PolicyBookOfVms, APolicyGoesToSeveralTargetsOrToNone) {
  const std::vector<PolicyTarget> vms = {kVm, {PolicyScope::Instance, 5}};
  ASSERT_TRUE(book_.create_template(kProvider, "web", policy(R"({"recycle_on_reboot": false})")));
  EXPECT_THAT(book_.attach_template(kProvider, vms, "web").value(), ElementsAre(VmId(1), VmId(5)));
  EXPECT_EQ(book_.attachments().size(), 2U);
  EXPECT_EQ(book_.attached(kVm)->template_name, "web");
  const PolicyBook before = book_;
  const std::vector<PolicyTarget> one_wrong = {kCustomer, {PolicyScope::User, 99}};
  EXPECT_EQ(book_.attach(kProvider, one_wrong, policy("{}")).error().code, HostErrc::UnknownId);
  EXPECT_EQ(book_.attach(kProvider, std::vector<PolicyTarget>(), policy("{}")).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(book_, before);
  EXPECT_THAT(book_.detach(kProvider, vms).value(), ElementsAre(VmId(1), VmId(5)));
  EXPECT_FALSE(book_.attached(kVm));
}

}  // namespace
}  // namespace sluice
