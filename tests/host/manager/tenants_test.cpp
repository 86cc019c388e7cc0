// SPDX-License-Identifier: Apache-2.0
// Who is there, without any memory.
#include "tenants.hpp"

#include <gtest/gtest.h>

#include <array>

namespace sluice::test {
namespace {

constexpr std::array<Zone, 2> kZones = {{{0, PageKind::Huge2MiB, ByteCount(0)}, {1, PageKind::Small, ByteCount(0)}}};
constexpr CustomerId kCustomer{1};
constexpr VmId kVm{1};
constexpr TrustGroupId kGroup{5};
constexpr DedicatedPoolId kPool{9};

class TenantsTest : public ::testing::Test {
 protected:
  void add(const VmProfile& profile) {
    const auto checked = tenants_.check_new_vm(profile);
    ASSERT_TRUE(checked) << checked.error().message;
    tenants_.add_vm(*checked);
  }
  [[nodiscard]] Claim claim() const { return tenants_.claim_for(*tenants_.look_up(kVm), ClaimKind::Grow, {}); }

  Tenants tenants_{kZones};
};

TEST_F(TenantsTest, AVmGetsTheSmallestPagesThatThereAre) {
  add({kVm, kCustomer, {}, {}, {}, {}, {}});
  EXPECT_EQ(claim().placement.pages, PageKind::Small);
}

TEST_F(TenantsTest, AVmThatWasOnlyCheckedIsNotThere) {
  ASSERT_TRUE(tenants_.check_new_vm({kVm, kCustomer, {}, {}, {}, {}, {}}));
  EXPECT_EQ(tenants_.look_up(kVm), nullptr);
}

TEST_F(TenantsTest, ClaimsCarryTheGroupAsItIs) {
  ASSERT_TRUE(tenants_.create_trust_group(kGroup, kCustomer, {}));
  add({kVm, kCustomer, {}, kGroup, {}, {}, {}});
  const GroupAt before = claim().group;
  EXPECT_EQ(before.id, kGroup);
  ASSERT_TRUE(tenants_.enable_trust_group(kGroup, false));
  EXPECT_FALSE(claim().group.id.is_set()) << "a disabled group is none";
  ASSERT_TRUE(tenants_.enable_trust_group(kGroup, true));
  EXPECT_EQ(claim().group.id, kGroup);
  EXPECT_GT(claim().group.epoch, before.epoch) << "what was written before stays out of it";
}

TEST_F(TenantsTest, AVmWithAClaimIsNotPulledAway) {
  add({kVm, kCustomer, {}, {}, {}, {}, {}});
  tenants_.claim_started(claim());
  EXPECT_EQ(tenants_.find_vm_without_claims(kVm).error().code, HostErrc::WrongState);
  EXPECT_EQ(tenants_.begin_reboot(kVm).error().code, HostErrc::WrongState);
  tenants_.claim_notified(claim());
  EXPECT_TRUE(tenants_.begin_reboot(kVm));
}

TEST_F(TenantsTest, APoolThatIsUsedIsNotIdle) {
  tenants_.add_pool(kPool, {.customer = kCustomer, .placement = {.pages = PageKind::Small}, .ready = true});
  EXPECT_TRUE(tenants_.find_idle_pool(kPool));
  add({kVm, kCustomer, kPool, {}, {}, {}, {}});
  EXPECT_EQ(tenants_.find_idle_pool(kPool).error().code, HostErrc::WrongState);
  tenants_.end_vm(kVm);
  EXPECT_TRUE(tenants_.find_idle_pool(kPool));
  tenants_.end_pool(kPool);
  EXPECT_EQ(tenants_.check_new_pool(kPool).error().code, HostErrc::IdUsedBefore);
}

}  // namespace
}  // namespace sluice::test
