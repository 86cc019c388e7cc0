// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/oracle.hpp"

#include <gtest/gtest.h>

#include "support/memory.hpp"

namespace sluice {
namespace {

using test::Memory;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr CustomerId kCustomer{1};
constexpr TrustGroupId kGroup{1};
constexpr DedicatedPoolId kPool{1};

class OracleTest : public ::testing::Test {
 protected:
  /// A fills the memory, B is given it.
  bool b_may_see_a() {
    oracle_.fill(kA, memory_.all());
    return !oracle_.inspect(kB, memory_.all(), false);
  }

  Oracle oracle_;
  Memory memory_{8192};
};

TEST_F(OracleTest, StrangersDataIsALeak) {
  oracle_.vm_created(kA, kCustomer, {}, {});
  oracle_.vm_created(kB, kCustomer, {}, {});
  EXPECT_FALSE(b_may_see_a());
}

TEST_F(OracleTest, OneWordAmongZeroesIsALeak) {
  oracle_.vm_created(kA, kCustomer, {}, {});
  oracle_.vm_created(kB, kCustomer, {}, {});
  oracle_.fill(kA, memory_.part(4096 + 800, 8));
  const auto leak = oracle_.inspect(kB, memory_.all(), false);
  ASSERT_TRUE(leak);
  EXPECT_NE(leak->find("byte 4896 of 8192"), std::string::npos) << *leak;
  EXPECT_NE(leak->find("data of VM 1"), std::string::npos) << *leak;
}

TEST_F(OracleTest, OwnDataGroupAndPoolAreNot) {
  oracle_.vm_created(kA, kCustomer, kGroup, {});
  oracle_.vm_created(kB, kCustomer, kGroup, {});
  EXPECT_TRUE(b_may_see_a());
  EXPECT_FALSE(oracle_.inspect(kA, memory_.all(), false)) << "A itself";
  oracle_.vm_created(VmId(3), kCustomer, {}, kPool);
  oracle_.vm_created(VmId(4), kCustomer, {}, kPool);
  oracle_.fill(VmId(3), memory_.all());
  EXPECT_FALSE(oracle_.inspect(VmId(4), memory_.all(), false));
  EXPECT_TRUE(oracle_.inspect(kB, memory_.all(), false));
}

TEST_F(OracleTest, OtherCustomerWithTheSameIdsIsALeak) {
  oracle_.vm_created(kA, kCustomer, kGroup, kPool);
  oracle_.vm_created(kB, CustomerId(2), kGroup, kPool);
  EXPECT_FALSE(b_may_see_a());
}

TEST_F(OracleTest, WhatWasWrittenBeforeAChangeOfMembershipIsALeak) {
  oracle_.vm_created(kA, kCustomer, kGroup, {});
  oracle_.vm_created(kB, kCustomer, kGroup, {});
  oracle_.vm_created(VmId(3), kCustomer, kGroup, {});
  oracle_.fill(kA, memory_.all());
  oracle_.group_changed(VmId(3), {});
  EXPECT_TRUE(oracle_.inspect(kB, memory_.all(), false));
  EXPECT_TRUE(b_may_see_a()) << "what is written after it is not";
}

TEST_F(OracleTest, DataOfASiblingGroupIsNoLeakUntilSomebodyLeavesTheLargerOne) {
  constexpr TrustGroupId kWhole{10};
  constexpr TrustGroupId kOther{11};
  oracle_.group_created(kGroup, kWhole);
  oracle_.group_created(kOther, kWhole);
  oracle_.vm_created(kA, kCustomer, kGroup, {});
  oracle_.vm_created(kB, kCustomer, kOther, {});
  oracle_.vm_created(VmId(3), kCustomer, kGroup, {});
  oracle_.vm_created(VmId(4), kCustomer, TrustGroupId(12), {});
  EXPECT_TRUE(b_may_see_a());
  EXPECT_TRUE(oracle_.inspect(VmId(4), memory_.all(), false)) << "a group of the same customer that lies elsewhere";
  oracle_.group_changed(VmId(3), kOther);
  EXPECT_FALSE(oracle_.inspect(kB, memory_.all(), false)) << "a move inside the larger group";
  EXPECT_TRUE(b_may_see_a());
  oracle_.group_changed(VmId(3), {});
  EXPECT_TRUE(oracle_.inspect(kB, memory_.all(), false));
  EXPECT_TRUE(b_may_see_a()) << "what is written after it is no leak";
}

TEST_F(OracleTest, DataInMemoryThatIsSaidToBeCleanIsWrongEvenIfItIsOnesOwn) {
  oracle_.vm_created(kA, kCustomer, {}, {});
  oracle_.fill(kA, memory_.all());
  EXPECT_TRUE(oracle_.inspect(kA, memory_.all(), true));
}

TEST_F(OracleTest, WordsThatNobodyWroteAreWrong) {
  oracle_.vm_created(kA, kCustomer, {}, {});
  memory_.fill(std::byte{0x77});
  const auto leak = oracle_.inspect(kA, memory_.all(), false);
  ASSERT_TRUE(leak);
  EXPECT_NE(leak->find("no VM wrote"), std::string::npos);
  oracle_.fill(kA, memory_.all());
  std::copy_n(memory_.all().begin(), 8, memory_.all().begin() + 64);
  EXPECT_TRUE(oracle_.inspect(kA, memory_.all(), false)) << "a canary in the wrong place";
}

}  // namespace
}  // namespace sluice
