// SPDX-License-Identifier: Apache-2.0
// What the tests of ledgers share: a ledger in a folder of its own, over two bricks of 32 pages.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "sluice/memory/ledger.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {

inline constexpr std::uint64_t kRecords = 4096 + (32ULL << 22);  // where they begin in the file

class Ledgers : public ::testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<Ledger> open(const LedgerOptions& options = {}) { return open_with(*memory_, options); }
  [[nodiscard]] std::unique_ptr<Ledger> open_with(const BackingMemory& memory, const LedgerOptions& options = {}) {
    auto ledger = Ledger::open(path_, memory.bricks(), options);
    EXPECT_TRUE(ledger) << (ledger ? "" : ledger.error().message);
    return ledger ? std::move(*ledger) : nullptr;
  }
  static constexpr DedicatedPoolId kLedgerPool{5};
  // Of what write_one() enters.
  static constexpr LedgerSlot kVmSlot = 1;
  static constexpr LedgerSlot kPoolSlot = 2;
  static constexpr LedgerSlot kMemberSlot = 3;
  /// A ledger that says five things.
  void write_one() {
    const auto ledger = open();
    ASSERT_TRUE(ledger->enter(VmId(77)));
    ASSERT_TRUE(ledger->enter({}, kLedgerPool));
    ASSERT_TRUE(ledger->enter(VmId(77), kLedgerPool));
    ledger->write(0, {0, 10, LedgerKind::Clean, {}});
    ledger->write(1, {10, 5, LedgerKind::Held, VmId(77)});
    ledger->write(2, {15, 1, LedgerKind::Quarantined, {}});
    ledger->write(3, {16, 4, LedgerKind::Dirty, {}, kLedgerPool});
    ledger->write(4, {20, 2, LedgerKind::Held, VmId(77), kLedgerPool});
    ASSERT_TRUE(ledger->publish());
  }
  /// With the right checksum, as somebody would write who knows how.
  void write_holder(std::uint64_t slot, LedgerHolder holder) {
    holder.check = holder.sum(static_cast<LedgerSlot>(slot));
    const std::uint64_t at = LedgerFormat::kHoldersBegin + slot * LedgerFormat::kHolderBytes;
    overwrite(at, holder.vm);
    overwrite(at + 8, holder.pool);
    overwrite(at + 16, holder.word);
    overwrite(at + 24, holder.check);
  }
  /// As a crash would leave the file now, without what nobody ever wrote.
  void copy_to(const std::string& name) const {
    std::filesystem::remove(name);
    const int from = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    const int to = ::open(name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_TRUE(from >= 0 && to >= 0);
    const off_t end = ::lseek(from, 0, SEEK_END);
    ASSERT_EQ(::ftruncate(to, end), 0);
    for (off_t at = ::lseek(from, 0, SEEK_DATA); at >= 0 && at < end; at = ::lseek(from, at, SEEK_DATA)) {
      off_t into = at;
      const auto length = static_cast<std::size_t>(::lseek(from, at, SEEK_HOLE) - at);
      ASSERT_EQ(::copy_file_range(from, &at, to, &into, length, 0), static_cast<ssize_t>(length));
    }
    ::close(from);
    ::close(to);
  }
  /// What another process would find now.
  [[nodiscard]] std::unique_ptr<Ledger> copy() {
    copy_to(path_ + ".copy");
    return Ledger::open(path_ + ".copy", memory_->bricks()).value();
  }
  void overwrite(std::uint64_t offset, std::uint64_t value) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(reinterpret_cast<const char*>(&value), sizeof value);
  }
  /// What is there is not believed, for this reason.
  void expect_rejected(const std::string& why, const LedgerOptions& options = {}) {
    const auto ledger = open(options);
    EXPECT_THAT(ledger->found(), ::testing::IsEmpty());
    EXPECT_THAT(ledger->rejected(), ::testing::HasSubstr(why));
    EXPECT_THAT(ledger->rejected(), ::testing::HasSubstr(path_));
  }

  TemporaryFolder folder_{"/dev/shm"};
  std::string path_ = folder_ / "ledger";
  std::unique_ptr<FileMemory> memory_ = FileMemory::create(ByteCount(32 * 4096), 2).value();
};

}  // namespace sluice::test
