// SPDX-License-Identifier: Apache-2.0
#include "brick_folders.hpp"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "sluice/base/parse.hpp"

namespace sluice::inline daemon {

Result<void> make_folder(const std::string& path, mode_t mode) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return Error{HostErrc::NoResources,
                 fmt::format("folder {} cannot be made: {}; give another one", path, error.message())};
  }
  if (::chmod(path.c_str(), mode) == 0) return {};
  return Error{HostErrc::NoResources, fmt::format("folder {} is not ours to protect (chmod {:o}): {}; give another one",
                                                  path, mode, std::strerror(errno))};
}

Result<std::unique_ptr<BrickFolders>> BrickFolders::open(const DaemonConfig& config) {
  constexpr mode_t kOnlyOwner = 0700;
  constexpr mode_t kEverybody = 0666;
  if (auto made = make_folder(config.memory_folder, kOnlyOwner); !made) return made.error();
  struct statfs facts {};
  if (::statfs(config.memory_folder.c_str(), &facts) != 0 ||
      (facts.f_type != TMPFS_MAGIC && facts.f_type != HUGETLBFS_MAGIC)) {
    return Error{HostErrc::InvalidArgument, fmt::format("folder {} is neither on tmpfs nor on hugetlbfs: give one that "
                                                        "is, for the memory of VMs",
                                                        config.memory_folder)};
  }
  std::unique_ptr<BrickFolders> folders(new BrickFolders());
  for (const BrickClass& bricks : config.bricks) {
    const std::string folder = fmt::format("{}/{}", config.memory_folder, print_bytes(bricks.length));
    if (auto made = make_folder(folder, kOnlyOwner); !made) return made.error();
    auto memory = FileMemory::open(folder, bricks.length, bricks.count, config.pages, config.node);
    if (!memory) return memory.error();
    (*memory)->keep_whole();
    for (const Brick& brick : (*memory)->bricks()) {
      if (::fchmod(brick.fd, kEverybody) != 0) {
        return Error{HostErrc::NoResources, fmt::format("a brick in {} cannot be opened to VMMs (chmod {:o}): {}",
                                                        folder, kEverybody, std::strerror(errno))};
      }
      folders->bricks_.push_back(brick);
    }
    folders->folders_.push_back(std::move(*memory));
  }
  return folders;
}

}  // namespace sluice::inline daemon
