// SPDX-License-Identifier: Apache-2.0
// TOML from outside: what toml++ does not survive is an error of the document, with its line.
#include "sluice/base/toml.hpp"

#include <gmock/gmock.h>

namespace sluice {
namespace {

using ::testing::HasSubstr;

TEST(Toml, StrangeLettersAreFoundWhereTheyAreInNoComment) {
  for (const char* text : {"", "a = 1\r\n\tb = '2'", "# \xC3\xA9", "a = 'b' # \xC3\xA9", "a = \"\\\"#\\\\\" # \xC3\xA9",
                           "\xEF\xBB\xBF", "a = '\\' # '\xC3\xA9"}) {
    EXPECT_EQ(line_with_strange_letter(text), std::nullopt) << text;
  }
  EXPECT_EQ(line_with_strange_letter("a\xC3\xA9 = 1"), 1U);
  EXPECT_EQ(line_with_strange_letter("a = '#'\n\n\xC3\xA9"), 3U);
  EXPECT_EQ(line_with_strange_letter("a = '\xC3\xA9'"), 1U);
  EXPECT_EQ(line_with_strange_letter("a = '#\xC3\xA9'"), 1U);
  EXPECT_EQ(line_with_strange_letter("a = 1\n[\x7F]"), 2U);
  EXPECT_EQ(line_with_strange_letter("# \x01"), 1U);
  EXPECT_EQ(line_with_strange_letter("a = \"\"\"\n# \xC3\xA9"), 2U) << "it may be text or not";
}

TEST(Toml, WhatTheParserAssertsIsAnErrorWithItsLine) {
  for (const char* text : {"a = 1\n[{b", "a = 1\nb = [}\n\nc = 1\n", "a = 1\n[,]", "a = [\n1,,\n"}) {
    try {
      static_cast<void>(parse_toml(text));
      ADD_FAILURE() << text;
    } catch (const TomlError& error) {
      EXPECT_EQ(error.line(), 2U) << text << ": " << error.what();
    }
  }
  EXPECT_EQ(parse_toml("a = [1, 2]\n[[b]]\nc = 3\n").size(), 2U);
}

}  // namespace
}  // namespace sluice
