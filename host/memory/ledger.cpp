// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/ledger.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "file_size.hpp"
#include "lineage_book.hpp"
#include "sluice/base/descriptor.hpp"
#include "sluice/base/enforce.hpp"

namespace sluice::inline memory {
namespace {

using Format = LedgerFormat;

constexpr std::uint64_t kStep = 65'536;  // bytes that the file grows by

std::uint64_t place_of_record(std::uint32_t index) { return Format::kRecordsBegin + index * Format::kRecordBytes; }
std::uint64_t place_of_holder(std::uint64_t slot) { return Format::kHoldersBegin + slot * Format::kHolderBytes; }

std::string running_boot_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

Error refused(const std::string& path, const char* call) {
  return {HostErrc::NoResources, fmt::format("{} of the ledger {} failed: {}; give a path on a tmpfs with room",  //
                                             call, path, std::strerror(errno))};
}

}  // namespace

Result<std::unique_ptr<Ledger>> Ledger::open(const std::string& path, std::span<const Brick> bricks,
                                             LedgerOptions options) {
  std::unique_ptr<Ledger> ledger(new Ledger);
  ledger->path_ = path;
  ledger->options_ = std::move(options);
  if (ledger->options_.boot_id.empty()) ledger->options_.boot_id = running_boot_id();
  std::uint64_t pages = 0;
  for (const Brick& brick : bricks) {
    struct stat file {};
    if (brick.fd < 0 || ::fstat(brick.fd, &file) != 0) {
      return Error{HostErrc::InvalidArgument,
                   "memory that is in no file cannot be recognised after a crash: use memory of files with a ledger"};
    }
    ledger->identity_.insert(ledger->identity_.end(),
                             {file.st_dev, file.st_ino, brick.memory.size(), unit_of(brick).value()});
    pages += brick.memory.size() / kPageSize.value();
  }
  if (auto locked = ledger->lock(); !locked) return locked.error();
  if (auto read = ledger->read_old(pages); !read) return read.error();
  if (auto created = ledger->create_new(); !created) return created.error();
  return ledger;
}

Result<void> Ledger::lock() {
  const std::string name = path_ + ".lock";
  lock_fd_ = above_standard(::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (lock_fd_ < 0) return refused(name, "open");
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) == 0) return {};
  return Error{HostErrc::WrongState,
               fmt::format("ledger {} is in use by another process: end that, or give another path", path_)};
}

