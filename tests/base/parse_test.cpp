// SPDX-License-Identifier: Apache-2.0
// Text from outside: numbers that are the whole text or none, in every locale, and messages that can be read.
#include "sluice/base/parse.hpp"

#include <gtest/gtest.h>

#include <clocale>
#include <cmath>

#include "sluice/base/saturating.hpp"

namespace sluice {
namespace {

TEST(ParseInteger, TakesTheWholeTextOrNothing) {
  EXPECT_EQ(parse_integer<std::uint64_t>("18446744073709551615"), ~0ULL);
  EXPECT_EQ(parse_integer<std::int32_t>("-7"), -7);
  for (const char* text : {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "18446744073709551616", "1\n"}) {
    EXPECT_FALSE(parse_integer<std::uint64_t>(text)) << text;
  }
  EXPECT_FALSE(parse_integer<std::uint8_t>("256"));
}

TEST(ParseReal, IsFiniteAndTheSameInEveryLocale) {
  std::setlocale(LC_ALL, "de_DE.UTF-8");  // with a decimal comma, where it is installed
  EXPECT_EQ(parse_real("0.75"), 0.75);
  EXPECT_EQ(parse_real("1e-320"), 1e-320);
  std::setlocale(LC_ALL, "C");
  for (const char* text : {"", "inf", "nan", "0,75", "1e400", "1x", " 1", "+1"}) {
    EXPECT_FALSE(parse_real(text)) << text;
  }
}

TEST(ParseBytes, KnowsItsUnitsAndDoesNotWrap) {
  EXPECT_EQ(parse_bytes("12"), ByteCount(12));
  EXPECT_EQ(parse_bytes("64KiB"), ByteCount(64 << 10));
  EXPECT_EQ(parse_bytes("16777215TiB"), ByteCount(16777215ULL << 40));
  for (const char* text : {"", "KiB", "-1", "1.5MiB", "16777216TiB", "1kB", "1 KiB", "18446744073709551616"}) {
    EXPECT_FALSE(parse_bytes(text)) << text;
  }
}

TEST(PrintBytes, IsReadBack) {
  EXPECT_EQ(print_bytes(ByteCount(1ULL << 40)), "1TiB");
  EXPECT_EQ(print_bytes(ByteCount(0)), "0B");
  for (const std::uint64_t bytes : {1ULL, 4096ULL, 5000ULL, 3ULL << 30, ~0ULL}) {
    EXPECT_EQ(parse_bytes(print_bytes(ByteCount(bytes))), ByteCount(bytes));
  }
}

TEST(InQuotes, EscapesAndShortens) {
  EXPECT_EQ(in_quotes("a b"), "'a b'");
  EXPECT_EQ(in_quotes("\xef\xbb\xbf\x1b[2J\n"), "'\\xEF\\xBB\\xBF\\x1B[2J\\x0A'");
  EXPECT_EQ(in_quotes(std::string(70, 'x')), "'" + std::string(60, 'x') + "'... (70 bytes)");
}

TEST(Saturating, TimesEndAtTheLastOne) {
  using std::chrono::nanoseconds;
  EXPECT_EQ(add_saturating(nanoseconds(1), nanoseconds(2)), nanoseconds(3));
  EXPECT_EQ(add_saturating(nanoseconds::max(), nanoseconds(1)), nanoseconds::max());
  EXPECT_EQ(add_saturating(nanoseconds::max() - nanoseconds(1), nanoseconds(1)), nanoseconds::max());
  EXPECT_EQ(nanoseconds_of(1.5), nanoseconds(1'500'000'000));
  EXPECT_EQ(nanoseconds_of(1e10), nanoseconds::max());
  EXPECT_EQ(nanoseconds_of(HUGE_VAL), nanoseconds::max());
}

}  // namespace
}  // namespace sluice
