// SPDX-License-Identifier: Apache-2.0
// Memory in files on a disk: what is clean there must be so after a power cut, too.
#include "medium.hpp"

#include <gmock/gmock.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <cerrno>
#include <fstream>

#include "support/manager_fixture.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr ByteCount kBrick(64 * 4096);
constexpr long kXfs = 0x58465342;

MediumHooks on(long file_system) {
  return {.file_system = [=](int /*fd*/) { return file_system; }};
}

TEST(Medium, IsRefusedWhereAScrubProvesNothing) {
  struct Case {
    long type;
    const char* name;
  };
  const TemporaryFolder folder;
  for (const Case& each :
       {Case{BTRFS_SUPER_MAGIC, "btrfs"}, Case{0x2FC12FC1, "zfs"}, Case{0xCA451A4E, "bcachefs"},
        Case{F2FS_SUPER_MAGIC, "f2fs"}, Case{OVERLAYFS_SUPER_MAGIC, "overlayfs"}, Case{NFS_SUPER_MAGIC, "nfs"},
        Case{FUSE_SUPER_MAGIC, "fuse"}, Case{0x1234567, "0x1234567"}}) {
    const auto refused = FileMemory::open(folder.path(), kBrick, 1, on(each.type));
    ASSERT_FALSE(refused) << each.name;
    EXPECT_EQ(refused.error().code, HostErrc::InvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr(each.name));
    EXPECT_THAT(refused.error().message, HasSubstr("ext4 or xfs"));
    EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "nothing was made";
  }
}

TEST(Medium, IsVolatileInMemoryAndPersistentOnADisk) {
  for (const long type : {long{TMPFS_MAGIC}, long{HUGETLBFS_MAGIC}, long{RAMFS_MAGIC}}) {
    EXPECT_EQ(medium_of(type, "").value(), Medium::Volatile);
  }
  for (const long type : {long{EXT4_SUPER_MAGIC}, kXfs}) EXPECT_EQ(medium_of(type, "").value(), Medium::Persistent);
  EXPECT_EQ((*FileMemory::create(kBrick, 1))->bricks()[0].medium, Medium::Volatile);
}

/// What this machine's own folder for temporary files is on: the one test without answers of its own.
TEST(Medium, OfTheFolderForTemporaryFilesIsFoundOrRefused) {
  const TemporaryFolder folder;
  struct statfs facts {};
  ASSERT_EQ(::statfs(folder.path().c_str(), &facts), 0);
  const auto expected = medium_of(facts.f_type, "it");
  const auto memory = FileMemory::open(folder.path(), kBrick, 2);
  ASSERT_EQ(memory.has_value(), expected.has_value()) << std::hex << facts.f_type;
  if (!memory) return;
  const Brick& brick = (*memory)->bricks()[1];
  EXPECT_EQ(brick.medium, *expected);
  std::fill(brick.memory.begin(), brick.memory.end(), std::byte{0x5A});
  const auto durable = (*memory)->make_durable(brick.memory);
  EXPECT_TRUE(durable) << durable.error().message;
  std::ifstream file(folder / "brick-1", std::ios::binary);
  const std::string content(std::istreambuf_iterator<char>(file), {});
  EXPECT_EQ(content, std::string(kBrick.value(), '\x5A'));
}

TEST(Medium, OnADiskHasNoHugePages) {
  const TemporaryFolder folder;
  struct statfs facts {};
  ASSERT_EQ(::statfs(folder.path().c_str(), &facts), 0);
  const auto medium = medium_of(facts.f_type, "it");
  const auto refused = FileMemory::open(folder.path(), ByteCount(2 << 20), 1, PageKind::Huge2MiB);
  if (!medium || *medium == Medium::Persistent) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, HostErrc::InvalidArgument);
  }
}

TEST(Medium, FlushesLinesWithoutAChange) {
  Memory memory(4096, std::byte{0x77});
  flush_lines(memory.part(3, 4000));
  flush_lines({});
  EXPECT_EQ(first_not(memory.all(), std::byte{0x77}), std::nullopt);
}

