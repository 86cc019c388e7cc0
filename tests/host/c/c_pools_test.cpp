// SPDX-License-Identifier: Apache-2.0
// The C interface: rules of pools, and memory that may be defective.
#include "host/c/c_fields.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

/// Each field with a value that decides: seen by what is left for others.
TEST_F(CFields, RulesOfPoolsSayWhenAndHowFarTheyAreResized) {
  const auto left_beside = [&](const sluice_pool_rule& rule, std::uint64_t used) {
    restart();
    Heard made;
    EXPECT_EQ(sluice_pool_create(manager_, 7, 1, 6 * kPage, 0, hear, &made, nullptr), SLUICE_OK);
    poll();
    sluice_vm facts = vm(1);
    facts.pool = 7;
    add(facts);
    take(1, used);
    EXPECT_EQ(sluice_pool_change_rule(manager_, 7, &rule), SLUICE_OK) << sluice_last_message();
    poll();
    create(2, 2);
    return most_for(2);
  };
  EXPECT_EQ(left_beside({2 * kPage, 6 * kPage, 3 * kPage, 0, 16 * kPage}, 4), 10U) << "least_free";
  EXPECT_EQ(left_beside({2 * kPage, 6 * kPage, 3 * kPage, 0, 16 * kPage}, 5), 7U) << "step";
  EXPECT_EQ(left_beside({2 * kPage, 6 * kPage, 3 * kPage, 0, 8 * kPage}, 5), 8U) << "largest";
  EXPECT_EQ(left_beside({0, 4 * kPage, 2 * kPage, 0, 16 * kPage}, 1), 12U) << "most_free";
  EXPECT_EQ(left_beside({0, 5 * kPage, 2 * kPage, 0, 16 * kPage}, 1), 10U) << "most_free";
  EXPECT_EQ(left_beside({0, 4 * kPage, 2 * kPage, 5 * kPage, 16 * kPage}, 1), 11U) << "smallest";
  const sluice_pool_rule swings = {2 * kPage, 4 * kPage, 3 * kPage, 0, 16 * kPage};
  EXPECT_EQ(sluice_pool_change_rule(manager_, 7, &swings), SLUICE_INVALID_ARGUMENT);
  EXPECT_THAT(sluice_last_message(), HasSubstr("let the two differ by a step"));
  EXPECT_EQ(sluice_pool_change_rule(manager_, 7, nullptr), SLUICE_OK);
}

TEST_F(CFields, ReportsOfSuspectMemorySayWhatIsBadAndWhatIsInUse) {
  sluice_piece piece;
  ASSERT_EQ(sluice_memory_piece(memory_, 0, &piece), SLUICE_OK);
  auto* const base = static_cast<std::byte*>(piece.base);
  poll();
  create(1);
  create(2, 2);
  auto* const held = static_cast<std::byte*>(take(1, 1).ranges.at(0).base);
  ASSERT_EQ(held, base) << "the first page";
  ASSERT_EQ(sluice_suspect(manager_, 2, base, 8 * kPage), SLUICE_OK) << sluice_last_message();
  EXPECT_EQ(sluice_suspect_bytes(manager_, 2), 8 * kPage);
  EXPECT_EQ(sluice_suspect_bytes(manager_, 0), 0U);
  EXPECT_EQ(most_for(2), 8U);
  ASSERT_EQ(sluice_vm_terminate(manager_, 2), SLUICE_OK);
  poll();
  ASSERT_EQ(sluice_suspect(manager_, 0, base, 8 * kPage), SLUICE_OK) << sluice_last_message();
  own_.lie = [&](sluice_completion&) { base[3 * kPage + 5] |= std::byte{1}; };  // a bit that is stuck
  own_.seen.clear();
  Heard heard;
  std::uint64_t claim = 0;
  const std::uint64_t patterns[] = {0x1111111111111111, 0};
  ASSERT_EQ(sluice_suspect_test(manager_, 0, patterns, 2, hear_report, &heard, &claim), SLUICE_OK);
  EXPECT_GT(claim, 0U);
  poll();
  EXPECT_EQ(heard.calls, 1);
  EXPECT_EQ(heard.code, SLUICE_OK) << heard.message;
  EXPECT_EQ(own_.seen.front().pattern, patterns[0]);
  EXPECT_EQ(heard.report.tested, 7 * kPage);
  EXPECT_EQ(heard.report.not_tested, kPage);
  ASSERT_EQ(heard.failed.size(), 1U);
  EXPECT_EQ(heard.failed[0].base, base + 3 * kPage);
  EXPECT_EQ(heard.failed[0].length, kPage);
  create(3, 3);
  EXPECT_EQ(most_for(3), 8U);
  ASSERT_EQ(sluice_vm_terminate(manager_, 3), SLUICE_OK);
  ASSERT_EQ(sluice_absolve(manager_, 0), SLUICE_OK);
  EXPECT_EQ(sluice_suspect_bytes(manager_, 0), 0U);
  poll();
  create(4, 4);
  EXPECT_EQ(most_for(4), 14U) << "not the page that is bad, nor the one that is held";
}

