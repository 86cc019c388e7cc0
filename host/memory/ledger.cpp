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
  if (!allocate_in_file(fd_, 0, Format::kVmsBegin)) return refused(name, "fallocate");
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

Result<void> Ledger::enter(VmId vm) {
  if (slot_of_vm_.contains(vm)) return {};
  if (free_slots_.empty()) {
    if (next_slot_ == Format::kMostVms) {
      return Error{HostErrc::NoResources, fmt::format("VM {}: ledger {} has room for {} VMs, end one first", vm.value(),
                                                      path_, Format::kMostVms)};
    }
    if (auto grown = grow(vm_room_, next_slot_ + 1ULL, Format::kVmsBegin, Format::kVmBytes); !grown) return grown;
    free_slots_.push_back(next_slot_++);
  }
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slot_of_vm_.emplace(vm, slot);
  const std::uint64_t at = Format::kVmsBegin + slot * Format::kVmBytes;
  store(at + 8, 0);  // what the last VM of this slot left
  store(at, vm.value());
  return {};
}

void Ledger::set_rebooting(VmId vm, bool rebooting) {
  const std::uint64_t at = Format::kVmsBegin + slot_of_vm_.at(vm) * Format::kVmBytes + 8;
  std::uint64_t now = 0;
  std::memcpy(&now, map_ + at, sizeof now);
  const std::uint64_t wanted = rebooting ? 1 : 0;
  if (now != wanted) store(at, wanted);
}

void Ledger::store(std::uint64_t offset, std::uint64_t value) {
  if (options_.before_store) options_.before_store();
  std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(map_ + offset))
      .store(value, std::memory_order_release);
}

LedgerRecord Ledger::load(std::uint32_t index) const {
  LedgerRecord record;
  std::memcpy(&record, map_ + place_of_record(index), sizeof record);
  return record;
}

void Ledger::forget(VmId vm) {
  const auto found = slot_of_vm_.find(vm);
  if (found == slot_of_vm_.end()) return;
  free_slots_.push_back(found->second);
  slot_of_vm_.erase(found);
}

void Ledger::write(std::uint32_t index, const LedgerEntry& entry) {
  enforce(index < record_room_, "the ledger has room for every extent");
  const std::uint64_t at = place_of_record(index);
  const LedgerRecord record =
      LedgerRecord::of(index, entry, entry.kind == LedgerKind::Held ? slot_of_vm_.at(entry.vm) : 0);
  if (load(index).place != record.place) {
    clear(index);
    store(at, record.place);
  }
  if (load(index).facts != record.facts) store(at + 8, record.facts);
}

void Ledger::resize(std::uint32_t index, std::uint64_t pages) {
  const LedgerRecord record = load(index);
  if (record.facts != 0) store(place_of_record(index) + 8, record.resized(index, pages).facts);
}

void Ledger::clear(std::uint32_t index) {
  if (load(index).facts != 0) store(place_of_record(index) + 8, 0);
}

}  // namespace sluice::inline memory
