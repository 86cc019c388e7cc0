// SPDX-License-Identifier: Apache-2.0
// Memory of the embedding program, and what would grant a byte of it twice.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "sluice/memory/backing_memory.hpp"

namespace sluice::inline memory {
namespace {

std::string describe(const Brick& brick) {
  return fmt::format("memory at {:#x} of {} bytes", reinterpret_cast<std::uintptr_t>(brick.memory.data()),
                     brick.memory.size());
}

/// Device and inode, for memory that is in a file.
using Inode = std::pair<std::uint64_t, std::uint64_t>;

Result<std::optional<Inode>> inode_of(const Brick& brick) {
  if (brick.fd == -1) return std::optional<Inode>();
  struct stat file {};
  if (::fstat(brick.fd, &file) != 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} in descriptor {}, which is not open: give -1 or its file", describe(brick), brick.fd)};
  }
  if (S_ISREG(file.st_mode) && static_cast<std::uint64_t>(file.st_size) < brick.memory.size()) {
    return Error{HostErrc::InvalidArgument, fmt::format("{} in descriptor {}, whose file has {} bytes: make it longer",
                                                        describe(brick), brick.fd, file.st_size)};
  }
  return std::optional(Inode{file.st_dev, file.st_ino});
}

Result<void> check_alone(const Brick& brick) {
  const std::uint64_t page = page_length(brick.pages).value();
  const auto address = reinterpret_cast<std::uintptr_t>(brick.memory.data());
  if (address == 0 || brick.memory.empty() || address % page != 0 || brick.memory.size() % page != 0) {
    return Error{HostErrc::InvalidArgument, fmt::format("{}: give whole pages of {} bytes", describe(brick), page)};
  }
  if (brick.memory.size() > ~std::uintptr_t{0} - address) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} passes the end of the address space: give its own length", describe(brick))};
  }
  return {};
}

/// What is in two pieces would be granted twice.
Result<void> check_apart(std::vector<Brick> bricks) {
  std::sort(bricks.begin(), bricks.end(),
            [](const Brick& a, const Brick& b) { return std::less<>()(a.memory.data(), b.memory.data()); });
  std::set<Inode> inodes;
  for (std::size_t index = 0; index < bricks.size(); ++index) {
    const Brick& brick = bricks[index];
    if (index > 0 && bricks[index - 1].memory.data() + bricks[index - 1].memory.size() > brick.memory.data()) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("{} overlaps {}: give each byte once", describe(brick), describe(bricks[index - 1]))};
    }
    const auto inode = inode_of(brick);
    if (!inode) return inode.error();
    if (*inode && !inodes.insert(**inode).second) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("{} is in the same file as another piece: give each file once", describe(brick))};
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ForeignMemory>> ForeignMemory::create(std::span<const MemorySpan> pieces) {
  std::vector<Brick> bricks;
  bricks.reserve(pieces.size());
  for (const MemorySpan piece : pieces) bricks.push_back({piece});
  return create(std::move(bricks));
}

Result<std::unique_ptr<ForeignMemory>> ForeignMemory::create(std::vector<Brick> bricks) {
  for (const Brick& brick : bricks) {
    if (auto checked = check_alone(brick); !checked) return checked.error();
  }
  if (auto checked = check_apart(bricks); !checked) return checked.error();
  std::unique_ptr<ForeignMemory> memory(new ForeignMemory);
  memory->bricks_ = std::move(bricks);
  return memory;
}

}  // namespace sluice::inline memory
