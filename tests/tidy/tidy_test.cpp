// SPDX-License-Identifier: Apache-2.0
// House rules that no compiler checks. Formatting, clang-tidy and Verilator lint are tests of their own
// (CMakeLists.txt).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace sluice {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = SLUICE_SOURCE_DIR;
const std::vector<std::string> kFolders = {"apps", "base", "docs", "driver", "host", "rtl", "sim", "tests", "tools"};

std::string read(const fs::path& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Files of the project with one of these extensions.
std::vector<fs::path> files(const std::set<std::string>& extensions) {
  std::vector<fs::path> found;
  for (const std::string& folder : kFolders) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      if (entry.is_regular_file() && extensions.contains(entry.path().extension())) found.push_back(entry.path());
    }
  }
  for (const auto& entry : fs::directory_iterator(kRoot)) {
    if (entry.is_regular_file() && extensions.contains(entry.path().extension())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  EXPECT_FALSE(found.empty());
  return found;
}

std::string name(const fs::path& file) { return fs::relative(file, kRoot).string(); }

/// All matches' first groups.
std::vector<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match) {
    found.push_back((*match)[1]);
  }
  return found;
}

TEST(Tidy, DriverKnowsNoVmAndNoVerilator) {
  const std::regex forbidden(R"(\b(VmId|Verilat\w*|Vscrub\w*|TrustGroup\w*)\b)");
  for (const fs::path& file : files({".hpp", ".cpp"})) {
    if (!name(file).starts_with("driver/")) continue;
    EXPECT_TRUE(matches(read(file), forbidden).empty()) << name(file);
  }
}

TEST(Tidy, HostKnowsNoDevice) {
  const std::regex forbidden(R"(\b(CpuEngine|RingEngine|Transport|Descriptor|Iova)\b)");
  for (const fs::path& file : files({".hpp", ".cpp"})) {
    if (!name(file).starts_with("host/")) continue;
    EXPECT_TRUE(matches(read(file), forbidden).empty()) << name(file);
  }
}

TEST(Tidy, EverySourceNamesItsLicence) {
  for (const fs::path& file : files({".hpp", ".cpp", ".sv", ".vlt"})) {
    EXPECT_TRUE(read(file).starts_with("// SPDX-License-Identifier: Apache-2.0\n")) << name(file);
  }
}

TEST(Tidy, FilesStayShort) {
  constexpr std::ptrdiff_t kMostLines = 450;
  for (const fs::path& file : files({".hpp", ".cpp", ".sv"})) {
    const std::string text = read(file);
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), kMostLines) << name(file);
  }
}

TEST(Tidy, EveryFolderSaysWhatItIsForInAFewLines) {
  for (const std::string& folder : kFolders) {
    const std::string text = read(kRoot / folder / "README.md");
    EXPECT_FALSE(text.empty()) << folder;
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 15) << folder;
  }
}

TEST(Tidy, NoLinkInTheDocumentsIsDead) {
  const std::regex link(R"(\]\(([^)#\s]+)(#[^)]*)?\))");
  for (const fs::path& file : files({".md"})) {
    for (const std::string& target : matches(read(file), link)) {
      if (target.starts_with("http")) continue;
      EXPECT_TRUE(fs::exists(file.parent_path() / target)) << name(file) << " links to " << target;
    }
  }
}

/// Paths and identifiers that the documents quote as code must exist.
TEST(Tidy, WhatTheDocumentsNameExists) {
  std::string code;
  for (const fs::path& file : files({".hpp", ".cpp", ".sv", ".txt", ".json"})) code += read(file);
  code += read(kRoot / "Makefile");
  const std::regex path(R"(`((?:apps|base|docs|driver|host|rtl|sim|tests|tools)/[\w./-]+)`)");
  const std::regex identifier(R"(`([A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*)(?:\(\))?`)");
  const std::regex last_part(R"((\w+)$)");
  for (const fs::path& file : files({".md"})) {
    const std::string text = read(file);
    for (const std::string& target : matches(text, path)) {
      EXPECT_TRUE(fs::exists(kRoot / target)) << name(file) << " names " << target;
    }
    for (const std::string& word : matches(text, identifier)) {
      const std::string last = matches(word, last_part).at(0);
      EXPECT_NE(code.find(last), std::string::npos) << name(file) << " names " << word;
    }
  }
}

TEST(Tidy, GlossaryWordsExistInTheCode) {
  std::string code;
  for (const fs::path& file : files({".hpp", ".cpp", ".sv"})) {
    if (!name(file).starts_with("tests/")) code += read(file);
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
    if (name(file).starts_with("tests/")) tests += read(file);
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
    EXPECT_TRUE(matches(read(file), std::regex("(" + later + ")")).empty()) << name(file);
  }
}

}  // namespace
}  // namespace sluice
