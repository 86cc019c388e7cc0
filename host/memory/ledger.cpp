// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/ledger.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "lineage_book.hpp"
#include "sluice/base/enforce.hpp"

namespace sluice::inline memory {
namespace {

constexpr std::uint64_t kMagic = 0x524547444c434c53;  // "SLCLDGER"
constexpr std::uint64_t kVersion = 1;
// The file: a header, then the ids of VMs, then the records. It is sparse.
constexpr std::uint64_t kVmsBegin = 4096;
constexpr std::uint64_t kMostVms = 1ULL << 24;
constexpr std::uint64_t kRecordsBegin = kVmsBegin + kMostVms * 8;
constexpr std::uint64_t kMostRecords = 1ULL << 28;
constexpr std::uint64_t kRecordBytes = 16;
constexpr std::uint64_t kFileLimit = kRecordsBegin + kMostRecords * kRecordBytes;
constexpr std::uint64_t kStep = 65'536;  // bytes that the file grows by

// A record: the first page in bits 0 to 35 and the VM's slot in 36 to 59 of one word; pages in bits 0 to 35, the kind
// in 36 and 37, and a check of all above them in the other.
constexpr int kPageBits = 36;
constexpr std::uint64_t kPageMask = (1ULL << kPageBits) - 1;

std::uint64_t place_word(std::uint64_t page, std::uint32_t slot) { return page | std::uint64_t{slot} << kPageBits; }

std::uint64_t facts_word(std::uint32_t index, std::uint64_t place, std::uint64_t pages, LedgerKind kind) {
  const std::uint64_t facts = pages | static_cast<std::uint64_t>(kind) << kPageBits;
  return facts | hash_of({index, place, facts}) << (kPageBits + 2);
}

std::uint64_t place_of_record(std::uint32_t index) { return kRecordsBegin + index * kRecordBytes; }

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

struct Ledger::Header {
  std::uint64_t magic = kMagic;
  std::uint64_t version = kVersion;
  char boot_id[64] = {};
  std::uint64_t bricks = 0;
  std::uint64_t identity = 0;  // a hash
  std::uint64_t check = 0;     // of all above

  [[nodiscard]] std::uint64_t sum() const {
    std::uint64_t words[sizeof(Header) / 8];
    std::memcpy(words, this, sizeof(Header));
    std::uint64_t sum = 0;
    for (std::size_t word = 0; word + 1 < std::size(words); ++word) sum = hash_of({sum, words[word]});
    return sum;
  }
};

Result<std::unique_ptr<Ledger>> Ledger::open(const std::string& path, std::span<const Brick> bricks,
                                             LedgerOptions options) {
  std::unique_ptr<Ledger> ledger(new Ledger);
  ledger->path_ = path;
  ledger->options_ = std::move(options);
  if (ledger->options_.boot_id.empty()) ledger->options_.boot_id = running_boot_id();
  for (const Brick& brick : bricks) {
    struct stat file {};
    if (brick.fd < 0 || ::fstat(brick.fd, &file) != 0) {
      return Error{HostErrc::InvalidArgument,
                   "memory that is in no file cannot be recognised after a crash: use memory of files with a ledger"};
    }
    ledger->identity_.insert(ledger->identity_.end(), {file.st_dev, file.st_ino, brick.memory.size()});
  }
  if (auto locked = ledger->lock(); !locked) return locked.error();
  ledger->read_old(bricks);
  if (auto created = ledger->create_new(); !created) return created.error();
  return ledger;
}

Result<void> Ledger::lock() {
  const std::string name = path_ + ".lock";
  lock_fd_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0) return refused(name, "open");
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) == 0) return {};
  return Error{HostErrc::WrongState,
               fmt::format("ledger {} is in use by another process: end that, or give another path", path_)};
}

