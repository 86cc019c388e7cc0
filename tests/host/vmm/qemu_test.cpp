// SPDX-License-Identifier: Apache-2.0
// The real QEMU, with a guest of our own, on memory that the test hands over: how its life is seen, and what is in its
// memory afterwards.
#include "support/qemu.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <sstream>

#include "sluice/memory/backing_memory.hpp"
#include "sluice/vmm/qemu_arguments.hpp"
#include "sluice/vmm/sole_access.hpp"

namespace sluice::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using Accelerator = Qemu::Accelerator;

constexpr ByteCount kBrick{32ULL << 20};
const std::string kMark = "mark 7 16 4", kCount = "count 7 16 4";
const std::string kAllMarked = "marked 1024", kAllFound = "found 1024", kNoneFound = "found 0";

std::vector<std::string> words(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<std::string>(in), {}};
}

class OfQemu : public ::testing::Test {
 protected:
  explicit OfQemu(std::uint32_t bricks = 1) : memory_(*FileMemory::create(kBrick, bricks)) {}

  [[nodiscard]] const Brick& brick(std::size_t number = 0) const { return memory_->bricks()[number]; }

  /// A guest with all bricks but the last `kept_back`.
  void start(Qemu& qemu, const std::string& line, std::size_t kept_back = 0) const {
    const auto plan = plan_qemu(words(line));
    ASSERT_TRUE(plan) << plan.error().message;
    std::vector<QemuBrick> bricks;
    std::vector<int> descriptors;
    for (std::size_t at = 0; at + kept_back < memory_->bricks().size(); ++at) {
      descriptors.push_back(*open_again(brick(at).fd));
      bricks.push_back({descriptors.back(), kBrick});
    }
    const auto arguments = with_memory(*plan, bricks, qemu.monitor());
    ASSERT_TRUE(arguments) << arguments.error().message;
    qemu.start(*arguments, descriptors);
    for (const int fd : descriptors) ::close(fd);
  }
  void boot(Qemu& qemu, const std::string& line = "-m 32", std::size_t kept_back = 0) const {
    start(qemu, line, kept_back);
    ASSERT_THAT(qemu.line(), HasSubstr("boots ")) << qemu.printed();
  }
  void scrub() const {
    for (const Brick& each : memory_->bricks()) std::ranges::fill(each.memory, std::byte{0});
  }

  std::unique_ptr<FileMemory> memory_;
};

std::vector<Accelerator> accelerators() {
  if (Qemu::has_kvm()) return {Accelerator::Tcg, Accelerator::Kvm};
  return {Accelerator::Tcg};
}

TEST_F(OfQemu, TheGuestBootsOnTheMemoryThatItWasGivenAndAnswers) {
  for (const Accelerator accelerator : accelerators()) {
    for (const std::string machine : {"pc", "q35"}) {
      SCOPED_TRACE(machine + (accelerator == Accelerator::Kvm ? " kvm" : " tcg"));
      scrub();
      Qemu qemu;
      qemu.set_accelerator(accelerator);
      boot(qemu, "-m 32 -machine " + machine);
      EXPECT_EQ(qemu.ask("hello"), "boots 1");
      EXPECT_EQ(qemu.ask(kMark), kAllMarked);
      EXPECT_EQ(qemu.ask(kCount), kAllFound);
      EXPECT_EQ(qemu.ask("count 8 16 4"), kNoneFound);
      constexpr std::size_t kFirstMark = (16 << 20) + 128;
      EXPECT_EQ(std::to_integer<char>(brick().memory[kFirstMark]), 'k') << "the mark is in our memory";
      EXPECT_EQ(qemu.ask("fill 16 1"), "filled 256");
      EXPECT_EQ(qemu.ask(kCount), "found 768");
    }
  }
}

TEST_F(OfQemu, ARebootIsAResetByTheGuestAndKeepsItsMemory) {
  for (const Accelerator accelerator : accelerators()) {
    scrub();
    Qemu qemu;
    qemu.set_accelerator(accelerator);
    boot(qemu);
    EXPECT_EQ(qemu.ask(kMark), kAllMarked);
    EXPECT_EQ(qemu.ask("reboot"), "boots 2");
    EXPECT_EQ(qemu.ask(kCount), kAllFound);
    EXPECT_TRUE(qemu.says<qmp::Reset>());
    EXPECT_THAT(qemu.events(), Contains(QmpEvent(qmp::Reset{true})));
    EXPECT_EQ(qemu.qmp().end_reason(), EndReason::None);
  }
}

TEST_F(OfQemu, ARebootThatEndsTheProcessIsNoShutDown) {
  for (const std::string line : {"-m 32 -action reboot=shutdown", "-m 32 -no-reboot"}) {
    Qemu qemu;
    boot(qemu, line);
    qemu.tell("reboot");
    ASSERT_TRUE(qemu.ends()) << line;
    EXPECT_EQ(qemu.qmp().end_reason(), EndReason::GuestReset) << line;
  }
  Qemu qemu;
  boot(qemu, "-m 32 -no-reboot");
  ASSERT_TRUE(qemu.qmp().system_reset());
  ASSERT_TRUE(qemu.ends());
  EXPECT_EQ(qemu.qmp().end_reason(), EndReason::GuestReset) << "asked for by the monitor";
}

