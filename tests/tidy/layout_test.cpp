// SPDX-License-Identifier: Apache-2.0
// Which folder may depend on which, by CMake's own graph of targets and by the includes; and that docs/MAP.md is true.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "tidy/project_files.hpp"

namespace sluice::tidy {
namespace {

/// Folder -> the folders that it may link and include, itself apart. A name without a slash stands for all below it.
const std::map<std::string, std::set<std::string>> kMayUse = {
    {"base", {}},
    {"driver/engine", {"base"}},
    {"driver/cpu", {"base", "driver/engine"}},
    {"driver/ring", {"base", "driver/engine"}},
    {"driver/compose", {"base", "driver/engine", "driver/cpu"}},
    {"driver/dmadev", {"base", "driver/engine", "driver/cpu"}},
    {"driver/xrt", {"base", "driver/engine", "driver/ring"}},
    {"driver/pmd", {"base", "driver/engine", "driver/compose"}},
    {"host/memory", {"base"}},
    {"host/policy", {"base", "host/memory"}},
    {"host/manager", {"base", "driver/engine", "driver/compose", "host/memory", "host/policy"}},
    {"host/c", {"base", "driver", "host"}},
    {"host/vmm", {"base", "driver/engine", "host/memory", "host/policy", "host/manager"}},
    {"host/client", {}},
    {"host/daemon",
     {"base", "driver/engine", "driver/compose", "driver/cpu", "host/memory", "host/policy", "host/manager", "host/vmm",
      "host/client"}},
    {"sim", {"base", "driver", "host", "rtl", "sim"}},
    {"apps", {"base", "driver", "host", "sim", "apps"}},
    {"tests", {"base", "driver", "host", "sim", "apps", "tests"}},
};

struct Target {
  std::string folder;
  std::vector<std::string> links;
};

std::map<std::string, Target> target_graph() {
  std::map<std::string, Target> graph;
  std::istringstream lines(read(SLUICE_TARGET_GRAPH));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find('|');
    const std::size_t second = line.find('|', first + 1);
    Target target{line.substr(first + 1, second - first - 1), {}};
    std::istringstream words(line.substr(second + 1));
    for (std::string word; words >> word;) target.links.push_back(word);
    graph.emplace(line.substr(0, first), std::move(target));
  }
  return graph;
}

bool lies_in(const std::string& folder, const std::string& room) {
  return folder == room || folder.starts_with(room + "/");
}

/// The rule of the innermost room that has one.
const std::pair<const std::string, std::set<std::string>>* rule_for(const std::string& folder) {
  const std::pair<const std::string, std::set<std::string>>* found = nullptr;
  for (const auto& rule : kMayUse) {
    if (lies_in(folder, rule.first) && (found == nullptr || rule.first.size() > found->first.size())) found = &rule;
  }
  return found;
}

bool may_use(const std::string& folder, const std::string& other) {
  const auto* const rule = rule_for(folder);
  if (rule == nullptr) return false;
  if (lies_in(other, rule->first)) return true;
  for (const std::string& room : rule->second) {
    if (lies_in(other, room)) return true;
  }
  return false;
}

TEST(Layout, NoTargetLinksAgainstTheArrows) {
  const auto graph = target_graph();
  EXPECT_GT(graph.size(), 30U);
  std::size_t arrows = 0;
  for (const auto& [name, target] : graph) {
    if (target.folder.empty()) continue;  // compiler options
    for (const std::string& library : target.links) {
      const auto linked = graph.find(library);
      if (linked == graph.end() || linked->second.folder.empty()) continue;
      ++arrows;
      EXPECT_TRUE(may_use(target.folder, linked->second.folder))
          << name << " in " << target.folder << " links " << library << " in " << linked->second.folder;
    }
  }
  EXPECT_GT(arrows, 50U);
}

TEST(Layout, EveryLibraryHasTheNameOfItsFolder) {
  const auto graph = target_graph();
  for (const fs::path& folder : folders_with("include/sluice")) {
    const std::string name = folder.filename().string();
    const auto target = graph.find("sluice_" + name);
    ASSERT_NE(target, graph.end()) << name_of(folder);
    EXPECT_EQ(target->second.folder, name_of(folder));
    const bool speaks_c = name_of(folder) == "host/c" || name_of(folder) == "host/client";  // headers in sluice/ itself
    EXPECT_TRUE(speaks_c || fs::is_directory(folder / "include/sluice" / name)) << name_of(folder);
  }
}

/// A header beside its sources is private: only that folder includes it. One below include/ says in which folder it is.
TEST(Layout, NoLibraryIncludesAPrivateHeaderOfAnother) {
  const std::regex include(R"re(#include ["<]([\w./]+)[">])re");
  std::map<std::string, std::string> rooms;  // sluice/NAME -> folder
  for (const fs::path& folder : folders_with("include/sluice")) {
    rooms.emplace("sluice/" + folder.filename().string(), name_of(folder));
  }
  for (const fs::path& file : files({".hpp", ".cpp", ".h", ".c"})) {
    const std::string name = name_of(file);
    if (name.starts_with("docs/") || name.starts_with("tests/")) continue;
    const std::string code = read(file);
    for (const std::string& target : matches(code, include)) {
      EXPECT_EQ(target.find("../"), std::string::npos) << name << " includes " << target;
      const std::size_t slash = target.rfind('/');
      const auto room = slash == std::string::npos ? rooms.end() : rooms.find(target.substr(0, slash));
      if (room == rooms.end()) continue;
      const std::string own = name.substr(0, name.find('/', name.find('/') + 1));
      EXPECT_TRUE(may_use(name.starts_with("base/") ? "base" : own, room->second)) << name << " includes " << target;
    }
  }
}

/// A row of the map: question, folder, first file, test.
TEST(Layout, MapPointsAtFilesAndTestsThatAreThere) {
  std::string tests;
  for (const fs::path& file : files({".cpp", ".sh", ".toml", ".txt"})) {
    if (name_of(file).starts_with("tests/") || name_of(file).starts_with("rtl/")) tests += read(file);
  }
  const std::regex row(R"((?:^|\n)\| ([^|\n]+\?) \| `([^`]+)` \| \[([^\]]+)\]\(\.\./([^)]+)\) \| `([^`]+)` \|)");
  const std::string map = read(kRoot / "docs/MAP.md");
  std::size_t rows = 0;
  for (std::sregex_iterator match(map.begin(), map.end(), row), end; match != end; ++match) {
    ++rows;
    const std::string question = (*match)[1], folder = (*match)[2], file = (*match)[4], test = (*match)[5];
    EXPECT_TRUE(fs::is_directory(kRoot / folder)) << question << " " << folder;
    EXPECT_TRUE(fs::is_regular_file(kRoot / file)) << question << " " << file;
    EXPECT_TRUE(file.starts_with(folder)) << question << " " << file << " is not in " << folder;
    const std::string last = test.substr(test.rfind('.') + 1);
    EXPECT_NE(tests.find(last), std::string::npos) << question << " " << test;
  }
  EXPECT_EQ(rows, matches(map, std::regex(R"((?:^|\n)\| ([^|\n]+\?) \|)")).size()) << "a row has another form";
  EXPECT_GE(rows, 20U);
}

}  // namespace
}  // namespace sluice::tidy
