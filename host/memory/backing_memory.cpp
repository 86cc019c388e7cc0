// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/backing_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "file_size.hpp"
#include "medium.hpp"
#include "sluice/base/descriptor.hpp"
#include "sluice/memory/available_memory.hpp"

namespace sluice::inline memory {
namespace {

unsigned memfd_flags(PageKind kind) {
  switch (kind) {
    case PageKind::Small:
      return MFD_CLOEXEC | MFD_ALLOW_SEALING;
    case PageKind::Huge2MiB:
      return MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_2MB;
    case PageKind::Huge1GiB:
      return MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_1GB;
  }
  return MFD_CLOEXEC | MFD_ALLOW_SEALING;
}

/// Opened once more: the kernel does not count what memfd_create(2) returns among those who write to the file, and
/// would give it a file lease while others have the memory.
int make_memfd(PageKind pages) {
  const int made = ::memfd_create("sluice-brick", memfd_flags(pages));
  if (made < 0) return made;
  const int fd = ::open(fmt::format("/proc/self/fd/{}", made).c_str(), O_RDWR | O_CLOEXEC);
  const int error = errno;
  ::close(made);
  errno = error;
  return fd;
}

}  // namespace

ByteCount unit_of(const Brick& brick) { return brick.whole ? length_of(brick.memory) : page_length(brick.pages); }

void FileMemory::keep_whole() {
  for (Brick& brick : bricks_) brick.whole = true;
}

ByteCount page_length(PageKind kind) {
  switch (kind) {
    case PageKind::Small:
      return kPageSize;
    case PageKind::Huge2MiB:
      return ByteCount(2ULL << 20);
    case PageKind::Huge1GiB:
      return kGiB;
  }
  return kPageSize;
}

Result<std::unique_ptr<FileMemory>> FileMemory::create(ByteCount brick_length, std::uint32_t brick_count,
                                                       PageKind pages, std::optional<std::uint32_t> node) {
  return open({}, brick_length, brick_count, pages, node);
}

struct FileMemory::Request {
  ByteCount length;
  std::uint32_t count = 0;
  PageKind pages = PageKind::Small;
  std::optional<std::uint32_t> node;
  Medium medium = Medium::Volatile;
};

Result<void> BackingMemory::make_durable(MemorySpan /*memory*/) const { return {}; }

FileMemory::FileMemory(const MediumHooks& hooks) : hooks_(std::make_unique<MediumHooks>(hooks)) {
  if (!hooks_->sync) hooks_->sync = sync_to_medium;
  if (!hooks_->file_system) {
    hooks_->file_system = [](int fd) {
      struct statfs facts {};
      return ::fstatfs(fd, &facts) == 0 ? static_cast<long>(facts.f_type) : 0L;
    };
  }
}

Result<void> FileMemory::make_durable(MemorySpan memory) const {
  for (const Brick& brick : bricks_) {
    if (brick.medium == Medium::Volatile || memory.data() < brick.memory.data() ||
        memory.data() >= brick.memory.data() + brick.memory.size()) {
      continue;
    }
    if (brick.synchronous) {
      flush_lines(memory);
    } else if (hooks_->sync(memory) != 0) {
      return Error{HostErrc::NoResources,
                   fmt::format("{} bytes at offset {} of a brick could not be written to its medium: {}; replace the "
                               "medium, and keep this memory out of use",
                               memory.size(), memory.data() - brick.memory.data(), std::strerror(errno))};
    }
  }
  return {};
}

/// What a call has made in a folder, until all of it is there.
struct FileMemory::Undo {
  std::vector<std::string> created;
  std::vector<std::pair<int, off_t>> grown;  ///< Descriptors, and the length that the file had.