TEST_F(CFields, RulesOfPoolsLimitCallsToo) {
  Heard made;
  ASSERT_EQ(sluice_pool_create(manager_, 7, 1, 6 * kPage, 0, hear, &made, nullptr), SLUICE_OK);
  poll();
  const sluice_pool_rule rule = {0, 16 * kPage, kPage, 5 * kPage, 7 * kPage};
  ASSERT_EQ(sluice_pool_change_rule(manager_, 7, &rule), SLUICE_OK) << sluice_last_message();
  EXPECT_EQ(sluice_pool_grow(manager_, 7, 2 * kPage, hear, &made, nullptr), SLUICE_INVALID_ARGUMENT);
  EXPECT_THAT(sluice_last_message(), HasSubstr("its rule allows it 28672 at most"));
  EXPECT_EQ(sluice_pool_shrink(manager_, 7, 2 * kPage), SLUICE_INVALID_ARGUMENT);
  EXPECT_THAT(sluice_last_message(), HasSubstr("its rule leaves it 20480 at least"));
  EXPECT_EQ(sluice_pool_grow(manager_, 7, kPage, hear, &made, nullptr), SLUICE_OK) << sluice_last_message();
  poll();
  create(2, 2);
  EXPECT_EQ(most_for(2), 9U);
}

TEST_F(CFields, SuspectMemoryIsOfTheVmThatIsNamed) {
  sluice_piece piece;
  ASSERT_EQ(sluice_memory_piece(memory_, 0, &piece), SLUICE_OK);
  poll();
  create(2, 2);
  ASSERT_EQ(sluice_suspect(manager_, 2, piece.base, 4 * kPage), SLUICE_OK) << sluice_last_message();
  Heard heard;
  EXPECT_EQ(sluice_suspect_test(manager_, 0, nullptr, 0, hear_report, &heard, nullptr), SLUICE_OUT_OF_MEMORY);
  ASSERT_EQ(sluice_suspect_test(manager_, 2, nullptr, 0, hear_report, &heard, nullptr), SLUICE_OK);
  poll();
  EXPECT_EQ(heard.calls, 1);
  EXPECT_EQ(heard.report.tested, 4 * kPage);
  ASSERT_EQ(sluice_absolve(manager_, 0), SLUICE_OK);
  EXPECT_EQ(sluice_suspect_bytes(manager_, 2), 4 * kPage);
  ASSERT_EQ(sluice_absolve(manager_, 2), SLUICE_OK);
  EXPECT_EQ(sluice_suspect_bytes(manager_, 2), 0U);
  EXPECT_EQ(most_for(2), 16U);
}

TEST_F(CMisuse, DestroyEndsATestOfSuspectMemory) {
  own_.holds = true;
  sluice_piece piece;
  ASSERT_EQ(sluice_memory_piece(memory_, 0, &piece), SLUICE_OK);
  ASSERT_EQ(sluice_suspect(manager_, 0, piece.base, 4 * kPage), SLUICE_OK) << sluice_last_message();
  Heard heard;
  ASSERT_EQ(sluice_suspect_test(manager_, 0, nullptr, 0, hear_report, &heard, nullptr), SLUICE_OK);
  EXPECT_EQ(sluice_suspect_test(manager_, 0, nullptr, 0, hear_report, &heard, nullptr), SLUICE_WRONG_STATE);
  poll(3);
  destroy();
  EXPECT_EQ(heard.calls, 1);
  EXPECT_EQ(heard.code, SLUICE_ABANDONED);
  EXPECT_EQ(heard.reports, 0);
}

}  // namespace
}  // namespace sluice::test
