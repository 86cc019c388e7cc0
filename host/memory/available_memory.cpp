// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/available_memory.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

namespace sluice::inline memory {
namespace {

namespace fs = std::filesystem;

std::optional<std::uint64_t> number_in(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data() + begin, text.data() + text.size(), value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

/// The number after `key` at the start of a line; with no key, in the first line. nullopt also for "max" and such.
std::optional<std::uint64_t> number_in(const fs::path& file, std::string_view key = {}) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) return number_in(std::string_view(line).substr(key.size()));
  }
  return std::nullopt;
}

std::uint64_t less(std::uint64_t amount, std::uint64_t used) { return amount - std::min(amount, used); }

/// Where a version of cgroups keeps its figures.
struct Files {
  fs::path mount;
  const char* limit;
  const char* usage;
  const char* inactive;
  const char* active;
};

class Least {
 public:
  void consider(std::uint64_t bytes, const std::string& limit) {
    if (bytes < found_.bytes.value()) found_ = {ByteCount(bytes), limit};
  }

  /// A cgroup and all its parents, up to the mount: each has a limit of its own.
  void consider_cgroup(const Files& files, fs::path group) {
    while (true) {
      const fs::path folder = files.mount / group.relative_path();
      const auto limit = number_in(folder / files.limit);
      const auto usage = number_in(folder / files.usage);
      if (limit && usage) {
        const fs::path stat = folder / "memory.stat";
        const std::uint64_t of_files =
            number_in(stat, files.inactive).value_or(0) + number_in(stat, files.active).value_or(0);
        consider(less(*limit, less(*usage, of_files)), "cgroup " + group.string());
      }
      if (!group.has_relative_path()) return;
      group = group.parent_path();
    }
  }

  [[nodiscard]] AvailableMemory found() const { return found_; }

 private:
  AvailableMemory found_;
};

/// The lines of /proc/self/cgroup: "hierarchy:controllers:path". Version 2 has one without controllers.
void consider_cgroups(Least& least, const fs::path& root) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,") {
      for (const fs::path& mount : {mounts, mounts / "unified"}) {
        least.consider_cgroup({mount, "memory.max", "memory.current", "inactive_file ", "active_file "}, group);
      }
    } else if (controllers.find(",memory,") != std::string::npos) {
      least.consider_cgroup({mounts / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                             "total_inactive_file ", "total_active_file "},
                            group);
    }
  }
}

}  // namespace

AvailableMemory available_memory(const fs::path& root) {
  Least least;
  if (const auto kibibytes = number_in(root / "proc/meminfo", "MemAvailable:")) {
    least.consider(std::min<std::uint64_t>(*kibibytes, ~0ULL >> 10) << 10, "this host");
  }
  consider_cgroups(least, root);
  const auto pages = number_in(root / "proc/self/statm");
  if (const auto space = number_in(root / "proc/self/limits", "Max address space "); space && pages) {
    least.consider(less(*space, *pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))), "RLIMIT_AS");
  }
  return least.found();
}

}  // namespace sluice::inline memory
