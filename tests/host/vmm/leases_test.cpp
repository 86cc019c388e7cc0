// SPDX-License-Identifier: Apache-2.0
// What leases do with a VM's bricks, whoever still has them: with answers of the test's own in place of the kernel's.
#include "sluice/vmm/leases.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include "sluice/memory/extent_table.hpp"
#include "support/manual_engine.hpp"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr std::uint64_t kBrick = 16 << 10;
constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr CustomerId kCustomer{1};

/// Knows who has which brick because the test says so.
class ScriptedAccess final : public BrickAccess {
 public:
  Result<int> open(const Brick& brick) override {
    if (opens_left == 0) return Error{HostErrc::NoResources, "no descriptor is left"};
    --opens_left;
    sole.erase(brick.memory.data());
    return ::open("/dev/null", O_RDWR | O_CLOEXEC);
  }
  Result<bool> take(const Brick& brick) override {
    ++takes;
    if (held.contains(brick.memory.data())) return false;
    sole.insert(brick.memory.data());
    return true;
  }
  Result<void> renew(const Brick& brick) override {
    EXPECT_TRUE(sole.contains(brick.memory.data())) << "renewed while somebody may still write to it";
    if (lacks_pages) return Error{HostErrc::NoResources, "the kernel has no pages"};
    ++renewals;
    std::ranges::fill(brick.memory, std::byte{0});
    return {};
  }
  Result<std::vector<Holder>> holders(const Brick& brick) override {
    if (!held.contains(brick.memory.data())) return std::vector<Holder>{};
    return std::vector<Holder>{{held.at(brick.memory.data()), "straggler", true}};
  }

  std::map<const std::byte*, pid_t> held;
  std::set<const std::byte*> sole;
  int opens_left = 1000;
  int takes = 0;
  int renewals = 0;
  bool lacks_pages = false;
};

/// Eight whole bricks.
class LeasesTest : public ::testing::Test {
 protected:
  LeasesTest() : memory_(8 * kBrick, std::byte{0xEE}) {
    std::vector<Brick> bricks;
    for (std::size_t at = 0; at < 8; ++at) {
      bricks.push_back({.memory = memory_.part(at * kBrick, kBrick), .whole = true});
    }
    host_ = *ForeignMemory::create(bricks);
    manager_ = *MemoryManager::create(*host_, engine_);
    leases_.emplace(*manager_, *host_, access_, [this](VmId vm) { return manager_->terminate(vm); });
    settle();
  }
  ~LeasesTest() override {
    ending_ = true;
    leases_.reset();
    manager_.reset();
  }

  void settle() {
    for (int round = 0; round < 1000 && manager_->has_work(); ++round) {
      manager_->poll();
      engine_.end_all();
    }
    manager_->poll();
  }
  void pass(std::chrono::nanoseconds time) {
    now_ += time;
    leases_->poll(now_);
    settle();
  }
  void create(VmId vm) { ASSERT_TRUE(manager_->create_vm({.vm = vm, .customer = kCustomer})); }
  LeaseHandler into(std::optional<Result<LeaseGrant>>& result) {
    return [this, &result](Result<LeaseGrant> grant) {
      if (grant) {
        for (const int fd : grant->descriptors) ::close(fd);
      }
      if (!ending_) result.emplace(std::move(grant));
    };
  }
  Result<LeaseGrant> acquire(VmId vm, std::uint64_t bricks, bool filtered = true) {
    std::optional<Result<LeaseGrant>> result;
    if (auto asked = leases_->acquire(vm, ByteCount(bricks * kBrick), filtered, into(result)); !asked) {
      return asked.error();
    }
    settle();
    return std::move(*result);
  }
  [[nodiscard]] MemorySpan memory_of(const LeasedBrick& brick) const { return host_->bricks()[brick.number].memory; }
  [[nodiscard]] LeaseState state_of(VmId vm) const { return leases_->find(vm).value().state; }

  ScriptedAccess access_;
  Memory memory_;
  std::unique_ptr<ForeignMemory> host_;
  ManualEngine engine_;
  std::unique_ptr<MemoryManager> manager_;
  std::optional<Leases> leases_;
  std::chrono::nanoseconds now_{1s};
  bool ending_ = false;
};

