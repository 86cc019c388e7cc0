// SPDX-License-Identifier: Apache-2.0
// What a manager knows again after a crash.
#include "host/memory/recovery.hpp"

namespace sluice::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(Recovery, KeepsCleanMemoryCleanAndLeasesTheirHolders) {
  start(*memory_);
  settle();
  ASSERT_TRUE(manager_->create_vm({kA, kCustomer, {}, {}, {}, {}, {}}));
  ASSERT_TRUE(manager_->create_vm({kB, kCustomer, {}, {}, {}, {}, {}}));
  const MemorySpan held = take(kA, 10).ranges.at(0).memory;
  take(kB, 4);
  ASSERT_TRUE(manager_->begin_reboot(kB));
  crash();
  start(*memory_);
  EXPECT_EQ(pages_in(ExtentState::Clean), 50U);
  EXPECT_EQ(pages_in(ExtentState::Owned), 14U);
  EXPECT_THAT(manager_->unadopted(), ElementsAre(kA, kB));
  const auto again = manager_->create_vm({kA, kCustomer, {}, {}, {}, {}, {}});
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("adopt it, or terminate it"));
  EXPECT_FALSE(manager_->adopt({VmId(3), kCustomer, {}, {}, {}, {}, {}}));
  EXPECT_FALSE(manager_->adopt({kA, {}, {}, {}, {}, {}, {}})) << "no customer";
  const auto grant = manager_->adopt({kA, kCustomer, {}, {}, {}, {}, {}});
  ASSERT_TRUE(grant) << grant.error().message;
  ASSERT_EQ(grant->ranges.size(), 1U);
  EXPECT_EQ(grant->ranges[0].memory.data(), held.data());
  EXPECT_EQ(grant->ranges[0].memory.size(), held.size());
  ASSERT_TRUE(manager_->terminate(kB));
  EXPECT_THAT(manager_->unadopted(), IsEmpty());
  settle();
  EXPECT_EQ(pages_in(ExtentState::Clean), 54U);
  // What it holds it can give back, and take again as it is.
  held[0] = std::byte{0x55};
  ASSERT_TRUE(manager_->release(kA, held));
  const Grant back = take(kA, 10);
  EXPECT_TRUE(back.ranges.at(0).recycled);
}

TEST_F(Recovery, MakesAllElseDirty) {
  start(*memory_);
  settle();
  ASSERT_TRUE(manager_->create_vm({kA, kCustomer, {}, {}, {}, {}, {}}));
  const Grant grant = take(kA, 20);
  ASSERT_TRUE(manager_->release(kA, grant.ranges.at(0).memory.first(8 * 4096)));
  manager_->poll();
  ASSERT_EQ(pages_in(ExtentState::Scrubbing), 8U);
  crash();
  start(*memory_);
  EXPECT_EQ(pages_in(ExtentState::Dirty), 8U);
  EXPECT_EQ(pages_in(ExtentState::Owned), 12U);
}

/// At each moment of a test the file calls clean only what holds zeros.
TEST_F(Recovery, CallsNothingCleanThatIsBeingTested) {
  start(*memory_);
  settle();
  ASSERT_TRUE(manager_->suspect(memory_->bricks()[0].memory.first(std::size_t{8} * 4096)));
  ASSERT_TRUE(manager_->test_suspect({}, {0x5555555555555555}, {}));
  ASSERT_EQ(pages_in(ExtentState::Scrubbing), 8U);
  crash();
  start(*memory_);
  EXPECT_EQ(pages_in(ExtentState::Dirty), 8U);
  settle();
  ASSERT_TRUE(manager_->suspect(memory_->bricks()[0].memory.first(std::size_t{8} * 4096)));
  ASSERT_TRUE(manager_->test_suspect({}, {0, 0x5555555555555555}, {}));
  engine_->end_all();
  manager_->poll();
  engine_->end_all();
  ASSERT_EQ(pages_in(ExtentState::Scrubbing), 8U) << "the second pattern is there, and nobody has said so";
  crash();
  start(*memory_);
  EXPECT_EQ(pages_in(ExtentState::Dirty), 8U);
}

