// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/backing_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

namespace sluice::inline memory {
namespace {

/// What the kernel could give without swapping; nullopt: it does not say.
std::optional<ByteCount> available_memory() {
  std::ifstream meminfo("/proc/meminfo");
  std::string name;
  std::uint64_t kibibytes = 0;
  std::string rest;
  while (meminfo >> name >> kibibytes && std::getline(meminfo, rest)) {
    if (name == "MemAvailable:") return ByteCount(kibibytes << 10);
  }
  return std::nullopt;
}

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

}  // namespace

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

Result<std::unique_ptr<FileMemory>> FileMemory::open(const std::string& folder, ByteCount brick_length,
                                                     std::uint32_t brick_count, PageKind pages,
                                                     std::optional<std::uint32_t> node) {
  const ByteCount page = page_length(pages);
  if (brick_length == ByteCount(0) || brick_length.value() % page.value() != 0 || brick_count == 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} bricks of {} bytes: give at least one, each a multiple of the page size of {} bytes",
                             brick_count, brick_length.value(), page.value())};
  }
  // Small pages are refused here: the kernel would rather kill somebody than say no.
  const auto available = available_memory();
  if (pages == PageKind::Small && available && brick_length.value() > available->value() / brick_count) {
    return Error{HostErrc::NoResources,
                 fmt::format("{} bricks of {} bytes were asked for and the machine has {} bytes left: ask for less",
                             brick_count, brick_length.value(), available->value())};
  }
  std::unique_ptr<FileMemory> memory(new FileMemory);
  for (std::uint32_t index = 0; index < brick_count; ++index) {
    const std::string file = folder.empty() ? std::string() : fmt::format("{}/brick-{}", folder, index);
    if (auto added = memory->add_brick(file, brick_length, pages, node); !added) return added.error();
  }
  return memory;
}

Result<void> FileMemory::add_brick(const std::string& file, ByteCount length, PageKind pages,
                                   std::optional<std::uint32_t> node) {
  const auto refused = [&](const char* call) {
    return Error{
        HostErrc::NoResources,
        fmt::format("{} of a brick of {} bytes{} failed: {}; ask for less memory, or reserve more (for huge pages: "
                    "vm.nr_hugepages), on a node that the machine has",
                    call, length.value(), file.empty() ? "" : " in " + file, std::strerror(errno))};
  };
  const int fd = file.empty() ? ::memfd_create("sluice-brick", memfd_flags(pages))
                              : ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return refused(file.empty() ? "memfd_create" : "open");
  bricks_.push_back({{}, fd, pages, node.value_or(0)});  // from here on the destructor closes it
  struct stat found {};
  if (::fstat(fd, &found) != 0) return refused("fstat");
  if (found.st_size != 0 && static_cast<std::uint64_t>(found.st_size) != length.value()) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} has {} bytes, not {}: give its length, or remove it while no VM uses it", file,
                             found.st_size, length.value())};
  }
  if (::ftruncate(fd, static_cast<off_t>(length.value())) != 0) return refused("ftruncate");
  // Nobody who has the descriptor may take away what is mapped here: that would be a signal at the next access.
  if (file.empty() && ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return refused("fcntl");
  void* const base = ::mmap(nullptr, length.value(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return refused("mmap");
  bricks_.back().memory = MemorySpan(static_cast<std::byte*>(base), length.value());
  if (node) {
    // The file's own policy: it holds for whoever brings in its pages.
    std::vector<unsigned long> mask(*node / 64 + 1, 0UL);
    mask[*node / 64] = 1UL << *node % 64;
    if (::syscall(SYS_mbind, base, length.value(), MPOL_BIND, mask.data(), mask.size() * 64 + 1, 0) != 0) {
      return refused("mbind");
    }
  }
  // Huge pages that are not there must be an error here, not a signal later.
  if (::fallocate(fd, 0, 0, static_cast<off_t>(length.value())) != 0) return refused("fallocate");
  if (::madvise(base, length.value(), MADV_POPULATE_WRITE) != 0) return refused("madvise");
  return {};
}

FileMemory::~FileMemory() {
  for (const Brick& brick : bricks_) {
    if (!brick.memory.empty()) ::munmap(brick.memory.data(), brick.memory.size());
    ::close(brick.fd);
  }
}

Result<std::unique_ptr<ForeignMemory>> ForeignMemory::create(std::span<const MemorySpan> pieces) {
  std::unique_ptr<ForeignMemory> memory(new ForeignMemory);
  for (const MemorySpan piece : pieces) {
    const auto address = reinterpret_cast<std::uintptr_t>(piece.data());
    if (piece.empty() || address % kPageSize.value() != 0 || piece.size() % kPageSize.value() != 0) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("memory at {:#x} of {} bytes: give page-aligned memory, a multiple of {} bytes", address,
                               piece.size(), kPageSize.value())};
    }
    memory->bricks_.push_back({piece, -1});
  }
  return memory;
}

}  // namespace sluice::inline memory