TEST_F(LeasesTest, AVmHasCleanBricksAndADescriptorOfEach) {
  create(kA);
  const auto grant = acquire(kA, 3);
  ASSERT_TRUE(grant) << grant.error().message;
  EXPECT_EQ(grant->id, (LeaseId{kA, 1}));
  EXPECT_THAT(grant->bricks, SizeIs(3));
  EXPECT_THAT(grant->descriptors, SizeIs(3));
  for (const LeasedBrick& brick : grant->bricks) {
    EXPECT_FALSE(brick.recycled);
    EXPECT_EQ(first_not(memory_of(brick), std::byte{0}), std::nullopt);
  }
  EXPECT_EQ(state_of(kA), LeaseState::Running);
  EXPECT_EQ(leases_->acquire(kA, ByteCount(kBrick), true, {}).error().code, HostErrc::WrongState);
}

TEST_F(LeasesTest, NothingOfAProcessThatEndedIsScrubbedWhileSomebodyHasIt) {
  create(kA);
  const auto grant = acquire(kA, 2);
  const MemorySpan held = memory_of(grant->bricks[0]);
  const MemorySpan free = memory_of(grant->bricks[1]);
  std::ranges::fill(held, std::byte{0xAA});
  std::ranges::fill(free, std::byte{0xAA});
  access_.held[held.data()] = 4711;
  ASSERT_TRUE(leases_->process_ended(kA, false));
  pass(0s);
  EXPECT_EQ(state_of(kA), LeaseState::Ending);
  pass(200ms);
  EXPECT_EQ(state_of(kA), LeaseState::Quarantined);
  EXPECT_THAT(leases_->find(kA)->holders, ElementsAre(Holder{4711, "straggler", true}));
  EXPECT_THAT(leases_->find(kA)->obstacle, HasSubstr("straggler (process 4711"));
  // The brick that nobody else has need not wait.
  EXPECT_THAT(leases_->find(kA)->bricks, ElementsAre(grant->bricks[0]));
  EXPECT_EQ(first_not(held, std::byte{0xAA}), std::nullopt);
  EXPECT_EQ(first_not(free, std::byte{0}), std::nullopt);
  create(kB);
  EXPECT_EQ(acquire(kB, 8).error().code, HostErrc::OutOfMemory);
  access_.held.clear();
  pass(2s);
  EXPECT_FALSE(leases_->find(kA));
  EXPECT_EQ(first_not(held, std::byte{0}), std::nullopt);
}

TEST_F(LeasesTest, AVmThatRebootsGetsItsBricksBackUnderANewEpoch) {
  create(kA);
  const auto first = acquire(kA, 3);
  for (const LeasedBrick& brick : first->bricks) std::ranges::fill(memory_of(brick), std::byte{0xAA});
  ASSERT_TRUE(leases_->process_ended(kA, true));
  pass(0s);
  EXPECT_EQ(state_of(kA), LeaseState::Reserved);
  EXPECT_THAT(leases_->find(kA)->bricks, IsEmpty());
  const auto second = acquire(kA, 3);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->id, (LeaseId{kA, 2}));
  std::set<std::uint32_t> numbers;
  for (const LeasedBrick& brick : first->bricks) numbers.insert(brick.number);
  for (const LeasedBrick& brick : second->bricks) {
    EXPECT_TRUE(brick.recycled);
    EXPECT_EQ(brick.reason, Reason::SameVmAfterReboot);
    EXPECT_EQ(numbers.erase(brick.number), 1U);
    EXPECT_EQ(first_not(memory_of(brick), std::byte{0xAA}), std::nullopt);
  }
}

TEST_F(LeasesTest, ARebootWaitsForAllBricks) {
  create(kA);
  const auto grant = acquire(kA, 2);
  access_.held[memory_of(grant->bricks[1]).data()] = 4711;
  ASSERT_TRUE(leases_->process_ended(kA, true));
  pass(0s);
  pass(1s);
  EXPECT_EQ(state_of(kA), LeaseState::Quarantined);
  EXPECT_THAT(leases_->find(kA)->bricks, SizeIs(2));
  const auto refused = leases_->acquire(kA, ByteCount(2 * kBrick), true, {});
  EXPECT_THAT(refused.error().message, HasSubstr("quarantined"));
  access_.held.clear();
  pass(2s);
  EXPECT_EQ(state_of(kA), LeaseState::Reserved);
}

TEST_F(LeasesTest, AReservationCanBeGivenUp) {
  create(kA);
  ASSERT_TRUE(acquire(kA, 2));
  EXPECT_EQ(leases_->give_up(kA).error().code, HostErrc::WrongState);
  ASSERT_TRUE(leases_->process_ended(kA, true));
  pass(0s);
  ASSERT_TRUE(leases_->give_up(kA));
  EXPECT_FALSE(leases_->find(kA));
  settle();
  EXPECT_EQ(manager_->extents().bytes(ExtentState::Clean), ByteCount(8 * kBrick));
}

