// SPDX-License-Identifier: Apache-2.0
#include "sluice/vmm/guest_memory.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include "processes.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/base/printable.hpp"

namespace sluice::inline vmm {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 7> kVmms = {"qemu-system", "qemu-kvm", "kvm",        "cloud-hyperviso",
                                                   "firecracker", "crosvm",   "sluice-qemu"};

/// "00:1c 4711", as proc_pid_maps(5) writes device and inode.
using FileNames = std::set<std::string>;

std::string name_of(const struct stat& file) {
  return fmt::format("{:02x}:{:02x} {}", major(file.st_dev), minor(file.st_dev), file.st_ino);
}

Result<FileNames> files_of(const std::string& folder) {
  FileNames names;
  std::error_code error;
  fs::recursive_directory_iterator at(folder, error);
  if (error == std::errc::no_such_file_or_directory) return names;
  for (const fs::recursive_directory_iterator end; !error && at != end; at.increment(error)) {
    struct stat file {};
    if (::stat(at->path().c_str(), &file) == 0 && S_ISREG(file.st_mode)) names.insert(name_of(file));
  }
  if (!error) return names;
  return Error{HostErrc::NoResources,
               fmt::format("folder {}: {}; it is to be read by this user", folder, error.message())};
}

/// The length of "55d0c0000000-55d0c4000000"; 0: it is none.
std::uint64_t length_of_range(const std::string& range) {
  const std::size_t dash = range.find('-');
  std::uint64_t begin = 0, end = 0;
  const char* const text = range.data();
  if (dash == std::string::npos) return 0;
  const auto first = std::from_chars(text, text + dash, begin, 16);
  const auto last = std::from_chars(text + dash + 1, text + range.size(), end, 16);
  return first.ec == std::errc() && last.ec == std::errc() && end > begin ? end - begin : 0;
}

Result<GuestMemory> look_at(pid_t process, const FileNames& bricks, const fs::path& folder) {
  std::ifstream maps(folder / "maps");
  GuestMemory memory{.process = process, .command = command_of(folder)};
  std::uint64_t largest = 0;
  bool any = false;
  for (std::string line; std::getline(maps, line);) {
    any = true;
    std::istringstream fields(line);
    std::string range, permissions, offset, device, inode, path;
    fields >> range >> permissions >> offset >> device >> inode;
    std::getline(fields >> std::ws, path);
    // What can be executed is code that QEMU translates.
    if (!permissions.starts_with("rw-") || path == "[heap]") continue;
    const std::uint64_t length = length_of_range(range);
    if (bricks.contains(device + " " + inode)) {
      memory.leased += ByteCount(length);
    } else if (length >= kShortestGuestMemory.value()) {
      memory.other += ByteCount(length);
      if (length <= largest) continue;
      largest = length;
      memory.largest_other = path.empty() ? "anonymous memory" : printable(path, 200);
    }
  }
  if (any) return memory;
  return Error{HostErrc::UnknownId,
               fmt::format("process {} has ended, or this user may not look at it: be root", process)};
}

}  // namespace

Result<GuestMemory> guest_memory_of(pid_t process, const std::string& folder, const std::string& proc) {
  const auto bricks = files_of(folder);
  if (!bricks) return bricks.error();
  return look_at(process, *bricks, fs::path(proc) / std::to_string(process));
}

Result<std::vector<GuestMemory>> guest_memory_of_vmms(const std::string& folder, const std::string& proc) {
  const auto bricks = files_of(folder);
  if (!bricks) return bricks.error();
  std::vector<GuestMemory> all;
  std::error_code error;
  for (fs::directory_iterator at(proc, error), end; !error && at != end; at.increment(error)) {
    const auto process = parse_integer<pid_t>(at->path().filename().string());
    if (!process) continue;
    const std::string command = command_of(at->path());
    if (std::ranges::none_of(kVmms, [&](std::string_view vmm) { return command.starts_with(vmm); })) continue;
    // One that has ended meanwhile has none.
    if (auto memory = look_at(*process, *bricks, at->path())) all.push_back(std::move(*memory));
  }
  if (error) return Error{HostErrc::NoResources, fmt::format("{} cannot be read: {}; mount it", proc, error.message())};
  std::ranges::sort(all, {}, &GuestMemory::process);
  return all;
}

}  // namespace sluice::inline vmm
