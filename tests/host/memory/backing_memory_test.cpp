// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/backing_memory.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/memory/extent_table.hpp"
#include "support/manager_fixture.hpp"
#include "support/patience.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

TEST(FileMemory, HandsOutTheSameMemoryByDescriptor) {
  auto memory = FileMemory::create(ByteCount(1 << 20), 3);
  ASSERT_TRUE(memory);
  ASSERT_EQ((*memory)->bricks().size(), 3U);
  ManualEngine engine;
  const auto made = *MemoryManager::create(**memory, engine);
  MemoryManager& manager = *made;
  ASSERT_TRUE(manager.create_vm({VmId(1), CustomerId(1), {}, {}, {}}));
  std::optional<Result<Grant>> result;
  ASSERT_TRUE(
      manager.allocate(VmId(1), ByteCount(5 << 19), [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
  for (const Patience patience; !result && !patience.over();) {
    manager.poll();
    engine.end_all();
  }
  ASSERT_TRUE(result && *result);
  ASSERT_GE((*result)->ranges.size(), 3U) << "a range lies in one brick";
  for (const GrantedRange& range : (*result)->ranges) {
    // As a hypervisor would: map the descriptor, and see what is written here.
    void* const mapped =
        ::mmap(nullptr, range.memory.size(), PROT_READ, MAP_SHARED, range.fd, static_cast<off_t>(range.fd_offset));
    ASSERT_NE(mapped, MAP_FAILED);
    range.memory.front() = std::byte{0x11};
    range.memory.back() = std::byte{0x22};
    const MemorySpan seen(static_cast<std::byte*>(mapped), range.memory.size());
    EXPECT_EQ(seen.front(), std::byte{0x11});
    EXPECT_EQ(seen.back(), std::byte{0x22});
    ::munmap(mapped, range.memory.size());
  }
}

/// Node 0 is there on every machine. A kernel without NUMA knows no nodes, and one that a sandbox guards may refuse.
TEST(FileMemory, LiesOnTheNodeThatIsGiven) {
  const auto memory = FileMemory::create(ByteCount(1 << 20), 2, PageKind::Small, 0);
  if (memory) {
    EXPECT_EQ((*memory)->bricks()[1].node, 0U);
    EXPECT_EQ((*memory)->bricks()[1].memory.front(), std::byte{0});
  } else {
    EXPECT_NE(memory.error().message.find("mbind"), std::string::npos) << memory.error().message;
  }
  const auto nowhere = FileMemory::create(ByteCount(1 << 20), 1, PageKind::Small, 1000);
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, HostErrc::NoResources);
  EXPECT_NE(nowhere.error().message.find("mbind"), std::string::npos);
}

TEST(FileMemory, RefusesLengthsThatAreNotPages) {
  for (const std::uint64_t length : {0ULL, 4095ULL, 4097ULL}) {
    const auto memory = FileMemory::create(ByteCount(length), 1);
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().code, HostErrc::InvalidArgument);
    EXPECT_NE(memory.error().message.find(std::to_string(length)), std::string::npos);
  }
  EXPECT_FALSE(FileMemory::create(ByteCount(4096), 0));
  EXPECT_FALSE(FileMemory::create(ByteCount(4096), 1, PageKind::Huge2MiB));
}

/// With huge pages reserved this allocates one, without it says what to reserve.
TEST(FileMemory, HugePagesAreThereOrAskedFor) {
  const auto memory = FileMemory::create(ByteCount(2 << 20), 1, PageKind::Huge2MiB);
  if (memory) {
    EXPECT_EQ((*memory)->bricks()[0].memory.size(), 2U << 20);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>((*memory)->bricks()[0].memory.data()) % (2U << 20), 0U);
  } else {
    EXPECT_EQ(memory.error().code, HostErrc::NoResources);
    EXPECT_NE(memory.error().message.find("vm.nr_hugepages"), std::string::npos);
  }
}

TEST(FileMemory, MoreThanTheMachineHasIsAnError) {
  const auto memory = FileMemory::create(ByteCount(1ULL << 56), 1);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, HostErrc::NoResources);
}

/// Somebody cuts a file while it is memory: what is gone is quarantined, the rest can be used.
TEST(FileMemory, ThatVanishesIsQuarantined) {
  const TemporaryFolder folder("/dev/shm");
  auto memory = FileMemory::open(folder.path(), ByteCount(1 << 20), 2);
  ASSERT_TRUE(memory) << memory.error().message;
  const MemorySpan windows[] = {(*memory)->bricks()[0].memory, (*memory)->bricks()[1].memory};
  auto engine = CpuEngine::create({}, windows);
  ASSERT_TRUE(engine);
  const auto made = *MemoryManager::create(**memory, **engine, {.background_job_length = ByteCount(1 << 18)});
  MemoryManager& manager = *made;
  ASSERT_EQ(::ftruncate((*memory)->bricks()[1].fd, 1 << 19), 0);
  for (const Patience patience; manager.has_work() && !patience.over();) manager.poll();
  EXPECT_EQ(manager.extents().bytes(ExtentState::Quarantined), ByteCount(1 << 19));
  EXPECT_EQ(manager.extents().bytes(ExtentState::Clean), ByteCount(3 << 19));
  EXPECT_FALSE(manager.fault());
}