/// Takes over what the old file says, if all of it can be believed.
void Ledger::read_old(std::span<const Brick> bricks) {
  const int old = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (old < 0) {
    if (errno != ENOENT) rejected_ = fmt::format("{} cannot be opened: {}", path_, std::strerror(errno));
    return;
  }
  struct stat file {};
  ::fstat(old, &file);
  const auto length = static_cast<std::size_t>(file.st_size);
  void* const map = length == 0 ? MAP_FAILED : ::mmap(nullptr, length, PROT_READ, MAP_SHARED, old, 0);
  ::close(old);
  if (map == MAP_FAILED) {
    rejected_ = fmt::format("{} of {} bytes cannot be read", path_, length);
    return;
  }
  const std::string why = believe({static_cast<const std::byte*>(map), length}, bricks);
  ::munmap(map, length);
  if (why.empty()) return;
  rejected_ = fmt::format("{}: {}", path_, why);
  found_.clear();
}

/// Reads a whole file. Says why it is not to be believed; empty: it is.
std::string Ledger::believe(std::span<const std::byte> old, std::span<const Brick> bricks) {
  if (old.size() < kRecordsBegin || (old.size() - kRecordsBegin) % kRecordBytes != 0) {
    return fmt::format("it has {} bytes, which is not the size of a ledger", old.size());
  }
  Header header;
  std::memcpy(&header, old.data(), sizeof header);
  const Header expected = header_for();
  if (header.magic != kMagic) return "it is no ledger";
  if (header.version != kVersion) return fmt::format("it has version {}, not {}", header.version, kVersion);
  if (header.check != header.sum()) return "the checksum of its header is wrong";
  if (std::memcmp(header.boot_id, expected.boot_id, sizeof header.boot_id) != 0) {
    return fmt::format("it is of boot {}, and this is boot {}", header.boot_id, expected.boot_id);
  }
  if (header.bricks != expected.bricks || header.identity != expected.identity) {
    return fmt::format("it is of {} bricks with other files, inodes or lengths than the {} here", header.bricks,
                       bricks.size());
  }
  const auto word = [&](std::uint64_t offset) {
    std::uint64_t value = 0;
    std::memcpy(&value, old.data() + offset, sizeof value);
    return value;
  };
  for (std::uint64_t index = 0; index < (old.size() - kRecordsBegin) / kRecordBytes; ++index) {
    const std::uint64_t place = word(place_of_record(static_cast<std::uint32_t>(index)));
    const std::uint64_t facts = word(place_of_record(static_cast<std::uint32_t>(index)) + 8);
    if (facts == 0) continue;
    const auto kind = static_cast<LedgerKind>(facts >> kPageBits & 3);
    if (facts != facts_word(static_cast<std::uint32_t>(index), place, facts & kPageMask, kind)) {
      return fmt::format("the checksum of record {} is wrong", index);
    }
    const VmId vm = kind == LedgerKind::Held ? VmId(word(kVmsBegin + (place >> kPageBits) * 8)) : VmId();
    found_.push_back({place & kPageMask, facts & kPageMask, kind, vm});
  }
  std::sort(found_.begin(), found_.end(), [](const LedgerEntry& a, const LedgerEntry& b) { return a.page < b.page; });
  // A crash while an extent is cut or joined leaves two records that say the same of some pages.
  std::vector<LedgerEntry> joined;
  for (const LedgerEntry& entry : found_) {
    if (joined.empty() || joined.back().page + joined.back().pages < entry.page) {
      joined.push_back(entry);
      continue;
    }
    LedgerEntry& last = joined.back();
    const std::uint64_t end = last.page + last.pages;
    if (last.kind == entry.kind && last.vm == entry.vm) {
      last.pages = std::max(end, entry.page + entry.pages) - last.page;
    } else if (end == entry.page) {
      joined.push_back(entry);
    } else {
      return fmt::format("it says two things of page {}", entry.page);
    }
  }
  std::uint64_t pages = 0;
  for (const Brick& brick : bricks) pages += brick.memory.size() / kPageSize.value();
  if (!joined.empty() && joined.back().page + joined.back().pages > pages)
    return "it tells of memory that is not there";
  found_ = std::move(joined);
  return {};
}