  void now() const {
    for (const auto& [fd, length] : grown) static_cast<void>(!::ftruncate(fd, length));
    for (const std::string& file : created) ::unlink(file.c_str());
  }
};

namespace {

std::string name_of_brick(const std::string& folder, std::uint32_t index) {
  return fmt::format("{}/brick-{}", folder, index);
}

/// What the bricks of a folder already hold: that is not needed once more.
std::uint64_t held_in(const std::string& folder, ByteCount length, std::uint32_t count) {
  std::uint64_t held = 0;
  for (std::uint32_t index = 0; !folder.empty() && index < count; ++index) {
    struct stat file {};
    if (::lstat(name_of_brick(folder, index).c_str(), &file) != 0) continue;
    held += std::min(static_cast<std::uint64_t>(file.st_blocks) * 512, length.value());
  }
  return held;
}

/// Small pages are refused here: the kernel would rather kill somebody than say no.
Result<void> check_available(const std::string& folder, ByteCount length, std::uint32_t count,
                             const std::filesystem::path& root) {
  const AvailableMemory available = available_memory(root);
  const std::uint64_t held = held_in(folder, length, count);
  const bool wraps = length.value() > ~0ULL / count;
  if (!wraps && length.value() * count - std::min(held, length.value() * count) <= available.bytes.value()) return {};
  return Error{
      HostErrc::NoResources,
      fmt::format("{} bricks of {} bytes were asked for, {} bytes of them are there, and {} allows {} more: ask "
                  "for less",
                  count, length.value(), held, available.limit, available.bytes.value())};
}

}  // namespace

Result<std::unique_ptr<FileMemory>> FileMemory::open(const std::string& folder, ByteCount brick_length,
                                                     std::uint32_t brick_count, PageKind pages,
                                                     std::optional<std::uint32_t> node,
                                                     const std::filesystem::path& root) {
  return make(folder, {brick_length, brick_count, pages, node}, root, {});
}

Result<std::unique_ptr<FileMemory>> FileMemory::open(const std::string& folder, ByteCount brick_length,
                                                     std::uint32_t brick_count, const MediumHooks& hooks) {
  return make(folder, {brick_length, brick_count}, "/", hooks);
}

Result<std::unique_ptr<FileMemory>> FileMemory::make(const std::string& folder, const Request& asked,
                                                     const std::filesystem::path& root, const MediumHooks& hooks) {
  Request request = asked;
  const ByteCount page = page_length(request.pages);
  if (request.length == ByteCount(0) || request.length.value() % page.value() != 0 || request.count == 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} bricks of {} bytes: give at least one, each a multiple of the page size of {} bytes",
                             request.count, request.length.value(), page.value())};
  }
  std::unique_ptr<FileMemory> memory(new FileMemory(hooks));
  if (auto locked = memory->lock(folder); !locked) return locked.error();
  if (auto medium = memory->find_medium(folder, request.pages); !medium) {
    return medium.error();
  } else {
    request.medium = *medium;
  }
  if (request.pages == PageKind::Small && request.medium == Medium::Volatile) {
    if (auto checked = check_available(folder, request.length, request.count, root); !checked) return checked.error();
  }
  Undo undo;
  for (std::uint32_t index = 0; index < request.count; ++index) {
    const std::string file = folder.empty() ? std::string() : name_of_brick(folder, index);
    if (auto added = memory->add_brick(file, request, undo); !added) {
      undo.now();
      return added.error();
    }
  }
  return memory;
}

/// The lock is on a descriptor that nobody else gets, and on no brick: those are handed to other processes, and a lock
/// would live there as long as one of them does.
Result<void> FileMemory::lock(const std::string& folder) {
  if (folder.empty()) return {};
  folder_ = above_standard(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_ < 0) {
    const int reason = errno;
    return Error{reason == ENOENT || reason == ENOTDIR ? HostErrc::InvalidArgument : HostErrc::NoResources,
                 fmt::format("folder {} for bricks cannot be opened: {}; give one on tmpfs or hugetlbfs", folder,
                             std::strerror(reason))};
  }
  if (::flock(folder_, LOCK_EX | LOCK_NB) == 0) return {};
  return Error{HostErrc::WrongState,
               fmt::format("the bricks in {} are in use by another owner: end that, or give another folder", folder)};
}

