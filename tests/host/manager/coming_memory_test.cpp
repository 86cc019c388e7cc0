// SPDX-License-Identifier: Apache-2.0
// Memory that comes back is shared out among the claims that wait, each with what can serve it.
#include "coming_memory.hpp"

#include <gtest/gtest.h>

namespace sluice::test {
namespace {

constexpr DedicatedPoolId kPool{7};

class ComingMemoryTest : public ::testing::Test {
 protected:
  /// The next claim that waits, for a VM of `pool`.
  void wait(std::uint64_t missing, std::vector<std::uint32_t> zones, DedicatedPoolId pool = {}) {
    Claim& claim = claims_[waiting_.size()];
    claim.pool = pool;
    waiting_.push_back({&claim, ByteCount(missing), std::move(zones)});
  }

  std::array<Claim, 4> claims_;
  std::vector<Shortfall> waiting_;
  std::vector<std::byte> brick_ = std::vector<std::byte>(4096);
  Brick bricks_[1] = {{.memory = MemorySpan(brick_)}};
  ExtentTable table_{bricks_};
  ComingMemory coming_{table_};
};

TEST_F(ComingMemoryTest, ServesAClaimFromAllItsZones) {
  coming_.add({}, 0, 0, ByteCount(10));
  coming_.add({}, 1, 0, ByteCount(10));
  wait(20, {1, 0});
  EXPECT_EQ(coming_.share_out(waiting_), 1U);
}

TEST_F(ComingMemoryTest, OfAnotherZoneServesNobody) {
  coming_.add({}, 1, 0, ByteCount(100));
  wait(1, {0});
  EXPECT_EQ(coming_.share_out(waiting_), 0U) << "the first that cannot be met";
}

TEST_F(ComingMemoryTest, GoesToTheClaimsInTheirOrder) {
  coming_.add({}, 0, 0, ByteCount(10));
  wait(6, {0});
  wait(4, {0});
  wait(1, {0});
  EXPECT_EQ(coming_.share_out(waiting_), 2U);
}

TEST_F(ComingMemoryTest, AClaimTakesFirstWhatThoseBehindItCannotUse) {
  coming_.add({}, 0, 0, ByteCount(10));
  coming_.add({}, 1, 0, ByteCount(10));
  wait(10, {0, 1});
  wait(10, {0});
  EXPECT_EQ(coming_.share_out(waiting_), 2U);
}

TEST_F(ComingMemoryTest, OfAPoolServesItsVmsAlone) {
  coming_.add(kPool, 0, 0, ByteCount(10));
  wait(10, {0}, kPool);
  wait(1, {0});
  EXPECT_EQ(coming_.share_out(waiting_), 1U);
}

TEST_F(ComingMemoryTest, ThatIsSuspectServesTheOthers) {
  Extent& extent = *table_.first_place();
  table_.suspect(extent, VmId(1));
  coming_.add({}, 0, table_.lineage(extent).suspect, ByteCount(10));
  claims_[0].vm = VmId(1);
  claims_[1].vm = VmId(2);
  wait(10, {0});
  EXPECT_EQ(coming_.share_out(waiting_), 0U);
  claims_[0].vm = VmId(2);
  EXPECT_EQ(coming_.share_out(waiting_), 1U);
}

TEST_F(ComingMemoryTest, OfAPoolIsNoneForTheClaimThatFillsIt) {
  coming_.add(kPool, 0, 0, ByteCount(10));
  wait(10, {0}, kPool);
  claims_[0].kind = ClaimKind::Pool;
  EXPECT_EQ(coming_.share_out(waiting_), 0U);
}

}  // namespace
}  // namespace sluice::test