Ledger::Header Ledger::header_for() const {
  Header header;
  options_.boot_id.copy(header.boot_id, sizeof header.boot_id - 1);
  header.bricks = identity_.size() / 3;
  for (const std::uint64_t word : identity_) header.identity = hash_of({header.identity, word});
  header.check = header.sum();
  return header;
}

Result<void> Ledger::create_new() {
  const std::string name = path_ + ".new";
  fd_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd_ < 0) return refused(name, "open");
  void* const map = ::mmap(nullptr, kFileLimit, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (map == MAP_FAILED) return refused(name, "mmap");
  map_ = static_cast<std::byte*>(map);
  if (::fallocate(fd_, 0, 0, static_cast<off_t>(kVmsBegin)) != 0) return refused(name, "fallocate");
  const Header header = header_for();
  std::memcpy(map_, &header, sizeof header);
  return make_room(1);
}

Result<void> Ledger::publish() {
  if (published_) return {};
  if (::rename((path_ + ".new").c_str(), path_.c_str()) != 0) return refused(path_, "rename");
  published_ = true;
  return {};
}

Ledger::~Ledger() {
  if (map_ != nullptr) ::munmap(map_, kFileLimit);
  if (fd_ >= 0) ::close(fd_);
  if (fd_ >= 0 && !published_) ::unlink((path_ + ".new").c_str());
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

/// A page that the disk has no room for would be a signal when it is written: it is asked for here.
Result<void> Ledger::grow(std::uint64_t& room, std::uint64_t wanted, std::uint64_t begin, std::uint64_t entry) {
  while (room < wanted) {
    const std::uint64_t at = begin + room * entry;
    if (::fallocate(fd_, 0, static_cast<off_t>(at), static_cast<off_t>(kStep)) != 0) return refused(path_, "fallocate");
    room += kStep / entry;
  }
  return {};
}

Result<void> Ledger::make_room(std::size_t count) {
  enforce(count <= kMostRecords, "a ledger has at most 2^28 records");
  return grow(record_room_, count, kRecordsBegin, kRecordBytes);
}

Result<void> Ledger::enter(VmId vm) {
  if (slot_of_vm_.contains(vm)) return {};
  if (free_slots_.empty()) {
    if (next_slot_ == kMostVms) {
      return Error{HostErrc::NoResources,
                   fmt::format("VM {}: ledger {} has room for {} VMs, end one first", vm.value(), path_, kMostVms)};
    }
    if (auto grown = grow(vm_room_, next_slot_ + 1ULL, kVmsBegin, 8); !grown) return grown;
    free_slots_.push_back(next_slot_++);
  }
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slot_of_vm_.emplace(vm, slot);
  store(kVmsBegin + slot * 8ULL, vm.value());
  return {};
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

void Ledger::forget(VmId vm) {
  const auto found = slot_of_vm_.find(vm);
  if (found == slot_of_vm_.end()) return;
  free_slots_.push_back(found->second);
  slot_of_vm_.erase(found);
}

void Ledger::write(std::uint32_t index, const LedgerEntry& entry) {
  enforce(index < record_room_, "the ledger has room for every extent");
  const std::uint64_t at = place_of_record(index);
  const std::uint64_t place = place_word(entry.page, entry.kind == LedgerKind::Held ? slot_of_vm_.at(entry.vm) : 0);
  const std::uint64_t facts = facts_word(index, place, entry.pages, entry.kind);
  if (load(at) != place) {
    clear(index);
    store(at, place);
  }
  if (load(at + 8) != facts) store(at + 8, facts);
}

void Ledger::resize(std::uint32_t index, std::uint64_t pages) {
  const std::uint64_t at = place_of_record(index);
  const std::uint64_t facts = load(at + 8);
  if (facts == 0) return;
  store(at + 8, facts_word(index, load(at), pages, static_cast<LedgerKind>(facts >> kPageBits & 3)));
}

void Ledger::clear(std::uint32_t index) {
  const std::uint64_t at = place_of_record(index) + 8;
  if (load(at) != 0) store(at, 0);
}

}  // namespace sluice::inline memory