/// A pool on a disk, of which the test says whether it takes what is written.
class PersistentPool : public ::testing::Test {
 protected:
  PersistentPool() {
    MediumHooks hooks = on(EXT4_SUPER_MAGIC);
    hooks.sync = [this](MemorySpan memory) {
      ++syncs_;
      synced_ += memory.size();
      clean_at_sync_ = manager_ == nullptr ? ByteCount(0) : manager_->extents().bytes(ExtentState::Clean);
      zeros_at_sync_ = zeros_at_sync_ && !first_not(memory, std::byte{0});
      errno = EIO;
      return fails_ ? -1 : 0;
    };
    memory_ = *FileMemory::open(folder_.path(), kBrick, 1, hooks);
    const MemorySpan all = memory_->bricks()[0].memory;
    std::fill(all.begin(), all.end(), std::byte{0xAA});
    manager_ = *MemoryManager::create(*memory_, engine_);
    manager_->poll();
  }
  [[nodiscard]] ByteCount in(ExtentState state) const { return manager_->extents().bytes(state); }

  bool fails_ = false;
  int syncs_ = 0;
  std::size_t synced_ = 0;
  ByteCount clean_at_sync_;
  bool zeros_at_sync_ = true;
  TemporaryFolder folder_;
  std::unique_ptr<FileMemory> memory_;
  ManualEngine engine_;
  std::unique_ptr<MemoryManager> manager_;
};

TEST_F(PersistentPool, IsCleanAfterItsZerosAreOnTheMedium) {
  EXPECT_EQ(memory_->bricks()[0].medium, Medium::Persistent);
  engine_.end_all();
  EXPECT_EQ(syncs_, 0) << "not before the engine has written";
  manager_->poll();
  EXPECT_EQ(syncs_, 1);
  EXPECT_EQ(synced_, kBrick.value());
  EXPECT_EQ(clean_at_sync_, ByteCount(0)) << "and not clean before";
  EXPECT_TRUE(zeros_at_sync_);
  EXPECT_EQ(in(ExtentState::Clean), kBrick);
}

TEST_F(PersistentPool, IsQuarantinedWhereTheMediumTakesNothing) {
  fails_ = true;
  engine_.end_all();
  manager_->poll();
  EXPECT_EQ(in(ExtentState::Quarantined), kBrick);
  EXPECT_EQ(manager_->statistics().quarantined, kBrick);
  EXPECT_EQ(manager_->statistics().scrubs_failed, 1U);
  const auto why = memory_->make_durable(memory_->bricks()[0].memory.subspan(4096, 4096));
  ASSERT_FALSE(why);
  EXPECT_EQ(why.error().code, HostErrc::NoResources);
  EXPECT_THAT(why.error().message, HasSubstr("4096 bytes at offset 4096"));
}

TEST_F(PersistentPool, OfAFailedScrubOnlyThePrefixIsWrittenToTheMedium) {
  engine_.end(0, Outcome::Failed, 8 * 4096, FailureCause::SlaveError, 0);
  manager_->poll();
  EXPECT_EQ(synced_, 8U * 4096);
  EXPECT_EQ(in(ExtentState::Clean), ByteCount(8 * 4096));
  EXPECT_EQ(in(ExtentState::Quarantined), kBrick - ByteCount(8 * 4096));
}

TEST_F(PersistentPool, OfAFailedScrubNothingIsCleanThatTheMediumDidNotTake) {
  fails_ = true;
  engine_.end(0, Outcome::Failed, 8 * 4096, FailureCause::SlaveError, 0);
  manager_->poll();
  EXPECT_EQ(in(ExtentState::Clean), ByteCount(0));
  EXPECT_EQ(in(ExtentState::Quarantined), kBrick);
  EXPECT_EQ(manager_->statistics().quarantined, kBrick);
}

TEST_F(PersistentPool, IsNotWrittenToTheMediumForACancelledScrub) {
  ASSERT_TRUE(manager_);
  engine_.end(0, Outcome::Zeroed, kBrick.value());
  manager_->poll();
  ASSERT_TRUE(manager_->create_vm({VmId(1), CustomerId(1), {}, {}, {}}));
  const auto allocate = [&] {
    std::optional<Result<Grant>> result;
    EXPECT_TRUE(manager_->allocate(VmId(1), kBrick, [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
    for (int round = 0; round < 8 && !result; ++round) {
      manager_->poll();
      engine_.end_all();
    }
    EXPECT_TRUE(result && *result);
  };
  allocate();
  ASSERT_TRUE(manager_->release(VmId(1), memory_->bricks()[0].memory));
  manager_->poll();
  syncs_ = 0;
  allocate();  // recycled: its scrub is cancelled
  EXPECT_EQ(syncs_, 0);
  EXPECT_EQ(manager_->statistics().scrubs_cancelled, 1U);
}

}  // namespace
}  // namespace sluice::test
