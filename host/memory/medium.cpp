// SPDX-License-Identifier: Apache-2.0
// What a file system does with what is overwritten, and how to be sure that it has.
#include "medium.hpp"

#include <emmintrin.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <sys/mman.h>

namespace sluice::inline memory {
namespace {

constexpr long kXfs = 0x58465342;
constexpr long kZfs = 0x2FC12FC1;
constexpr long kBcachefs = 0xCA451A4E;
constexpr std::size_t kLine = 64;

struct Unproved {
  long type;
  const char* name;
  const char* why;
};

constexpr Unproved kUnproved[] = {
    {BTRFS_SUPER_MAGIC, "btrfs", "it writes to another place and keeps the old one"},
    {kZfs, "zfs", "it writes to another place and keeps the old one"},
    {kBcachefs, "bcachefs", "it writes to another place and keeps the old one"},
    {F2FS_SUPER_MAGIC, "f2fs", "it writes to another place and keeps the old one"},
    {OVERLAYFS_SUPER_MAGIC, "overlayfs", "a layer below may keep what was there"},
    {NFS_SUPER_MAGIC, "nfs", "what a server does with it cannot be seen from here"},
    {FUSE_SUPER_MAGIC, "fuse", "what its program does with it cannot be seen from here"},
};

}  // namespace

Result<Medium> medium_of(long file_system, const std::string& name) {
  switch (file_system) {
    case TMPFS_MAGIC:
    case HUGETLBFS_MAGIC:
    case RAMFS_MAGIC:
      return Medium::Volatile;
    case EXT4_SUPER_MAGIC:
    case kXfs:
      return Medium::Persistent;
    default:
      break;
  }
  std::string what = fmt::format("a file system of the unknown type {:#x}", file_system);
  std::string why = "what it does with what is overwritten is not known";
  for (const Unproved& unproved : kUnproved) {
    if (unproved.type != file_system) continue;
    what = unproved.name;
    why = unproved.why;
  }
  return Error{HostErrc::InvalidArgument,
               fmt::format("{} is on {}, where a scrub proves nothing: {}; give a folder on tmpfs or hugetlbfs, or, to "
                           "keep memory on a disk or on persistent memory, on ext4 or xfs",
                           name, what, why)};
}

void* map_persistent_memory(int fd, std::size_t length) {
  return ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
}

void flush_lines(MemorySpan memory) {
  for (std::size_t at = 0; at < memory.size(); at += kLine) _mm_clflush(&memory[at]);
  if (!memory.empty()) _mm_clflush(&memory.back());
  _mm_mfence();
}

int sync_to_medium(MemorySpan memory) {
  // As if each page was written here: msync() passes over pages that no CPU has written.
  if (::madvise(memory.data(), memory.size(), MADV_POPULATE_WRITE) != 0) return -1;
  return ::msync(memory.data(), memory.size(), MS_SYNC);
}

}  // namespace sluice::inline memory
