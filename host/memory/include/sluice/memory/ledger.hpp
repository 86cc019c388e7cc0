// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "sluice/base/ids.hpp"
#include "sluice/memory/backing_memory.hpp"
#include "sluice/memory/ledger_file.hpp"

namespace sluice::inline memory {

struct LedgerOptions {
  std::string boot_id;                 ///< Empty: that of the running kernel.
  std::function<void()> before_store;  ///< Called before each store of 8 bytes: a test ends the process there.
};

/// What is known of the pool's memory, in a file that outlives the process: a file on tmpfs, mapped. After a crash of
/// the process, at any instruction, it says Clean only of memory that is, and Held of all memory that a VM was notified
/// it has.
///
/// A record is two words of 8 bytes, and each store is of one word. The second word makes the record valid, so a
/// record changes as a whole; it is cleared first where both words change. What is stored becomes visible in the order
/// of the stores, whoever kills the process: nothing here survives a crash of the kernel, and the boot id says so.
///
/// The file is taken for a new process by writing a new one beside it, with what is believed of the old one, and
/// renaming it: a crash in between leaves the old one as it was. Nobody else may shorten the file while it is in use.
/// Not thread-safe.
class Ledger {
 public:
  /// Opens or creates `path`, which one process uses at a time. An old file is read and never mapped: whatever it is,
  /// and whoever cuts it meanwhile, that is no signal. Errors: InvalidArgument (bricks without a file could not be
  /// recognised; `path` is something else than a file), WrongState (another process has it), NoResources (also: the
  /// disk is full).
  [[nodiscard]] static Result<std::unique_ptr<Ledger>> open(const std::string& path, std::span<const Brick> bricks,
                                                            LedgerOptions options = {});
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  /// What the old file said, by page, neighbours of one kind and VM joined.
  [[nodiscard]] std::span<const LedgerEntry> found() const { return found_; }
  /// The VMs that hold something and were rebooting.
  [[nodiscard]] const std::set<VmId>& found_rebooting() const { return found_rebooting_; }
  /// Why nothing of the old file is believed; empty: it is, or there was none.
  [[nodiscard]] const std::string& rejected() const { return rejected_; }
  [[nodiscard]] const std::string& path() const { return path_; }

  /// Room for records 0 to count - 1. Errors: NoResources; nothing has changed then.
  [[nodiscard]] Result<void> make_room(std::size_t count);
  [[nodiscard]] bool has_room(std::uint32_t index) const { return index < record_room_; }
  /// A VM that may hold memory from now on. Errors: NoResources.
  [[nodiscard]] Result<void> enter(VmId vm);
  /// A VM that was entered reboots from now on, or does not any more.
  void set_rebooting(VmId vm, bool rebooting);
  /// A VM holds nothing any more.
  void forget(VmId vm);
  /// From now on this file is the ledger. Errors: NoResources.
  [[nodiscard]] Result<void> publish();

  /// Record `index` says this from now on. The VM of a Held one has been entered.
  void write(std::uint32_t index, const LedgerEntry& entry);
  /// It says the same of a run that begins at the same page and is shorter or longer.
  void resize(std::uint32_t index, std::uint64_t pages);
  void clear(std::uint32_t index);

 private:
  Ledger() = default;
  [[nodiscard]] Result<void> lock();
  [[nodiscard]] Result<void> read_old(std::uint64_t pages);
  [[nodiscard]] Result<void> create_new();
  [[nodiscard]] Result<void> grow(std::uint64_t& room, std::uint64_t wanted, std::uint64_t begin, std::uint64_t entry);
  [[nodiscard]] LedgerHeader header() const;
  void store(std::uint64_t offset, std::uint64_t value);
  [[nodiscard]] LedgerRecord load(std::uint32_t index) const;

  std::string path_;
  LedgerOptions options_;
  std::vector<std::uint64_t> identity_;  ///< Device, inode, length and unit of each brick.
  std::vector<LedgerEntry> found_;
  std::set<VmId> found_rebooting_;
  std::string rejected_;
  int lock_fd_ = -1;
  int fd_ = -1;
  bool published_ = false;
  std::byte* map_ = nullptr;
  std::uint64_t vm_room_ = 0;      ///< entries
  std::uint64_t record_room_ = 0;  ///< entries
  std::unordered_map<VmId, std::uint32_t> slot_of_vm_;
  std::vector<std::uint32_t> free_slots_;
  std::uint32_t next_slot_ = 0;
};

}  // namespace sluice::inline memory