/// Takes over what the old file says, if all of it can be believed. The file is read, not mapped: reading a hole of a
/// mapped one takes memory, and a signal tells of a file that somebody cuts.
Result<void> Ledger::read_old(std::uint64_t pages) {
  const int old = above_standard(::open(path_.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (old < 0 && errno == ENOENT) return {};
  struct stat file {};
  if (old < 0 ? errno == ELOOP : ::fstat(old, &file) != 0 || !S_ISREG(file.st_mode)) {
    if (old >= 0) ::close(old);
    return Error{HostErrc::InvalidArgument,
                 fmt::format("ledger {} is not a regular file: give the path of a file, or of none", path_)};
  }
  if (old < 0) {
    rejected_ = fmt::format("{} cannot be opened: {}", path_, std::strerror(errno));
    return {};
  }
  const LedgerImage image{static_cast<std::uint64_t>(file.st_size), [old](std::uint64_t at, std::span<std::byte> into) {
                            return ::pread(old, into.data(), into.size(), static_cast<off_t>(at)) ==
                                   static_cast<ssize_t>(into.size());
                          }};
  LedgerContent content = read_ledger(image, header(), pages);
  ::close(old);
  found_ = std::move(content.entries);
  found_rebooting_ = std::move(content.rebooting);
  if (!content.rejected.empty()) rejected_ = fmt::format("{}: {}", path_, content.rejected);
  return {};
}

LedgerHeader Ledger::header() const {
  LedgerHeader header;
  options_.boot_id.copy(header.boot_id, sizeof header.boot_id - 1);
  header.bricks = identity_.size() / 4;
  for (const std::uint64_t word : identity_) header.identity = hash_of({header.identity, word});
  header.check = header.sum();
  return header;
}

Result<void> Ledger::create_new() {
  const std::string name = path_ + ".new";
  fd_ = above_standard(::open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (fd_ < 0) return refused(name, "open");
  void* const map = ::mmap(nullptr, Format::kFileLimit, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (map == MAP_FAILED) return refused(name, "mmap");
  map_ = static_cast<std::byte*>(map);
  if (!allocate_in_file(fd_, 0, Format::kHoldersBegin)) return refused(name, "fallocate");
  const LedgerHeader written = header();
  std::memcpy(map_, &written, sizeof written);
  return make_room(1);
}

Result<void> Ledger::publish() {
  if (published_) return {};
  if (::rename((path_ + ".new").c_str(), path_.c_str()) != 0) return refused(path_, "rename");
  published_ = true;
  return {};
}

Ledger::~Ledger() {
  if (map_ != nullptr) ::munmap(map_, Format::kFileLimit);
  if (fd_ >= 0) ::close(fd_);
  if (fd_ >= 0 && !published_) ::unlink((path_ + ".new").c_str());
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

/// A page that the disk has no room for would be a signal when it is written: it is asked for here.
Result<void> Ledger::grow(std::uint64_t& room, std::uint64_t wanted, std::uint64_t begin, std::uint64_t entry) {
  while (room < wanted) {
    const std::uint64_t at = begin + room * entry;
    if (!allocate_in_file(fd_, at, kStep)) return refused(path_, "fallocate");
    room += kStep / entry;
  }
  return {};
}

Result<void> Ledger::make_room(std::size_t count) {
  if (count > Format::kMostRecords) {
    return Error{HostErrc::NoResources, fmt::format("{} extents: ledger {} has room for {}; let VMs hold longer runs",
                                                    count, path_, Format::kMostRecords)};
  }
  return grow(record_room_, count, Format::kRecordsBegin, Format::kRecordBytes);
}

Result<LedgerSlot> Ledger::new_slot() {
  if (free_slots_.empty()) {
    if (next_slot_ == Format::kMostHolders) {
      return Error{HostErrc::NoResources, fmt::format("ledger {} has room for {} VMs and pools: end some first", path_,
                                                      Format::kMostHolders - 1)};
    }
    if (auto grown = grow(holder_room_, next_slot_ + 1ULL, Format::kHoldersBegin, Format::kHolderBytes); !grown) {
      return grown.error();
    }
    free_slots_.push_back(next_slot_++);
  }
  const LedgerSlot slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

/// Whatever was in the slot before, no record names it now.
Result<void> Ledger::enter(VmId vm, DedicatedPoolId pool) {
  if (slots_.contains({vm, pool})) return {};
  LedgerHolder holder{vm.value(), pool.value()};
  if (vm.is_set() && pool.is_set()) {
    if (auto alone = enter(vm); !alone) return alone;
    holder.word = slot_of(vm, {});
  }
  auto slot = new_slot();
  if (!slot) return slot.error();
  const std::uint64_t at = place_of_holder(*slot);
  store(at, holder.vm);
  store(at + 8, holder.pool);
  store(at + 16, holder.word);
  store(at + 24, holder.sum(*slot));
  slots_.emplace(std::pair(vm, pool), *slot);
  return {};
}

Result<void> Ledger::enter_all(DedicatedPoolId from, DedicatedPoolId to) {
  for (const auto& [holder, slot] : slots_) {
    if (holder.second != from) continue;
    if (auto entered = enter(holder.first, to); !entered) return entered;
  }
  return {};
}

void Ledger::set_rebooting(VmId vm, bool rebooting) {
  const std::uint64_t at = place_of_holder(slot_of(vm, {})) + 16;
  const std::uint64_t wanted = rebooting ? 1 : 0;
  if (load(at) != wanted) store(at, wanted);
}

void Ledger::forget(VmId vm) {
  std::erase_if(slots_, [&](const auto& entry) {
    if (entry.first.first != vm) return false;
    free_slots_.push_back(entry.second);
    return true;
  });
}

void Ledger::forget(DedicatedPoolId pool) {
  std::erase_if(slots_, [&](const auto& entry) {
    if (entry.first.second != pool) return false;
    free_slots_.push_back(entry.second);
    return true;
  });
}

void Ledger::store(std::uint64_t offset, std::uint64_t value) {
  if (options_.before_store) options_.before_store();
  std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(map_ + offset))
      .store(value, std::memory_order_release);
}

std::uint64_t Ledger::load(std::uint64_t offset) const {
  std::uint64_t value = 0;
  std::memcpy(&value, map_ + offset, sizeof value);
  return value;
}

LedgerRecord Ledger::load_record(std::uint32_t index) const {
  const std::uint64_t at = place_of_record(index);
  return {load(at), load(at + 8)};
}

/// Whether who is in the slot has memory of a dedicated pool.
bool Ledger::in_pool(std::uint64_t slot) const { return slot != 0 && load(place_of_holder(slot) + 8) != 0; }

void Ledger::write(std::uint32_t index, const LedgerEntry& entry, LedgerSlot slot) {
  enforce(index < record_room_, "the ledger has room for every extent");
  const std::uint64_t at = place_of_record(index);
  const LedgerRecord before = load_record(index);
  const LedgerRecord record = LedgerRecord::of(index, entry, slot);
  if (before.place == record.place) {
    if (before.facts != record.facts) store(at + 8, record.facts);
    return;
  }
  const bool moves = before.facts != 0 && (entry.pool.is_set() || in_pool(before.slot()));
  if (moves) {
    const LedgerRecord moving = LedgerRecord::of(Format::kMoving, entry, slot);
    store(Format::kMovingBegin, moving.place);
    store(Format::kMovingBegin + 8, moving.facts);
  }
  if (before.facts != 0) store(at + 8, 0);
  store(at, record.place);
  store(at + 8, record.facts);
  if (moves) store(Format::kMovingBegin + 8, 0);
}

void Ledger::resize(std::uint32_t index, std::uint64_t pages) {
  const LedgerRecord record = load_record(index);
  if (record.facts != 0) store(place_of_record(index) + 8, record.resized(index, pages).facts);
}

void Ledger::clear(std::uint32_t index) {
  const std::uint64_t facts = place_of_record(index) + 8;
  if (load(facts) != 0) store(facts, 0);
}

}  // namespace sluice::inline memory
