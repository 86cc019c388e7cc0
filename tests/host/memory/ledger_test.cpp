// SPDX-License-Identifier: Apache-2.0
// The ledger by itself: what it believes, what it refuses, and why.
#include "sluice/memory/ledger.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "host/memory/ledgers.hpp"
#include "sluice/memory/extent_table.hpp"
#include "support/full_disk.hpp"
#include "support/manager_fixture.hpp"
#include "support/patience.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(Ledgers, SayNothingAtFirst) {
  const auto ledger = open();
  EXPECT_THAT(ledger->found(), IsEmpty());
  EXPECT_THAT(ledger->rejected(), IsEmpty());
}

TEST_F(Ledgers, SayAgainWhatWasWritten) {
  write_one();
  const auto ledger = open();
  EXPECT_THAT(ledger->rejected(), IsEmpty());
  EXPECT_THAT(ledger->found(),
              ElementsAre(LedgerEntry{0, 10, LedgerKind::Clean, {}}, LedgerEntry{10, 5, LedgerKind::Held, VmId(77)},
                          LedgerEntry{15, 1, LedgerKind::Quarantined, {}},
                          LedgerEntry{16, 4, LedgerKind::Dirty, {}, kLedgerPool},
                          LedgerEntry{20, 2, LedgerKind::Held, VmId(77), kLedgerPool}));
}

