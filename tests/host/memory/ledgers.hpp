// SPDX-License-Identifier: Apache-2.0
// What the tests of ledgers share: a ledger in a folder of its own, over two bricks of 32 pages.
#pragma once

#include <gmock/gmock.h>

#include <fstream>

#include "sluice/memory/ledger.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {

inline constexpr std::uint64_t kRecords = 4096 + (16ULL << 24);  // where they begin in the file

class Ledgers : public ::testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<Ledger> open(const LedgerOptions& options = {}) { return open_with(*memory_, options); }
  [[nodiscard]] std::unique_ptr<Ledger> open_with(const BackingMemory& memory, const LedgerOptions& options = {}) {
    auto ledger = Ledger::open(path_, memory.bricks(), options);
    EXPECT_TRUE(ledger) << (ledger ? "" : ledger.error().message);
    return ledger ? std::move(*ledger) : nullptr;
  }
  /// A ledger that says three things.
  void write_one() {
    const auto ledger = open();
    ASSERT_TRUE(ledger->enter(VmId(77)));
    ledger->write(0, {0, 10, LedgerKind::Clean, {}});
    ledger->write(1, {10, 5, LedgerKind::Held, VmId(77)});
    ledger->write(2, {15, 1, LedgerKind::Quarantined, {}});
    ASSERT_TRUE(ledger->publish());
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