Result<Medium> FileMemory::find_medium(const std::string& folder, PageKind pages) const {
  if (folder.empty()) return Medium::Volatile;
  auto medium = medium_of(hooks_->file_system(folder_), "folder " + folder);
  if (medium && *medium == Medium::Persistent && pages != PageKind::Small) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("folder {} is on a disk, which has no pages of {} bytes: give small pages, or a folder on "
                             "hugetlbfs",
                             folder, page_length(pages).value())};
  }
  return medium;
}

Result<void> FileMemory::add_brick(const std::string& file, const Request& request, Undo& undo) {
  const std::uint64_t length = request.length.value();
  const auto refused = [&](const char* call) {
    return Error{
        HostErrc::NoResources,
        fmt::format("{} of a brick of {} bytes{} failed: {}; ask for less memory, or reserve more (for huge pages: "
                    "vm.nr_hugepages), on a node that the machine has",
                    call, length, file.empty() ? "" : " in " + file, std::strerror(errno))};
  };
  int fd = -1;
  if (file.empty()) {
    fd = make_memfd(request.pages);
  } else {
    constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    fd = ::open(file.c_str(), kFlags | O_CREAT | O_EXCL, 0600);
    if (fd >= 0) undo.created.push_back(file);
    if (fd < 0 && errno == EEXIST) fd = ::open(file.c_str(), kFlags);
  }
  fd = above_standard(fd);
  if (fd < 0) return refused(file.empty() ? "making a memfd" : "open");
  bricks_.push_back(
      {{}, fd, request.pages, request.node.value_or(0), request.medium});  // from here on the destructor closes it
  struct stat found {};
  if (::fstat(fd, &found) != 0) return refused("fstat");
  if (!S_ISREG(found.st_mode) || (found.st_size != 0 && static_cast<std::uint64_t>(found.st_size) != length)) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} has {} bytes, not {}: give its length, or remove it while no VM uses it", file,
                             found.st_size, length)};
  }
  if (!may_grow_to(length) || ::ftruncate(fd, static_cast<off_t>(length)) != 0) return refused("ftruncate");
  if (found.st_size == 0) undo.grown.emplace_back(fd, found.st_size);
  // Nobody who has the descriptor may take away what is mapped here: that would be a signal at the next access.
  if (file.empty() && ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return refused("fcntl");
  const bool persistent = request.medium == Medium::Persistent;
  void* base = persistent ? map_persistent_memory(fd, length) : MAP_FAILED;
  bricks_.back().synchronous = base != MAP_FAILED;
  if (base == MAP_FAILED) base = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return refused("mmap");
  bricks_.back().memory = MemorySpan(static_cast<std::byte*>(base), length);
  if (request.node) {
    // The file's own policy: it holds for whoever brings in its pages.
    std::vector<unsigned long> mask(*request.node / 64 + 1, 0UL);
    mask[*request.node / 64] = 1UL << *request.node % 64;
    if (::syscall(SYS_mbind, base, length, MPOL_BIND, mask.data(), mask.size() * 64 + 1, 0) != 0) {
      return refused("mbind");
    }
  }
  // Huge pages that are not there must be an error here, not a signal later.
  if (!allocate_in_file(fd, 0, length)) return refused("fallocate");
  // A disk may be larger than memory: its pages come when they are used.
  if (!persistent && ::madvise(base, length, MADV_POPULATE_WRITE) != 0) return refused("madvise");
  return {};
}

FileMemory::~FileMemory() {
  for (const Brick& brick : bricks_) {
    if (!brick.memory.empty()) ::munmap(brick.memory.data(), brick.memory.size());
    ::close(brick.fd);
  }
  if (folder_ >= 0) ::close(folder_);
}

}  // namespace sluice::inline memory