TEST_F(Ledgers, KeepTheOldFileUntilTheNewOneIsPublished) {
  write_one();
  {
    const auto ledger = open();
    ledger->write(0, {0, 64, LedgerKind::Clean, {}});
  }
  EXPECT_EQ(open()->found().size(), 5U);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(Ledgers, TakeRecordsThatSayTheSameTogether) {
  {
    const auto ledger = open();
    ledger->write(0, {0, 10, LedgerKind::Clean, {}});
    ledger->write(1, {4, 20, LedgerKind::Clean, {}});
    ledger->write(2, {24, 2, LedgerKind::Clean, {}});
    ASSERT_TRUE(ledger->publish());
  }
  EXPECT_THAT(open()->found(), ElementsAre(LedgerEntry{0, 26, LedgerKind::Clean, {}}));
}

TEST_F(Ledgers, OfAnotherBootAreNotBelieved) {
  write_one();
  expect_rejected("and this is boot another", {.boot_id = "another", .before_store = {}});
}

TEST_F(Ledgers, OfOtherMemoryAreNotBelieved) {
  write_one();
  memory_ = FileMemory::create(ByteCount(32 * 4096), 2).value();
  expect_rejected("it belongs to 2 bricks with other files, inodes, lengths or units than the 2 here");
}

TEST_F(Ledgers, OfMemoryOfAnotherLengthAreNotBelieved) {
  const auto named = [&](std::uint32_t bricks) {
    return FileMemory::open(folder_.path(), ByteCount(8 * 4096), bricks).value();
  };
  ASSERT_TRUE(open_with(*named(2))->publish());
  EXPECT_THAT(open_with(*named(2))->rejected(), IsEmpty());
  EXPECT_THAT(open_with(*named(3))->rejected(), HasSubstr("it belongs to 2 bricks"));
}

TEST_F(Ledgers, OfAnotherVersionAreNotBelieved) {
  write_one();
  overwrite(8, 99);
  expect_rejected("it has version 99, not 3");
}

TEST_F(Ledgers, WithADamagedHeaderAreNotBelieved) {
  write_one();
  overwrite(24, 0x6161616161616161);
  expect_rejected("the checksum of its header is wrong");
}

TEST_F(Ledgers, WithADamagedRecordAreNotBelieved) {
  write_one();
  for (const std::uint64_t offset : {kRecords + 16, kRecords + 24}) {
    overwrite(offset, 0x1000000003);
    expect_rejected("the checksum of record 1 is wrong");
  }
}

/// A valid record at another place says nothing there.
TEST_F(Ledgers, WithAMovedRecordAreNotBelieved) {
  write_one();
  std::uint64_t words[2];
  std::ifstream file(path_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(kRecords));
  file.read(reinterpret_cast<char*>(words), sizeof words);
  overwrite(kRecords + 5 * 16, words[0]);
  overwrite(kRecords + 5 * 16 + 8, words[1]);
  expect_rejected("the checksum of record 5 is wrong");
}

TEST_F(Ledgers, ThatContradictThemselvesAreNotBelieved) {
  {
    const auto ledger = open();
    ledger->write(0, {0, 10, LedgerKind::Clean, {}});
    ledger->write(1, {9, 5, LedgerKind::Quarantined, {}});
    ASSERT_TRUE(ledger->publish());
  }
  expect_rejected("it says two things about page 9");
}

TEST_F(Ledgers, OfPagesThatAreNotThereAreNotBelieved) {
  {
    const auto ledger = open();
    ledger->write(0, {60, 5, LedgerKind::Clean, {}});
    ASSERT_TRUE(ledger->publish());
  }
  expect_rejected("record 0 describes pages 60 to 64, and the pool has 64");
}

TEST_F(Ledgers, CutShortOrOfOtherKindsAreNotBelieved) {
  write_one();
  std::filesystem::resize_file(path_, 5000);
  expect_rejected("it has 5000 bytes, which is not the size of a ledger");
  std::filesystem::resize_file(path_, 0);
  expect_rejected("it has 0 bytes, which is not the size of a ledger");
  std::filesystem::resize_file(path_, kRecords);
  expect_rejected("it is no ledger");
}

/// Records whose checksum is right, as somebody would write who knows how.
TEST_F(Ledgers, WithRecordsThatNobodyWroteAreNotBelieved) {
  const std::uint64_t last_slot = LedgerFormat::kMostHolders - 1;
  const struct {
    LedgerEntry entry;
    std::uint64_t slot;
    std::string why;
  } table[] = {
      {{0, 4, static_cast<LedgerKind>(0), {}}, 0, "record 1 describes no memory"},
      {{5, 0, LedgerKind::Clean, {}}, 0, "record 1 describes no memory"},
      {{64, 1, LedgerKind::Clean, {}}, 0, "record 1 describes pages 64 to 64, and the pool has 64"},
      {{1, (1ULL << 36) - 1, LedgerKind::Clean, {}}, 0, "record 1 describes pages 1 to 68719476735"},
      {{(1ULL << 36) - 1, 1, LedgerKind::Quarantined, {}}, 0, "record 1 describes pages 68719476735 to"},
      {{20, 4, static_cast<LedgerKind>(5), {}}, 0, "record 1 describes no memory"},
      {{20, 4, LedgerKind::Held, {}}, 0, "record 1 describes memory of a VM that has no id"},
      {{20, 4, LedgerKind::Held, {}}, kPoolSlot, "record 1 describes memory of a VM that has no id"},
      {{20, 4, LedgerKind::Clean, {}}, kVmSlot, "record 1 describes memory of VM 77 that it does not hold"},
      {{20, 4, LedgerKind::Dirty, {}}, 0, "record 1 describes dirty memory of no pool"},
      {{20, 4, LedgerKind::Held, {}}, 9, "record 1 names holder 9, and there is none"},
      {{20, 4, LedgerKind::Held, {}}, last_slot, "record 1 names holder 4194303, and there is none"},
      {{20, 4, LedgerKind::Held, {}}, LedgerFormat::kMostHolders, "record 1 names holder 4194304, and there is none"},
      {{20, 4, LedgerKind::Held, {}}, (1ULL << 28) - 1, "record 1 names holder 268435455, and there is none"},
  };
  for (const auto& row : table) {
    write_one();
    const auto record = LedgerRecord::of(1, row.entry, static_cast<std::uint32_t>(row.slot));
    overwrite(kRecords + 16, record.place);
    overwrite(kRecords + 24, record.facts);
    expect_rejected(row.why);
  }
}

/// Sparse, and as long as a file can be: nothing is read of it but its length.
TEST_F(Ledgers, OfTooManyBytesAreNotBelieved) {
  for (const std::uint64_t length : {LedgerFormat::kFileLimit + 16, std::uint64_t{1} << 42}) {
    write_one();
    std::filesystem::resize_file(path_, length);
    expect_rejected(std::to_string(length) + " bytes, which is not the size of a ledger");
  }
}

TEST_F(Ledgers, WithABootIdThatIsNoTextSayWhatIsWrongInText) {
  write_one();
  LedgerHeader header;
  {
    std::ifstream file(path_, std::ios::binary);
    file.read(reinterpret_cast<char*>(&header), sizeof header);
  }
  std::fill(std::begin(header.boot_id), std::end(header.boot_id), '\x1b');
  header.check = header.sum();
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.write(reinterpret_cast<const char*>(&header), sizeof header);
  }
  expect_rejected("it was written in boot (unreadable)");
}