TEST_F(LeasesTest, WhatAProcessMayHavePinnedIsRenewedFirst) {
  create(kA);
  const auto grant = acquire(kA, 2, false);
  for (const LeasedBrick& brick : grant->bricks) std::ranges::fill(memory_of(brick), std::byte{0xAA});
  access_.lacks_pages = true;
  ASSERT_TRUE(leases_->process_ended(kA, false));
  pass(0s);
  pass(1s);
  EXPECT_EQ(state_of(kA), LeaseState::Quarantined);
  EXPECT_THAT(leases_->find(kA)->obstacle, HasSubstr("no pages"));
  EXPECT_THAT(leases_->find(kA)->bricks, SizeIs(2));
  access_.lacks_pages = false;
  pass(2s);
  EXPECT_FALSE(leases_->find(kA));
  EXPECT_EQ(access_.renewals, 2);
  create(kB);
  ASSERT_TRUE(acquire(kB, 2));
  ASSERT_TRUE(leases_->process_ended(kB, false));
  pass(0s);
  EXPECT_EQ(access_.renewals, 2) << "the process had given up what can pin pages";
}

TEST_F(LeasesTest, GrowsAndGivesBricksBackWhileItRuns) {
  create(kA);
  const auto first = acquire(kA, 2);
  std::optional<Result<LeaseGrant>> more;
  ASSERT_TRUE(leases_->grow(first->id, ByteCount(kBrick), into(more)));
  EXPECT_EQ(leases_->grow(first->id, ByteCount(kBrick), {}).error().code, HostErrc::WrongState);
  settle();
  ASSERT_TRUE(more && *more);
  EXPECT_THAT((*more)->bricks, SizeIs(1));
  EXPECT_THAT(leases_->find(kA)->bricks, SizeIs(3));

  const std::uint32_t number = (*more)->bricks[0].number;
  const MemorySpan memory = host_->bricks()[number].memory;
  std::ranges::fill(memory, std::byte{0xAA});
  access_.held[memory.data()] = 4711;  // QEMU has it for a moment after it said that the dimm is gone
  std::optional<Result<void>> given;
  const auto back = [&](Result<void> result) { given.emplace(std::move(result)); };
  ASSERT_TRUE(leases_->give_back(first->id, std::vector{number}, back));
  EXPECT_EQ(leases_->give_back(first->id, std::vector{number}, back).error().code, HostErrc::WrongState);
  pass(0s);
  EXPECT_FALSE(given);
  access_.held.clear();
  pass(50ms);
  ASSERT_TRUE(given);
  EXPECT_TRUE(*given);
  EXPECT_THAT(leases_->find(kA)->bricks, SizeIs(2));
  EXPECT_EQ(first_not(memory, std::byte{0}), std::nullopt);
}

TEST_F(LeasesTest, ABrickThatSomebodyKeepsIsNotGivenBack) {
  create(kA);
  const auto grant = acquire(kA, 2);
  const std::uint32_t number = grant->bricks[0].number;
  EXPECT_EQ(leases_->give_back(grant->id, std::vector{number, number}, {}).error().code, HostErrc::NotHeld);
  EXPECT_EQ(leases_->give_back({kA, 2}, std::vector{number}, {}).error().code, HostErrc::UnknownId);
  access_.held[memory_of(grant->bricks[0]).data()] = 4711;
  std::optional<Result<void>> given;
  ASSERT_TRUE(leases_->give_back(grant->id, std::vector{number},
                                 [&](Result<void> result) { given.emplace(std::move(result)); }));
  pass(0s);
  pass(200ms);
  ASSERT_TRUE(given);
  EXPECT_EQ(given->error().code, HostErrc::WrongState);
  EXPECT_THAT(given->error().message, HasSubstr("straggler (process 4711"));
  EXPECT_EQ(state_of(kA), LeaseState::Running);
  EXPECT_THAT(leases_->find(kA)->bricks, SizeIs(2));
}

TEST_F(LeasesTest, AProcessThatEndsEndsWhatItWasAbout) {
  create(kA);
  const auto grant = acquire(kA, 2);
  std::optional<Result<void>> given;
  ASSERT_TRUE(leases_->give_back(grant->id, std::vector{grant->bricks[0].number},
                                 [&](Result<void> result) { given.emplace(std::move(result)); }));
  std::optional<Result<LeaseGrant>> more;
  ASSERT_TRUE(leases_->grow(grant->id, ByteCount(kBrick), into(more)));
  ASSERT_TRUE(leases_->process_ended(kA, false));
  EXPECT_EQ(leases_->process_ended(kA, false).error().code, HostErrc::WrongState);
  settle();
  pass(0s);
  pass(2ms);
  ASSERT_TRUE(given && more);
  EXPECT_EQ(given->error().code, HostErrc::Abandoned);
  EXPECT_EQ(more->error().code, HostErrc::Abandoned);
  EXPECT_FALSE(leases_->find(kA));
  EXPECT_EQ(manager_->extents().bytes(ExtentState::Clean), ByteCount(8 * kBrick));
}

