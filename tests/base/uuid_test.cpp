// SPDX-License-Identifier: Apache-2.0
// UUIDs and UTF-8, as they come from outside.
#include "sluice/base/uuid.hpp"

#include <gtest/gtest.h>

#include "sluice/base/utf8.hpp"

namespace sluice {
namespace {

constexpr std::string_view kText = "123e4567-e89b-12d3-a456-426614174000";

TEST(Uuid, IsWrittenAsItIsRead) {
  const auto uuid = parse_uuid(kText);
  ASSERT_TRUE(uuid);
  EXPECT_EQ(uuid->bytes[0], std::byte{0x12});
  EXPECT_EQ(uuid->bytes[8], std::byte{0xA4});
  EXPECT_EQ(uuid->bytes[15], std::byte{0x00});
  EXPECT_EQ(to_string(*uuid), kText);
  EXPECT_EQ(parse_uuid("123E4567-E89B-12D3-A456-426614174000"), uuid);
}

TEST(Uuid, IsNothingElse) {
  for (const std::string_view text :
       {"", "123e4567-e89b-12d3-a456-42661417400", "123e4567-e89b-12d3-a456-4266141740000",
        "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g",
        "{123e4567-e89b-12d3-a456-426614174000}", "123e4567-e89b-12d3-a4564-26614174000",
        "123e4567-e89b-12d3-a456-426614174000 ", "------------------------------------"}) {
    EXPECT_FALSE(parse_uuid(text)) << text;
  }
}

TEST(Uuid, OfZerosIsNone) {
  EXPECT_FALSE(Uuid().is_set());
  EXPECT_FALSE(parse_uuid("00000000-0000-0000-0000-000000000000")->is_set());
  EXPECT_TRUE(parse_uuid("00000000-0000-0000-0000-000000000001")->is_set());
  EXPECT_NE(std::hash<Uuid>{}(*parse_uuid(kText)), std::hash<Uuid>{}(Uuid()));
}

TEST(Utf8, IsReadUpToTheFirstByteThatIsNoLetter) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(
      is_utf8("a\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"));
  for (const std::string_view bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2g", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xEF\xBF",
        "\xE2\x82(", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF0\x9F\x98", "\xFF"}) {
    EXPECT_EQ(utf8_prefix("ab" + std::string(bad) + "c"), 2U) << ::testing::PrintToString(bad);
    EXPECT_FALSE(is_utf8(bad)) << ::testing::PrintToString(bad);
  }
}

}  // namespace
}  // namespace sluice