TEST_F(OfQemu, EachWayToEndIsToldFromTheOthers) {
  const auto reason_of = [&](const auto& end) {
    Qemu qemu;
    boot(qemu);
    EXPECT_TRUE(qemu.says<qmp::Ready>());
    end(qemu);
    EXPECT_TRUE(qemu.ends());
    return qemu.qmp().end_reason();
  };
  EXPECT_EQ(reason_of([](Qemu& qemu) { qemu.tell("off"); }), EndReason::GuestShutDown);
  EXPECT_EQ(reason_of([](Qemu& qemu) { qemu.tell("panic"); }), EndReason::GuestPanic);
  EXPECT_EQ(reason_of([](Qemu& qemu) { EXPECT_TRUE(qemu.qmp().quit()); }), EndReason::HostQuit);
  EXPECT_EQ(reason_of([](Qemu& qemu) { qemu.send_signal(SIGTERM); }), EndReason::HostSignal);
  EXPECT_EQ(reason_of([](Qemu& qemu) { qemu.send_signal(SIGKILL); }), EndReason::None);
}

TEST_F(OfQemu, AVmThatPausesInItsEndKeepsItsFirstReason) {
  Qemu qemu;
  boot(qemu, "-m 32 -machine q35 -no-shutdown");
  qemu.tell("off");
  ASSERT_TRUE(qemu.says<qmp::ShutDown>());
  EXPECT_EQ(qemu.reply_to(qemu.qmp().query_status()).status, "shutdown");
  qemu.send_signal(SIGTERM);
  ASSERT_TRUE(qemu.ends());
  EXPECT_THAT(qemu.events(), Contains(QmpEvent(qmp::ShutDown{"host-signal", false})));
  EXPECT_EQ(qemu.qmp().end_reason(), EndReason::GuestShutDown);
}

TEST_F(OfQemu, AGuestThatGoesOnAfterItsPanicHasNotEnded) {
  Qemu qemu;
  boot(qemu, "-m 32 -action panic=none");
  qemu.tell("panic");
  ASSERT_TRUE(qemu.says<qmp::Panicked>());
  EXPECT_EQ(qemu.qmp().end_reason(), EndReason::None);
  EXPECT_EQ(qemu.ask("hello"), "boots 1");
}

TEST_F(OfQemu, ARebootCanBeHeldUntilItIsLetGo) {
  Qemu qemu;
  boot(qemu, "-m 32 -action reboot=shutdown,shutdown=pause");
  qemu.tell("reboot");
  ASSERT_TRUE(qemu.says<qmp::ShutDown>());
  EXPECT_EQ(qemu.qmp().end_reason(), EndReason::GuestReset);
  EXPECT_EQ(qemu.reply_to(qemu.qmp().set_action(Qmp::OnReboot::Reset, Qmp::OnShutDown::Pause)).error, "");
  EXPECT_EQ(qemu.reply_to(qemu.qmp().system_reset()).error, "");
  EXPECT_EQ(qemu.reply_to(qemu.qmp().cont()).error, "");
  EXPECT_EQ(qemu.line(), "boots 2");
  EXPECT_EQ(qemu.qmp().end_reason(), EndReason::None) << "it runs again";
  EXPECT_EQ(qemu.reply_to(qemu.qmp().query_status()).status, "running");
}

TEST_F(OfQemu, TheMonitorCanBeConnectedToAgain) {
  Qemu qemu;
  boot(qemu);
  ASSERT_TRUE(qemu.says<qmp::Ready>());
  qemu.connect();
  EXPECT_TRUE(qemu.says<qmp::Ready>());
  EXPECT_EQ(qemu.reply_to(qemu.qmp().stop()).error, "");
  EXPECT_TRUE(qemu.says<qmp::Stopped>());
  EXPECT_EQ(qemu.reply_to(qemu.qmp().query_status()).status, "paused");
}

TEST_F(OfQemu, TheNextVmFindsWhatWasLeftUnlessItWasScrubbed) {
  const auto next_finds = [&] {
    Qemu next;
    boot(next);
    return next.ask(kCount);
  };
  {
    Qemu first;
    boot(first);
    EXPECT_EQ(first.ask(kMark), kAllMarked);
    first.send_signal(SIGKILL);
    ASSERT_TRUE(first.ends());
  }
  EXPECT_EQ(next_finds(), kAllFound) << "the control: it can be found";
  scrub();
  EXPECT_EQ(next_finds(), kNoneFound);
}

