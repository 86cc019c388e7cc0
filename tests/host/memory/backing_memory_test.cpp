// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/backing_memory.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sluice/cpu/cpu_engine.hpp"
#include "support/manager_fixture.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

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
  while (!result) {
    manager.poll();
    engine.end_all();
  }
  ASSERT_TRUE(*result);
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
  const TemporaryFolder folder;
  auto memory = FileMemory::open(folder.path(), ByteCount(1 << 20), 2);
  ASSERT_TRUE(memory) << memory.error().message;
  const MemorySpan windows[] = {(*memory)->bricks()[0].memory, (*memory)->bricks()[1].memory};
  auto engine = CpuEngine::create({}, windows);
  ASSERT_TRUE(engine);
  const auto made = *MemoryManager::create(**memory, **engine, {.background_job_length = ByteCount(1 << 18)});
  MemoryManager& manager = *made;
  ASSERT_EQ(::ftruncate((*memory)->bricks()[1].fd, 1 << 19), 0);
  while (manager.has_work()) manager.poll();
  EXPECT_EQ(manager.extents().bytes(ExtentState::Quarantined), ByteCount(1 << 19));
  EXPECT_EQ(manager.extents().bytes(ExtentState::Clean), ByteCount(3 << 19));
  EXPECT_FALSE(manager.fault());
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