TEST_F(Recovery, KeepsBadMemoryInQuarantine) {
  start(*memory_);
  manager_->poll();
  engine_->end(0, Outcome::Failed, 0, FailureCause::SlaveError);
  settle();
  ASSERT_EQ(pages_in(ExtentState::Quarantined), 32U);
  crash();
  start(*memory_);
  EXPECT_EQ(pages_in(ExtentState::Quarantined), 32U);
}

/// A claim that waits when the manager ends has had no effect: the next manager finds what the VM held.
TEST_F(Recovery, EndOfTheManagerGivesNothingBack) {
  start(*memory_);
  settle();
  ASSERT_TRUE(manager_->create_vm({kA, kCustomer, {}, {}, {}, {}, {}}));
  ASSERT_TRUE(manager_->create_vm({kB, kCustomer, {}, {}, {.enable = false}, {}, {}}));
  take(kA, 8);
  const std::uint64_t free = pages_in(ExtentState::Clean);
  take(kB, free);
  ASSERT_TRUE(manager_->terminate(kB));  // all but A's memory is dirty
  ASSERT_TRUE(manager_->begin_reboot(kA));
  bool abandoned = false;
  ASSERT_TRUE(manager_->finish_reboot(kA, ByteCount(12 * 4096), [&](const Result<Grant>& grant) {
    abandoned = !grant && grant.error().code == HostErrc::Abandoned;
  }));
  manager_.reset();
  EXPECT_TRUE(abandoned);
  ledger_.reset();
  start(*memory_);
  const auto grant = manager_->adopt({kA, kCustomer, {}, {}, {}, {}, {}});
  ASSERT_TRUE(grant) << grant.error().message;
  EXPECT_TRUE(grant->ranges.empty());
  EXPECT_TRUE(manager_->reboots(kA)) << "it has not come back";
  EXPECT_EQ(pages_in(ExtentState::Reserved), 8U);
}

/// As the patents have it: the mark lasts through the whole reboot, whatever becomes of the manager meanwhile.
TEST_F(Recovery, AVmThatRebootsWhenTheProcessEndsComesBackWithItsMemory) {
  for (const bool reuse : {true, false}) {
    SCOPED_TRACE(reuse);
    std::filesystem::remove(path_);
    start(*memory_);
    settle();
    ASSERT_TRUE(manager_->create_vm({kA, kCustomer, {}, {}, {}, {}, {}}));
    const Grant before = take(kA, 8);
    for (const GrantedRange& range : before.ranges)
      std::fill(range.memory.begin(), range.memory.end(), std::byte{0xAA});
    ASSERT_TRUE(manager_->begin_reboot(kA));
    crash();
    start(*memory_);
    ASSERT_TRUE(manager_->adopt({kA, kCustomer, {}, {}, {.recycle_on_reboot = reuse}, {}, {}}));
    ASSERT_TRUE(manager_->reboots(kA));
    EXPECT_FALSE(manager_->allocate(kA, kPageSize, {})) << "it is not back";
    std::optional<Result<Grant>> after;
    ASSERT_TRUE(manager_->finish_reboot(kA, ByteCount(8 * 4096), [&](Result<Grant> grant) { after = grant; }));
    settle();
    ASSERT_TRUE(after && *after);
    for (const GrantedRange& range : (*after)->ranges) {
      EXPECT_EQ(range.recycled, reuse);
      EXPECT_EQ(range.memory[0], reuse ? std::byte{0xAA} : std::byte{0});
    }
    EXPECT_FALSE(manager_->reboots(kA));
    crash();
    start(*memory_);
    const auto running = manager_->adopt({kA, kCustomer, {}, {}, {}, {}, {}});
    ASSERT_TRUE(running);
    EXPECT_FALSE(manager_->reboots(kA));
    EXPECT_EQ(pages_in(ExtentState::Owned), 8U);
    crash();
  }
}