TEST_F(LeasesTest, AVmThatWaitsCanGo) {
  create(kA);
  create(kB);
  ASSERT_TRUE(acquire(kA, 8));
  ASSERT_TRUE(leases_->process_ended(kA, false));
  leases_->poll(now_);  // dirty now, and not scrubbed
  std::optional<Result<LeaseGrant>> result;
  ASSERT_TRUE(leases_->acquire(kB, ByteCount(4 * kBrick), true, into(result)));
  EXPECT_EQ(state_of(kB), LeaseState::Waiting);
  ASSERT_TRUE(leases_->process_ended(kB, false));
  settle();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code, HostErrc::Abandoned);
  EXPECT_FALSE(leases_->find(kB));
  EXPECT_FALSE(manager_->profile(kB));
}

TEST_F(LeasesTest, NoDescriptorLeftIsAnErrorThatHoldsNothing) {
  create(kA);
  access_.opens_left = 2;
  const auto grant = acquire(kA, 3);
  EXPECT_EQ(grant.error().code, HostErrc::NoResources);
  EXPECT_FALSE(leases_->find(kA));
  settle();
  EXPECT_EQ(manager_->extents().bytes(ExtentState::Clean), ByteCount(8 * kBrick));

  create(kB);
  access_.opens_left = 2;
  const auto running = acquire(kB, 2);
  ASSERT_TRUE(running);
  std::optional<Result<LeaseGrant>> more;
  ASSERT_TRUE(leases_->grow(running->id, ByteCount(kBrick), into(more)));
  settle();
  EXPECT_EQ(more->error().code, HostErrc::NoResources);
  EXPECT_THAT(leases_->find(kB)->bricks, SizeIs(2));
  EXPECT_EQ(manager_->extents().bytes(ExtentState::Clean), ByteCount(6 * kBrick));
}

TEST_F(LeasesTest, LooksLessAndLessOften) {
  create(kA);
  const auto grant = acquire(kA, 1);
  access_.held[memory_of(grant->bricks[0]).data()] = 4711;
  access_.takes = 0;
  ASSERT_TRUE(leases_->process_ended(kA, false));
  for (int passed = 0; passed < 60'000; ++passed) {
    now_ += 1ms;
    if (leases_->next_look() && *leases_->next_look() <= now_) leases_->poll(now_);
  }
  EXPECT_GE(access_.takes, 60);
  EXPECT_LE(access_.takes, 75);
}

TEST_F(LeasesTest, FreeBricksThatSomebodyHasAreNamed) {
  create(kA);
  const auto grant = acquire(kA, 1);
  access_.held[memory_of(grant->bricks[0]).data()] = 4711;
  ASSERT_TRUE(leases_->take_free_bricks());
  EXPECT_THAT(access_.sole, SizeIs(7));
  const std::uint32_t other = (grant->bricks[0].number + 1) % 8;
  access_.held[host_->bricks()[other].memory.data()] = 4712;
  EXPECT_THAT(leases_->take_free_bricks().error().message, HasSubstr("straggler (process 4712"));
}

TEST_F(LeasesTest, GoesOnWithLeasesOfAnEarlierProcess) {
  create(kA);
  const auto grant = acquire(kA, 2);
  Grant adopted;
  for (const LeasedBrick& brick : grant->bricks) adopted.ranges.push_back({.memory = memory_of(brick)});
  leases_.emplace(*manager_, *host_, access_, [this](VmId vm) { return manager_->terminate(vm); });
  Grant cut;
  cut.ranges.push_back({.memory = memory_of(grant->bricks[0]).first(4096)});
  EXPECT_EQ(leases_->restore({kA, 7}, cut, true).error().code, HostErrc::InvalidArgument);
  ASSERT_TRUE(leases_->restore({kA, 7}, adopted, true));
  EXPECT_EQ(leases_->restore({kA, 8}, adopted, true).error().code, HostErrc::WrongState);
  EXPECT_EQ(state_of(kA), LeaseState::Running);
  ASSERT_TRUE(leases_->process_ended(kA, true));
  pass(0s);
  EXPECT_EQ(acquire(kA, 2)->id, (LeaseId{kA, 8}));
}

}  // namespace
}  // namespace sluice::test
