// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace sluice::tidy {

namespace fs = std::filesystem;

inline const fs::path kRoot = SLUICE_SOURCE_DIR;
inline const std::vector<std::string> kFolders = {"apps", "base", "docs",  "driver", "host",
                                                  "rtl",  "sim",  "tests", "tools"};

inline std::string read(const fs::path& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

inline std::string name_of(const fs::path& file) { return fs::relative(file, kRoot).string(); }

/// Files of the project with one of these extensions.
inline std::vector<fs::path> files(const std::set<std::string>& extensions) {
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
  return found;
}

/// Folders of the project that have this folder inside.
inline std::vector<fs::path> folders_with(const std::string& inside) {
  std::vector<fs::path> found;
  for (const std::string& folder : kFolders) {
    if (fs::is_directory(kRoot / folder / inside)) found.push_back(kRoot / folder);
    for (const auto& entry : fs::directory_iterator(kRoot / folder)) {
      if (fs::is_directory(entry.path() / inside)) found.push_back(entry.path());
    }
  }
  return found;
}

/// All matches' first groups.
inline std::vector<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match) {
    found.push_back((*match)[1]);
  }
  return found;
}

}  // namespace sluice::tidy