TEST(FileMemory, FolderHasOneOwner) {
  const TemporaryFolder folder("/dev/shm");
  auto first = FileMemory::open(folder.path(), ByteCount(1 << 16), 2);
  ASSERT_TRUE(first) << first.error().message;
  const auto second = FileMemory::open(folder.path(), ByteCount(1 << 16), 2);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, HostErrc::WrongState);
  EXPECT_THAT(second.error().message, HasSubstr(folder.path().string()));
  first->reset();
  EXPECT_TRUE(FileMemory::open(folder.path(), ByteCount(1 << 16), 2));
}

/// A hypervisor that has a brick's descriptor lives on when its host's process ends; the next one takes the folder
/// over.
TEST(FileMemory, FolderIsFreeAgainWhileOthersStillHaveABrick) {
  const TemporaryFolder folder("/dev/shm");
  auto first = FileMemory::open(folder.path(), ByteCount(1 << 16), 1);
  ASSERT_TRUE(first);
  const int handed_out = ::dup((*first)->bricks()[0].fd);
  first->reset();
  const auto second = FileMemory::open(folder.path(), ByteCount(1 << 16), 1);
  EXPECT_TRUE(second) << second.error().message;
  ::close(handed_out);
}

TEST(FileMemory, RefusesWhatIsNoFolderOrNoFile) {
  const TemporaryFolder folder("/dev/shm");
  std::ofstream(folder / "file") << "text";
  for (const std::string name : {"file", "nowhere"}) {
    const auto refused = FileMemory::open(folder / name, ByteCount(4096), 1);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, HostErrc::InvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr(name));
  }
  ASSERT_EQ(::mkfifo((folder / "brick-0").c_str(), 0600), 0);
  const auto fifo = FileMemory::open(folder.path(), ByteCount(4096), 1);
  ASSERT_FALSE(fifo);
  EXPECT_EQ(fifo.error().code, HostErrc::InvalidArgument);
}

/// As a shell's `ulimit -f` does: files of this process grow no further. Who tries gets a signal that ends the process.
TEST(FileMemory, LimitOfFileSizesIsAnErrorAndLeavesNothingBehind) {
  const TemporaryFolder folder("/dev/shm");
  ASSERT_TRUE(FileMemory::open(folder.path(), ByteCount(1 << 16), 1));
  std::filesystem::rename(folder / "brick-0", folder / "brick-1");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit{1 << 12, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto anonymous = FileMemory::create(ByteCount(1 << 16), 1);
  const auto named = FileMemory::open(folder.path(), ByteCount(1 << 16), 2);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_FALSE(anonymous);
  EXPECT_EQ(anonymous.error().code, HostErrc::NoResources);
  EXPECT_THAT(anonymous.error().message, HasSubstr("File too large"));
  ASSERT_FALSE(named);
  EXPECT_EQ(named.error().code, HostErrc::NoResources);
  EXPECT_FALSE(std::filesystem::exists(folder / "brick-0"));
  EXPECT_EQ(std::filesystem::file_size(folder / "brick-1"), 1U << 16) << "it was there before";
}

/// The third brick cannot be made: the two before it go again, and the one that was there stays as it was.
TEST(FileMemory, BricksThatWereMadeBeforeAFailureAreRemoved) {
  const TemporaryFolder folder("/dev/shm");
  std::ofstream(folder / "brick-1").close();  // empty, as a crash may leave it
  std::filesystem::create_directory(folder / "brick-2");
  ASSERT_FALSE(FileMemory::open(folder.path(), ByteCount(1 << 16), 3));
  EXPECT_FALSE(std::filesystem::exists(folder / "brick-0"));
  EXPECT_EQ(std::filesystem::file_size(folder / "brick-1"), 0U);
  EXPECT_TRUE(FileMemory::open(folder.path(), ByteCount(1 << 16), 2));
}

/// A host with 1 MiB available, and 2 MiB of bricks from before.
TEST(FileMemory, WhatIsThereAlreadyIsNotNeededOnceMore) {
  const TemporaryFolder folder("/dev/shm");
  const TemporaryFolder root;
  std::filesystem::create_directory(root / "proc");
  std::ofstream(root / "proc/meminfo") << "MemAvailable:    1024 kB\n";
  constexpr ByteCount kBrick(256 << 10);
  ASSERT_TRUE(FileMemory::open(folder.path(), kBrick, 8));
  const auto reopen = [&](std::uint32_t bricks) {
    return FileMemory::open(folder.path(), kBrick, bricks, PageKind::Small, std::nullopt, root.path());
  };
  const auto too_many = reopen(13);
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().code, HostErrc::NoResources);
  EXPECT_THAT(too_many.error().message, HasSubstr("this host allows 1048576 more"));
  EXPECT_FALSE(std::filesystem::exists(folder / "brick-8"));
  EXPECT_TRUE(reopen(8));
  EXPECT_TRUE(reopen(12));
}

