// SPDX-License-Identifier: Apache-2.0
#include "sluice/vmm/holders.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "processes.hpp"
#include "sluice/base/parse.hpp"

namespace sluice::inline vmm {
namespace {

namespace fs = std::filesystem;

/// What cannot be read is taken to be nothing: a process that has ended, or one of another user.
bool has_open(const fs::path& process, const struct stat& wanted) {
  std::error_code error;
  for (fs::directory_iterator at(process / "fd", error), end; !error && at != end; at.increment(error)) {
    struct stat file {};
    if (::stat(at->path().c_str(), &file) != 0) continue;
    if (file.st_dev == wanted.st_dev && file.st_ino == wanted.st_ino) return true;
  }
  return false;
}

/// proc_pid_maps(5): address perms offset dev inode pathname; the device as major:minor in hexadecimal digits.
bool has_mapped(const fs::path& process, const struct stat& wanted) {
  const std::string device = fmt::format("{:02x}:{:02x}", major(wanted.st_dev), minor(wanted.st_dev));
  const std::string inode = fmt::format("{}", wanted.st_ino);
  std::ifstream maps(process / "maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    std::string address, permissions, offset, its_device, its_inode;
    fields >> address >> permissions >> offset >> its_device >> its_inode;
    if (its_inode == inode && its_device == device) return true;
  }
  return false;
}

}  // namespace

std::string command_of(const fs::path& process) {
  std::ifstream file(process / "comm");
  std::string command;
  std::getline(file, command);
  for (char& letter : command) {
    if (letter < ' ' || letter > '~') letter = '?';
  }
  return command;
}

Result<std::vector<Holder>> holders_of(int fd) {
  struct stat wanted {};
  if (::fstat(fd, &wanted) != 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("descriptor {}: {}; give one that is open", fd, std::strerror(errno))};
  }
  std::vector<Holder> holders;
  std::error_code error;
  for (fs::directory_iterator at("/proc", error), end; !error && at != end; at.increment(error)) {
    const auto process = parse_integer<pid_t>(at->path().filename().string());
    if (!process || *process == ::getpid()) continue;
    Holder holder;
    holder.process = *process;
    holder.mapped = has_mapped(at->path(), wanted);
    if (!holder.mapped && !has_open(at->path(), wanted)) continue;
    holder.command = command_of(at->path());
    holders.push_back(std::move(holder));
  }
  if (error) {
    return Error{HostErrc::NoResources, fmt::format("/proc cannot be read: {}; mount it", error.message())};
  }
  std::sort(holders.begin(), holders.end(),
            [](const Holder& one, const Holder& other) { return one.process < other.process; });
  return holders;
}

std::string to_string(const std::vector<Holder>& holders) {
  if (holders.empty()) return "nobody that /proc shows";
  std::string text;
  for (const Holder& holder : holders) {
    text += fmt::format("{}{} (process {}{})", text.empty() ? "" : ", ", holder.command, holder.process,
                        holder.mapped ? ", mapped" : "");
  }
  return text;
}

}  // namespace sluice::inline vmm
