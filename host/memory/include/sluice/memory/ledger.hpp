// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
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
/// it has. Memory of a dedicated pool it says is there, whoever holds it and until it moves.
///
/// A record is two words of 8 bytes, and each store is of one word. The second word makes the record valid, so a
/// record changes as a whole; it is cleared first where both words change. So that nothing is forgotten meanwhile of
/// memory in dedicated pools, a record of its own, that of what moves, says first what the other one will say. What is
/// stored becomes visible in the order of the stores, whoever kills the process: nothing here survives a crash of the
/// kernel, and the boot id says so.
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

  /// What the old file said, by page, neighbours of one kind, VM and pool joined.
  [[nodiscard]] std::span<const LedgerEntry> found() const { return found_; }
  /// The VMs that hold something and were rebooting. One word says it for all that a VM holds, in whatever pools: a
  /// crash finds it as it was before, or after.
  [[nodiscard]] const std::set<VmId>& found_rebooting() const { return found_rebooting_; }
  /// Why nothing of the old file is believed; empty: it is, or there was none.
  [[nodiscard]] const std::string& rejected() const { return rejected_; }
  [[nodiscard]] const std::string& path() const { return path_; }

  /// Room for records 0 to count - 1. Errors: NoResources; nothing has changed then.
  [[nodiscard]] Result<void> make_room(std::size_t count);
  [[nodiscard]] bool has_room(std::uint32_t index) const { return index < record_room_; }
  /// From now on a VM (unset: nobody) may hold memory of a dedicated pool (unset: of the shared pool).
  /// Errors: NoResources.
  [[nodiscard]] Result<void> enter(VmId vm, DedicatedPoolId pool = {});
  /// All that may be held in one pool, and by whom, may be so in another one. Errors: NoResources.
  [[nodiscard]] Result<void> enter_all(DedicatedPoolId from, DedicatedPoolId to);
  /// A VM that was entered reboots from now on, or does not any more.
  void set_rebooting(VmId vm, bool rebooting);
  /// A VM holds nothing any more.
  void forget(VmId vm);
  /// No memory belongs to the pool any more.
  void forget(DedicatedPoolId pool);
  /// From now on this file is the ledger. Errors: NoResources.
  [[nodiscard]] Result<void> publish();

  /// Record `index` says this from now on. Its VM and pool have been entered.
  void write(std::uint32_t index, const LedgerEntry& entry) { write(index, entry, slot_of(entry.vm, entry.pool)); }
  /// The same for who knows the slot of both: that is the same until one of them is forgotten.
  void write(std::uint32_t index, const LedgerEntry& entry, LedgerSlot slot);
  [[nodiscard]] LedgerSlot slot_of(VmId vm, DedicatedPoolId pool) const { return slots_.at({vm, pool}); }
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
  [[nodiscard]] Result<LedgerSlot> new_slot();
  void store(std::uint64_t offset, std::uint64_t value);
  [[nodiscard]] std::uint64_t load(std::uint64_t offset) const;
  [[nodiscard]] LedgerRecord load_record(std::uint32_t index) const;
  [[nodiscard]] bool in_pool(std::uint64_t slot) const;

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
  std::uint64_t holder_room_ = 0;  ///< entries
  std::uint64_t record_room_ = 0;  ///< entries
  std::map<std::pair<VmId, DedicatedPoolId>, LedgerSlot> slots_{{{}, 0}};
  std::vector<LedgerSlot> free_slots_;
  LedgerSlot next_slot_ = 1;
};

}  // namespace sluice::inline memory