TEST(FileMemory, MoreThanTheAddressSpaceAllowsIsAnError) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlimit limit{pages * 4096 + (32 << 20), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &limit), 0);
  const auto refused = FileMemory::create(ByteCount(8 << 20), 5);
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &before), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::NoResources);
  EXPECT_THAT(refused.error().message, HasSubstr("RLIMIT_AS allows"));
}

/// A program that was started with a closed standard descriptor prints there all the same.
TEST(FileMemory, DescriptorsAreAboveTheStandardOnes) {
  const TemporaryFolder folder("/dev/shm");
  const int kept = ::dup(STDIN_FILENO);
  ::close(STDIN_FILENO);
  const auto anonymous = FileMemory::create(ByteCount(4096), 1);
  const auto named = FileMemory::open(folder.path(), ByteCount(4096), 1);
  const auto ledger = Ledger::open(folder / "ledger", (*anonymous)->bricks());
  const bool taken = ::fcntl(STDIN_FILENO, F_GETFD) != -1;
  ::dup2(kept, STDIN_FILENO);
  ::close(kept);
  ASSERT_TRUE(anonymous && named && ledger);
  EXPECT_GT((*anonymous)->bricks()[0].fd, STDERR_FILENO);
  EXPECT_GT((*named)->bricks()[0].fd, STDERR_FILENO);
  EXPECT_FALSE(taken);
}

TEST(ForeignMemory, RefusesPiecesThatShareBytes) {
  Memory memory(8 * 4096);
  const auto overlap = [&](std::size_t first, std::size_t first_pages, std::size_t second, std::size_t second_pages) {
    const MemorySpan pieces[] = {memory.part(first * 4096, first_pages * 4096),
                                 memory.part(second * 4096, second_pages * 4096)};
    const auto made = ForeignMemory::create(pieces);
    if (made) return false;
    EXPECT_EQ(made.error().code, HostErrc::InvalidArgument);
    EXPECT_THAT(made.error().message, HasSubstr("overlaps"));
    return true;
  };
  EXPECT_TRUE(overlap(0, 4, 3, 2));
  EXPECT_TRUE(overlap(3, 2, 0, 4)) << "in the other order";
  EXPECT_TRUE(overlap(0, 8, 2, 1)) << "one inside the other";
  EXPECT_TRUE(overlap(1, 2, 1, 2)) << "the same twice";
  EXPECT_FALSE(overlap(0, 4, 4, 4)) << "neighbours";
}

/// Two mappings of one file are the same bytes at two addresses.
TEST(ForeignMemory, RefusesPiecesOfOneFile) {
  const auto files = FileMemory::create(ByteCount(4096), 1);
  ASSERT_TRUE(files);
  const Brick brick = (*files)->bricks()[0];
  const int other = ::dup(brick.fd);
  void* const again = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
  ASSERT_NE(again, MAP_FAILED);
  const auto refused = ForeignMemory::create({brick, {{static_cast<std::byte*>(again), 4096}, other}});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("is in the same file"));
  ::munmap(again, 4096);
  ::close(other);
  EXPECT_TRUE(ForeignMemory::create({brick}));
}

TEST(ForeignMemory, RefusesFilesThatAreNotThereOrTooShort) {
  const auto files = FileMemory::create(ByteCount(4096), 1);
  ASSERT_TRUE(files);
  Memory memory(2 * 4096);
  const auto closed = ForeignMemory::create({{memory.all(), 1'000'000}});
  ASSERT_FALSE(closed);
  EXPECT_THAT(closed.error().message, HasSubstr("descriptor 1000000, which is not open"));
  const auto shorter = ForeignMemory::create({{memory.all(), (*files)->bricks()[0].fd}});
  ASSERT_FALSE(shorter);
  EXPECT_THAT(shorter.error().message, HasSubstr("whose file has 4096 bytes"));
}

TEST(ForeignMemory, RefusesWhatPassesTheEndOfTheAddressSpace) {
  auto* const last = reinterpret_cast<std::byte*>(~std::uintptr_t{4095});
  for (const std::size_t length : {std::size_t{4096}, std::size_t{1} << 20, ~std::size_t{4095}}) {
    const MemorySpan piece[] = {MemorySpan(last, length)};
    const auto refused = ForeignMemory::create(piece);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, HostErrc::InvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr("passes the end of the address space"));
  }
}

TEST(ForeignMemory, RefusesWhatIsNotPages) {
  Memory memory(8192);
  const MemorySpan skewed[] = {memory.part(1, 4096)};
  const MemorySpan ragged[] = {memory.part(0, 5000)};
  const MemorySpan empty[] = {memory.part(0, 0)};
  EXPECT_FALSE(ForeignMemory::create(skewed));
  EXPECT_FALSE(ForeignMemory::create(ragged));
  EXPECT_FALSE(ForeignMemory::create(empty));
}

}  // namespace
}  // namespace sluice::test