/// It has come back and runs with a part of its memory while the rest is scrubbed for it.
TEST_F(Recovery, AVmThatWasGrantedSomethingAfterItsRebootRuns) {
  start(*memory_);
  settle();
  ASSERT_TRUE(manager_->create_vm({kA, kCustomer, {}, {}, {}, {}, {}}));
  ASSERT_TRUE(manager_->create_vm({kB, kCustomer, {}, {}, {.enable = false}, {}, {}}));
  take(kA, 8);
  take(kB, 40);
  ASSERT_TRUE(manager_->terminate(kB));
  ASSERT_TRUE(manager_->begin_reboot(kA));
  bool waits = true;
  ASSERT_TRUE(manager_->finish_reboot(kA, ByteCount(30 * 4096), [&](const Result<Grant>&) { waits = false; }));
  std::optional<Grant> more;
  ASSERT_TRUE(manager_->allocate(kA, kPageSize, [&](const Result<Grant>& grant) { more = *grant; }));
  for (int round = 0; round < 100 && !more; ++round) {
    manager_->poll();
    if (!engine_->running().empty() && !more) engine_->end(0, Outcome::Zeroed, engine_->running()[0].job.memory.size());
  }
  ASSERT_TRUE(more);
  crash();
  start(*memory_);
  const auto all = manager_->adopt({kA, kCustomer, {}, {}, {}, {}, {}});
  ASSERT_TRUE(all);
  EXPECT_FALSE(manager_->reboots(kA));
  bool holds = false;
  for (const GrantedRange& range : all->ranges) {
    const std::byte* const page = more->ranges.at(0).memory.data();
    holds |= page >= range.memory.data() && page < range.memory.data() + range.memory.size();
  }
  EXPECT_TRUE(holds) << (waits ? "while the other claim waited" : "and all the rest");
}

TEST_F(Recovery, DoesNotTakeMemoryWithAPatternForClean) {
  start(*memory_);
  ASSERT_TRUE(manager_->create_vm({kA, kCustomer, {}, {}, {}, {.method = FillMethod::Ones}, {}}));
  take(kA, 64);
  ASSERT_TRUE(manager_->terminate(kA));
  settle();
  ASSERT_EQ(pages_in(ExtentState::Clean), 64U);
  crash();
  start(*memory_);
  EXPECT_EQ(pages_in(ExtentState::Dirty), 64U);
}

TEST_F(Recovery, AfterAnotherBootKnowsNothing) {
  start(*memory_);
  settle();
  ledger_.reset();
  ledger_ = open({.boot_id = "another", .before_store = {}});
  manager_ = MemoryManager::recover(*memory_, *engine_, *ledger_).value();
  EXPECT_EQ(pages_in(ExtentState::Dirty), 64U);
}

TEST_F(Recovery, KnowsMemoryInNamedFilesAgain) {
  const auto open_memory = [&] { return FileMemory::open(folder_.path(), ByteCount(16 * 4096), 2).value(); };
  auto memory = open_memory();
  start(*memory);
  settle();
  ASSERT_TRUE(manager_->create_vm({kA, kCustomer, {}, {}, {}, {}, {}}));
  const Grant grant = take(kA, 8);
  grant.ranges.at(0).memory[5] = std::byte{0x77};
  crash();
  memory.reset();
  memory = open_memory();
  start(*memory);
  EXPECT_EQ(pages_in(ExtentState::Clean), 24U);
  const auto adopted = manager_->adopt({kA, kCustomer, {}, {}, {}, {}, {}});
  ASSERT_TRUE(adopted);
  EXPECT_EQ(adopted->ranges.at(0).memory[5], std::byte{0x77});
  crash();
  memory.reset();
  const auto other_length = FileMemory::open(folder_.path(), ByteCount(4096), 2);
  ASSERT_FALSE(other_length);
  EXPECT_THAT(other_length.error().message, HasSubstr("brick-0 has 65536 bytes, not 4096"));
}

}  // namespace
}  // namespace sluice::test