/// Its path is the owner's: nothing but a file is ever replaced, and nothing waits for a writer.
TEST_F(Ledgers, AreFilesAndReplaceNothingElse) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  std::filesystem::create_directory(folder_ / "directory");
  std::filesystem::create_symlink(folder_ / "target", folder_ / "link");
  for (const char* const name : {"fifo", "directory", "link"}) {
    const auto refused = Ledger::open(folder_ / name, memory_->bricks());
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, HostErrc::InvalidArgument) << name;
    EXPECT_THAT(refused.error().message, HasSubstr("is not a regular file"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "target"));
}

TEST_F(Ledgers, ServeOneProcessAtATime) {
  const auto first = open();
  const auto second = Ledger::open(path_, memory_->bricks());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, HostErrc::WrongState);
  EXPECT_THAT(second.error().message, HasSubstr(path_));
}

TEST_F(Ledgers, NeedMemoryThatCanBeRecognised) {
  Memory memory(4096);
  const Brick bricks[] = {{memory.all()}};
  const auto refused = Ledger::open(path_, bricks);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::InvalidArgument);
}

TEST_F(Ledgers, NeedAFolderThatIsThere) {
  const auto refused = Ledger::open(folder_ / "nowhere/ledger", memory_->bricks());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::NoResources);
  EXPECT_THAT(refused.error().message, HasSubstr("nowhere/ledger.lock failed: No such file"));
}

TEST_F(Ledgers, OnAFullDiskAreRefused) {
  const FullDisk disk(1 << 20);
  const auto refused = Ledger::open(path_, memory_->bricks());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::NoResources);
  EXPECT_THAT(refused.error().message, HasSubstr("give a path on a tmpfs with room"));
}

/// The ledger holds 4,096 extents and cannot grow: what needs more is refused and changes nothing, the rest goes on.
TEST_F(Ledgers, ThatCannotGrowRefuseWhatNeedsMoreExtents) {
  memory_ = FileMemory::create(ByteCount(16'384 * 4096), 1).value();
  const auto ledger = open();
  ManualEngine engine;
  auto manager = MemoryManager::recover(*memory_, engine, *ledger).value();
  for (const Patience patience; manager->has_work() && !patience.over();) {
    manager->poll();
    engine.end_all();
  }
  ASSERT_TRUE(manager->create_vm({VmId(1), CustomerId(1), {}, {}, {}, {}, {}}));
  std::optional<Grant> all;
  ASSERT_TRUE(manager->allocate(VmId(1), ByteCount(16'384 * 4096), [&](Result<Grant> grant) { all = *grant; }));
  manager->poll();
  ASSERT_TRUE(all);
  const FullDisk disk(kRecords);
  std::size_t released = 0;
  std::optional<Error> error;
  for (std::size_t page = 0; page < 16'384 && !error; page += 2) {
    const auto result = manager->release(VmId(1), all->ranges[0].memory.subspan(page * 4096, 4096));
    if (result) ++released;
    if (!result) error = result.error();
  }
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, HostErrc::NoResources);
  EXPECT_GT(released, 1000U);
  EXPECT_EQ(manager->extents().bytes(ExtentState::Owned).value(), (16'384 - released) * 4096);
  const auto claim = manager->allocate(VmId(1), kPageSize, [](const Result<Grant>&) {});
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code, HostErrc::NoResources);
  EXPECT_TRUE(manager->terminate(VmId(1))) << "this needs no room";
  for (const Patience patience; manager->has_work() && !patience.over();) {
    manager->poll();
    engine.end_all();
  }
  EXPECT_EQ(manager->extents().bytes(ExtentState::Clean), manager->extents().total());
  // A refusal is no state: there is room again, so the next claim is granted.
  ASSERT_TRUE(manager->create_vm({VmId(2), CustomerId(2), {}, {}, {}, {}, {}}));
  const auto next = manager->allocate(VmId(2), kPageSize, [](const Result<Grant>&) {});
  EXPECT_TRUE(next) << next.error().message;
}

}  // namespace
}  // namespace sluice::test
