// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::inline memory {

enum class PageKind : std::uint8_t { Small, Huge2MiB, Huge1GiB };

/// 4 KiB, 2 MiB, 1 GiB.
[[nodiscard]] ByteCount page_length(PageKind kind);

/// What becomes of memory when the power goes.
enum class Medium : std::uint8_t {
  Volatile,    ///< It is gone.
  Persistent,  ///< A disk, or persistent memory: what had reached it is there again.
};

/// A contiguous piece of the pool. Memory of one brick can be handed to another process by its descriptor.
struct Brick {
  MemorySpan memory;
  int fd = -1;                       ///< The inode whose offset 0 is memory[0]; -1: the memory has none.
  PageKind pages = PageKind::Small;  ///< Of its mapping: it is never cut inside one.
  std::uint32_t node = 0;            ///< NUMA node
  Medium medium = Medium::Volatile;
  bool synchronous = false;  ///< Persistent memory, mapped with MAP_SYNC: durable when the CPU's caches are flushed.
  /// It has one holder at a time: whoever has its descriptor reaches all of it, so no part of it changes hands.
  bool whole = false;
};

/// The shortest piece of a brick that can change hands: a page, or all of it.
[[nodiscard]] ByteCount unit_of(const Brick& brick);

/// Where the pool's memory comes from. Bricks stay mapped, in the same place, as long as this lives.
class BackingMemory {
 public:
  BackingMemory() = default;
  BackingMemory(const BackingMemory&) = delete;
  BackingMemory& operator=(const BackingMemory&) = delete;
  virtual ~BackingMemory() = default;

  [[nodiscard]] virtual std::span<const Brick> bricks() const = 0;

  /// Returns when what was written to `memory`, whole pages of one brick, outlives a power cut: until then what was
  /// there before could come back, so it is not clean. Blocks as long as the medium takes. Nothing to do, and never an
  /// error, where the brick is Volatile. Errors: NoResources; what is on the medium is then unknown, and trying again
  /// proves nothing, since the kernel may have dropped what it could not write.
  [[nodiscard]] virtual Result<void> make_durable(MemorySpan memory) const;
};

struct MediumHooks;  // of tests

/// Bricks of one file each, mapped, and populated where they are Volatile. Errors of all that make them, which leave
/// nothing behind: InvalidArgument (a length that is not a multiple of `pages`), NoResources (also: more than
/// available_memory(), or than RLIMIT_FSIZE allows). Huge pages must have been reserved (vm.nr_hugepages).
class FileMemory final : public BackingMemory {
 public:
  /// Memfds: the memory goes with the last process that has a descriptor of it. On one NUMA node if one is given.
  [[nodiscard]] static Result<std::unique_ptr<FileMemory>> create(ByteCount brick_length, std::uint32_t brick_count,
                                                                  PageKind pages = PageKind::Small,
                                                                  std::optional<std::uint32_t> node = std::nullopt);
  /// Files `brick-0`, `brick-1` and so on in a folder: they outlive the process. On tmpfs, or on hugetlbfs with such
  /// pages, they are Volatile. On ext4 and xfs they are Persistent, in small pages, with all their blocks allocated,
  /// and mapped with MAP_SYNC where the file system is on persistent memory (DAX). All others are refused
  /// (InvalidArgument). Those that are there are opened as they are; all must have this length. The folder is locked
  /// (flock) as long as this lives: its memory has one owner, whatever ledger that keeps. More errors: WrongState
  /// (somebody has it), InvalidArgument (no folder; a brick that is no file). Only what the folder does not hold yet
  /// must be available: `root` is that of available_memory().
  [[nodiscard]] static Result<std::unique_ptr<FileMemory>> open(const std::string& folder, ByteCount brick_length,
                                                                std::uint32_t brick_count,
                                                                PageKind pages = PageKind::Small,
                                                                std::optional<std::uint32_t> node = std::nullopt,
                                                                const std::filesystem::path& root = "/");
  /// The same with answers of a test's own.
  [[nodiscard]] static Result<std::unique_ptr<FileMemory>> open(const std::string& folder, ByteCount brick_length,
                                                                std::uint32_t brick_count, const MediumHooks& hooks);
  ~FileMemory() override;

  [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }
  [[nodiscard]] Result<void> make_durable(MemorySpan memory) const override;

  /// Each brick has one holder at a time: Brick::whole. Before a ledger or a manager is made.
  void keep_whole();

 private:
  struct Undo;
  struct Request;
  explicit FileMemory(const MediumHooks& hooks);
  [[nodiscard]] static Result<std::unique_ptr<FileMemory>> make(const std::string& folder, const Request& request,
                                                                const std::filesystem::path& root,
                                                                const MediumHooks& hooks);
  [[nodiscard]] Result<Medium> find_medium(const std::string& folder, PageKind pages) const;
  [[nodiscard]] Result<void> lock(const std::string& folder);
  [[nodiscard]] Result<void> add_brick(const std::string& file, const Request& request, Undo& undo);
  std::vector<Brick> bricks_;
  int folder_ = -1;  ///< Locked.
  std::unique_ptr<MediumHooks> hooks_;
};

/// Memory that the embedding program owns and keeps alive, in whole pages. No byte is in two pieces, by address or by
/// file. Errors of all that make it: InvalidArgument.
class ForeignMemory final : public BackingMemory {
 public:
  /// In small pages, of node 0, in no file.
  [[nodiscard]] static Result<std::unique_ptr<ForeignMemory>> create(std::span<const MemorySpan> pieces);
  [[nodiscard]] static Result<std::unique_ptr<ForeignMemory>> create(std::vector<Brick> bricks);

  [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }

 private:
  ForeignMemory() = default;
  std::vector<Brick> bricks_;
};

}  // namespace sluice::inline memory
