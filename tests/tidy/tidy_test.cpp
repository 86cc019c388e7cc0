// SPDX-License-Identifier: Apache-2.0
// House rules that no compiler checks. Formatting, clang-tidy and Verilator lint are tests of their own
// (CMakeLists.txt).
#include <gtest/gtest.h>

#include <algorithm>

#include "tidy/project_files.hpp"

namespace sluice::tidy {
namespace {

TEST(Tidy, DriverKnowsNoVmAndNoVerilator) {
  const std::regex forbidden(R"(\b(VmId|Verilat\w*|Vscrub\w*|TrustGroup\w*)\b)");
  for (const fs::path& file : files({".hpp", ".cpp"})) {
    if (!name_of(file).starts_with("driver/")) continue;
    EXPECT_TRUE(matches(read(file), forbidden).empty()) << name_of(file);
  }
}

TEST(Tidy, HostKnowsNoDevice) {
  const std::regex forbidden(R"(\b(CpuEngine|RingEngine|Transport|Descriptor|Iova)\b)");
  for (const fs::path& file : files({".hpp", ".cpp"})) {
    if (!name_of(file).starts_with("host/")) continue;
    EXPECT_TRUE(matches(read(file), forbidden).empty()) << name_of(file);
  }
}

/// What changes the manager is polled after.
TEST(Tidy, AsyncMemoryManagerHasEveryCallThatChangesSomething) {
  const fs::path folder = kRoot / "host/manager/include/sluice/manager";
  const std::string face = read(folder / "async_memory_manager.hpp");
  const std::vector<std::string> calls = matches(
      read(folder / "memory_manager.hpp"), std::regex(R"(\n  (?:\[\[nodiscard\]\] Result<.*>|void|bool) (\w+)\()"));
  EXPECT_GT(calls.size(), 30U);
  for (const std::string& call : calls) {
    if (call == "poll" || call == "reset_statistics") continue;
    EXPECT_TRUE(face.find(" " + call + "(") != std::string::npos ||
                face.find("async_" + call + "(") != std::string::npos)
        << call;
  }
}

TEST(Tidy, EverySourceNamesItsLicence) {
  for (const fs::path& file : files({".hpp", ".cpp", ".sv", ".vlt"})) {
    EXPECT_TRUE(read(file).starts_with("// SPDX-License-Identifier: Apache-2.0\n")) << name_of(file);
  }
  for (const fs::path& file : files({".h", ".c"})) {
    EXPECT_TRUE(read(file).starts_with("/* SPDX-License-Identifier: Apache-2.0 */\n")) << name_of(file);
  }
}

TEST(Tidy, FilesStayShort) {
  constexpr std::ptrdiff_t kMostLines = 450;
  for (const fs::path& file : files({".hpp", ".cpp", ".h", ".c", ".sv"})) {
    const std::string text = read(file);
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), kMostLines) << name_of(file);
  }
}

TEST(Tidy, EveryFolderSaysWhatItIsForInAFewLines) {
  std::vector<fs::path> folders = folders_with("include");
  for (const std::string& folder : kFolders) folders.push_back(kRoot / folder);
  EXPECT_GT(folders.size(), kFolders.size() + 10);
  for (const fs::path& folder : folders) {
    const std::string text = read(folder / "README.md");
    EXPECT_FALSE(text.empty()) << name_of(folder) << " has no README.md";
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 15) << name_of(folder);
  }
}

TEST(Tidy, NoLinkInTheDocumentsIsDead) {
  const std::regex link(R"(\]\(([^)#\s]+)(#[^)]*)?\))");
  for (const fs::path& file : files({".md"})) {
    for (const std::string& target : matches(read(file), link)) {
      if (target.starts_with("http")) continue;
      EXPECT_TRUE(fs::exists(file.parent_path() / target)) << name_of(file) << " links to " << target;
    }
  }
}

/// Paths and identifiers that the documents quote as code must exist.
TEST(Tidy, WhatTheDocumentsNameExists) {
  std::string code;
  for (const fs::path& file : files({".hpp", ".cpp", ".h", ".c", ".sv", ".txt", ".json"})) code += read(file);
  code += read(kRoot / "Makefile");
  const std::regex path(R"(`((?:apps|base|docs|driver|host|rtl|sim|tests|tools)/[\w./-]+)`)");
  const std::regex identifier(R"(`([A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*)(?:\(\))?`)");
  const std::regex last_part(R"((\w+)$)");
  for (const fs::path& file : files({".md"})) {
    const std::string text = read(file);
    for (const std::string& target : matches(text, path)) {
      EXPECT_TRUE(fs::exists(kRoot / target)) << name_of(file) << " names " << target;
    }
    for (const std::string& word : matches(text, identifier)) {
      const std::string last = matches(word, last_part).at(0);
      EXPECT_NE(code.find(last), std::string::npos) << name_of(file) << " names " << word;
    }
  }
}

TEST(Tidy, GlossaryWordsExistInTheCode) {
  std::string code;
  for (const fs::path& file : files({".hpp", ".cpp", ".sv"})) {
    if (!name_of(file).starts_with("tests/")) code += read(file);
  }
  const std::vector<std::string> words =
      matches(read(kRoot / "docs/GLOSSARY.md"), std::regex(R"((?:^|\n)\| \*\*(\w+)\*\*)"));
  EXPECT_GT(words.size(), 15U);
  for (const std::string& word : words) {
    EXPECT_TRUE(std::regex_search(code, std::regex("\\b" + word + "\\b"))) << word;
  }
}

TEST(Tidy, RequirementsPointAtTestsThatExist) {
  std::string tests;
  for (const fs::path& file : files({".cpp"})) {
    if (name_of(file).starts_with("tests/")) tests += read(file);
  }
  const std::vector<std::string> named = matches(read(kRoot / "docs/REQUIREMENTS.md"), std::regex(R"(`\w+\.(\w+)`)"));
  EXPECT_GT(named.size(), 20U);
  for (const std::string& test : named) {
    EXPECT_TRUE(std::regex_search(tests, std::regex(R"(TEST(_F|_P)?\(\w+, )" + test + R"(\))"))) << test;
  }
}

TEST(Tidy, NothingIsLeftForLater) {
  const std::string later = std::string("TO") + "DO|FIX" + "ME|\\bXX" + "X\\b|GTEST" + "_SKIP";
  for (const fs::path& file : files({".hpp", ".cpp", ".sv", ".md"})) {
    EXPECT_TRUE(matches(read(file), std::regex("(" + later + ")")).empty()) << name_of(file);
  }
}

}  // namespace
}  // namespace sluice::tidy
