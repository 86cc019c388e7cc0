// SPDX-License-Identifier: Apache-2.0
// Where memory in huge pages lies, for a device without an IOMMU.
#include "sluice/dmadev/physical_pages.hpp"

#include <gtest/gtest.h>

#include "support/memory.hpp"

namespace sluice {
namespace {

using test::Memory;

/// Memory in huge pages as the kernel would tell it: page n lies at kFirst + 2 n pages.
class PhysicalPagesTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kHuge = 2 << 20;
  static constexpr std::uint64_t kFirst = 7 * kHuge;

  PhysicalPagesTest() {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.all().data());
    window_ = memory_.part((kHuge - address % kHuge) % kHuge, 3 * kHuge);
  }
  [[nodiscard]] std::optional<std::uint64_t> physical(const std::byte* at) const {
    const auto offset = static_cast<std::uint64_t>(at - window_.data());
    return kFirst + offset / kHuge * 2 * kHuge + offset % kHuge;
  }

  Memory memory_{4 * kHuge};
  MemorySpan window_;
};

TEST_F(PhysicalPagesTest, KnowsWhereEachByteLies) {
  PhysicalPages pages;
  const auto added = pages.add(window_, kHuge, [this](const std::byte* at) { return physical(at); });
  ASSERT_TRUE(added) << added.error().message;
  for (const std::size_t offset : {std::size_t{0}, kHuge - 1, kHuge, 2 * kHuge + 12'345, 3 * kHuge - 1}) {
    EXPECT_EQ(pages.address(&window_[offset]), physical(&window_[offset])) << offset;
  }
}

TEST_F(PhysicalPagesTest, RefusesPagesThatMayMoveThatAreNoneOrThatItMayNotKnow) {
  PhysicalPages pages;
  const auto refusal = [&](MemorySpan window, std::size_t page, const PhysicalPages::Lookup& lookup) {
    const auto added = pages.add(window, page, lookup);
    return added ? std::string() : added.error().message;
  };
  const auto known = [this](const std::byte* at) { return physical(at); };
  EXPECT_NE(refusal(window_, 4096, known).find("may move"), std::string::npos);
  EXPECT_NE(refusal(window_.subspan(4096), kHuge, known).find("whole pages"), std::string::npos);
  const auto unknown = [](const std::byte* /*at*/) { return std::nullopt; };
  EXPECT_NE(refusal(window_, kHuge, unknown).find("may not know"), std::string::npos);
  const auto scattered = [this](const std::byte* at) { return *physical(at) + (at > &window_[2 * kHuge] ? 4096 : 0); };
  EXPECT_NE(refusal(window_, kHuge, scattered).find("does not lie in pages"), std::string::npos);
  const auto crooked = [this](const std::byte* at) { return *physical(at) + 4096; };
  EXPECT_NE(refusal(window_, kHuge, crooked).find("does not lie in pages"), std::string::npos);
}

}  // namespace
}  // namespace sluice