TEST_F(OfQemu, NobodyHasSoleAccessToTheMemoryOfAVmUntilItHasEnded) {
  Qemu qemu;
  boot(qemu);
  const auto refused = take_sole_access(brick().fd);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("qemu-system-x86 (process " + std::to_string(qemu.process())));
  qemu.send_signal(SIGSTOP);
  EXPECT_FALSE(take_sole_access(brick().fd)) << "stopped, and not gone";
  qemu.send_signal(SIGKILL);
  ASSERT_TRUE(qemu.ends());
  const auto taken = take_sole_access(brick().fd);
  EXPECT_TRUE(taken) << taken.error().message;
  end_sole_access(brick().fd);
}

class OfQemuWithBricks : public OfQemu {
 protected:
  OfQemuWithBricks() : OfQemu(3) {}
};

TEST_F(OfQemuWithBricks, ThreeBricksAreTheNodesOfOneGuest) {
  Qemu qemu;
  boot(qemu, "-m 96");
  EXPECT_EQ(qemu.ask("mark 7 16 80"), "marked 20480");
  EXPECT_EQ(qemu.ask("count 7 16 80"), "found 20480");
  for (std::size_t number = 0; number < 3; ++number) {
    const MemorySpan memory = brick(number).memory;
    std::size_t marked = 0;
    for (std::size_t page = 0; page < memory.size(); page += kPageSize.value()) {
      marked += std::to_integer<char>(memory[page + 128]) == 'k' ? 1 : 0;
    }
    EXPECT_EQ(marked, number == 0 ? 4096U : 8192U) << "brick " << number;
  }
}

TEST_F(OfQemuWithBricks, BackendsOfACommandLineAreReplacedWhereTheyAre) {
  Qemu qemu;
  boot(
      qemu,
      "-machine pc,memory-backend=pc.ram -m 32,slots=2,maxmem=1G "
      R"(-object {"qom-type":"memory-backend-memfd","id":"pc.ram","share":true,"x-use-canonical-path-for-ramblock-id":false,"size":33554432} )"
      "-object memory-backend-ram,id=more,size=32M -device pc-dimm,id=d1,memdev=more "
      R"(-object {"qom-type":"memory-backend-ram","id":"most","size":33554432,"dump":false} -device {"driver":"pc-dimm","memdev":"most","id":"d2"})");
  EXPECT_EQ(qemu.ask(kMark), kAllMarked);
  for (std::size_t number = 0; number < 3; ++number) {
    EXPECT_THAT(take_sole_access(brick(number).fd).error().message, HasSubstr(", mapped)")) << "brick " << number;
  }
}

TEST_F(OfQemuWithBricks, MemoryIsPluggedInByTheMonitor) {
  Qemu qemu;
  boot(qemu, "-m 64,slots=4,maxmem=1G", 1);
  const int given = *open_again(brick(2).fd);
  const qmp::Reply added = qemu.reply_to(qemu.qmp().add_descriptor(1, given));
  ::close(given);
  ASSERT_GE(added.descriptor, 0) << added.error;
  EXPECT_EQ(qemu.reply_to(qemu.qmp().add_memory("m1", kBrick, added.descriptor)).error, "");
  EXPECT_EQ(qemu.reply_to(qemu.qmp().add_dimm("d1", "m1")).error, "");
  EXPECT_THAT(take_sole_access(brick(2).fd).error().message, HasSubstr("mapped"));
  EXPECT_THAT(qemu.reply_to(qemu.qmp().delete_object("m1")).error, HasSubstr("GenericError")) << "it is plugged in";
  EXPECT_EQ(qemu.reply_to(qemu.qmp().delete_device("d1")).error, "") << "the guest is asked, and has no ACPI";
  EXPECT_THAT(qemu.reply_to(qemu.qmp().delete_device("d7")).error, HasSubstr("DeviceNotFound"));
  EXPECT_NE(qemu.reply_to(qemu.qmp().balloon(kBrick)).error, "") << "there is none";
}

TEST_F(OfQemuWithBricks, MemoryThatNoDeviceHasIsTakenAwayByTheMonitor) {
  Qemu qemu;
  boot(qemu, "-m 64", 1);
  const int given = *open_again(brick(2).fd);
  const qmp::Reply added = qemu.reply_to(qemu.qmp().add_descriptor(1, given));
  ::close(given);
  EXPECT_EQ(qemu.reply_to(qemu.qmp().add_memory("m1", kBrick, added.descriptor)).error, "");
  EXPECT_FALSE(take_sole_access(brick(2).fd));
  EXPECT_EQ(qemu.reply_to(qemu.qmp().delete_object("m1")).error, "");
  EXPECT_EQ(qemu.reply_to(qemu.qmp().remove_descriptors(1)).error, "");
  EXPECT_EQ(qemu.reply_to(qemu.qmp().stop()).error, "") << "a guest that computes without a pause keeps QEMU from it";
  EXPECT_TRUE(comes_true([&] { return take_sole_access(brick(2).fd).has_value(); })) << "QEMU unmaps it after a while";
  end_sole_access(brick(2).fd);
}

}  // namespace
}  // namespace sluice::test
