// SPDX-License-Identifier: Apache-2.0
// sluice-qemu as its user, or libvirt, meets it: with the real QEMU behind it, and a sluiced of the test's own.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "sluice/base/uuid.hpp"
#include "sluice/memory/backing_memory.hpp"
#include "sluice/vmm/sole_access.hpp"
#include "support/fake_sluiced.hpp"
#include "support/program.hpp"
#include "support/qemu.hpp"

namespace sluice::test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr ByteCount kBrick{32ULL << 20};
const std::string kUuid = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

class SluiceQemu : public ::testing::Test {
 protected:
  [[nodiscard]] std::string socket() const { return folder_ / "sluiced.sock"; }
  /// Runs it with these words; QEMU is a program that prints what it is given.
  [[nodiscard]] Outcome run(const std::string& words, const std::string& environment = "SLUICE_QEMU=/bin/echo") const {
    return run_program("SLUICE_SOCKET=" + socket() + " " + environment + " " + SLUICE_QEMU_WRAPPER + " " + words);
  }
  void start(Qemu& qemu, const std::vector<std::string>& arguments) const {
    qemu.set_program(SLUICE_QEMU_WRAPPER);
    for (const char* const variable : {"SLUICE_CUSTOMER=5", "SLUICE_GROUP=6", "SLUICE_POOL=7"}) {
      qemu.add_environment(variable);
    }
    qemu.add_environment("SLUICE_SOCKET=" + socket());
    qemu.add_environment(std::string("SLUICE_QEMU=") + SLUICE_QEMU);
    qemu.start(arguments, {});
  }

  TemporaryFolder folder_;
};

TEST_F(SluiceQemu, GivesTheGuestTheMemoryOfItsLeaseAndBecomesQemu) {
  const auto memory = *FileMemory::create(kBrick, 2);
  const int first = *open_again(memory->bricks()[0].fd), second = *open_again(memory->bricks()[1].fd);
  Qemu qemu;
  FakeSluiced sluiced(socket());
  const int monitor = ::dup(qemu.monitor());
  sluiced.give({{first, kBrick}, {second, kBrick}}, monitor);
  start(qemu, {"-name", "guest=web1,debug-threads=on", "-uuid", kUuid, "-m", "64"});
  const sluice_acquire& asked = sluiced.wait();
  for (const int fd : {first, second, monitor}) ::close(fd);
  ASSERT_EQ(qemu.line(), "boots 1") << qemu.printed();

  EXPECT_EQ(qemu.ask("mark 7 16 40"), "marked 10240");
  constexpr std::size_t kMark = (16 << 20) + 128, kMarkInSecond = 128;
  EXPECT_EQ(std::to_integer<char>(memory->bricks()[0].memory[kMark]), 'k');
  EXPECT_EQ(std::to_integer<char>(memory->bricks()[1].memory[kMarkInSecond]), 'k');
  EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(qemu.process()) + "/exe"), SLUICE_QEMU)
      << "the process that has the lease is QEMU";
  std::ifstream status("/proc/" + std::to_string(qemu.process()) + "/status");
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(status), {}), HasSubstr("\nSeccomp:\t2")) << "filtered";
  EXPECT_TRUE(qemu.says<qmp::Ready>()) << "by the monitor that came with the lease";

  Uuid vm;
  std::memcpy(vm.bytes.data(), asked.vm, sizeof asked.vm);
  EXPECT_EQ(to_string(vm), kUuid);
  EXPECT_STREQ(asked.name, "web1");
  EXPECT_EQ(asked.customer, 5U);
  EXPECT_EQ(asked.group, 6U);
  EXPECT_EQ(asked.pool, 7U);
  EXPECT_EQ(asked.size, 2 * kBrick.value());
  EXPECT_EQ(asked.brick_count, 0U);
  EXPECT_EQ(asked.node, SLUICE_ANY_NODE);
  EXPECT_EQ(asked.flags, SLUICE_FILTERED | SLUICE_WANTS_MONITOR);

  qemu.tell("off");
  ASSERT_TRUE(qemu.ends());
  EXPECT_EQ(qemu.qmp().end_reason(), EndReason::GuestShutDown);
  EXPECT_TRUE(take_sole_access(memory->bricks()[0].fd)) << "nothing of it is left in another process";
}

TEST_F(SluiceQemu, AsksForABrickForEachBackend) {
  const auto memory = *FileMemory::create(kBrick, 1);
  const int brick = *open_again(memory->bricks()[0].fd);
  Qemu qemu;
  FakeSluiced sluiced(socket());
  const int monitor = ::dup(qemu.monitor());
  sluiced.give({{brick, kBrick}}, monitor);
  start(qemu, {"-machine", "pc,memory-backend=pc.ram", "-m", "32", "-uuid", kUuid, "-sandbox",
               "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-object",
               R"({"qom-type":"memory-backend-memfd","id":"pc.ram","share":true,"size":33554432})"});
  const sluice_acquire& asked = sluiced.wait();
  for (const int fd : {brick, monitor}) ::close(fd);
  ASSERT_EQ(qemu.line(), "boots 1") << qemu.printed();
  EXPECT_EQ(asked.size, 0U);
  EXPECT_EQ(asked.brick_count, 1U);
  EXPECT_EQ(asked.bricks[0], kBrick.value());
}

TEST_F(SluiceQemu, WithoutAUuidDrawsOneAndSaysSo) {
  FakeSluiced sluiced(socket());
  sluiced.refuse("there is none");
  const Outcome outcome = run("-m 64");
  EXPECT_THAT(outcome.output, ContainsRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  Uuid vm;
  std::memcpy(vm.bytes.data(), sluiced.wait().vm, sizeof(sluice_acquire::vm));
  EXPECT_THAT(outcome.output, HasSubstr(to_string(vm)));
}

TEST_F(SluiceQemu, PassesQuestionsToQemuAsTheyAreAndAsksNobody) {
  EXPECT_EQ(run("-machine none -S -nodefaults -daemonize").output, "-machine none -S -nodefaults -daemonize\n");
  const Outcome version = run("-version", std::string("SLUICE_QEMU=") + SLUICE_QEMU);
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.output, HasSubstr("QEMU emulator version"));
}

TEST_F(SluiceQemu, StartsNothingWhereSomethingIsWrong) {
  const std::string line = "-m 64 -uuid " + kUuid;
  for (const auto& [words, environment, message] :
       {std::tuple{line, std::string("SLUICE_QEMU=/bin/echo"), "cannot connect to sluiced"},
        std::tuple{line + " -mem-prealloc", std::string("SLUICE_QEMU=/bin/echo"), "-mem-prealloc"},
        std::tuple{line, std::string("SLUICE_QEMU=/nowhere"), "the emulator '/nowhere' cannot be run"},
        std::tuple{line, std::string("SLUICE_QEMU=/"), "the emulator '/' cannot be run"},
        std::tuple{line, "SLUICE_QEMU=" + std::string(SLUICE_QEMU_WRAPPER), "is this program"},
        std::tuple{line, std::string("SLUICE_QEMU=/bin/echo SLUICE_POOL=my"), "SLUICE_POOL is 'my'"}}) {
    const Outcome outcome = run(words, environment);
    EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(message));
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
    EXPECT_THAT(outcome.output, Not(HasSubstr("\n-m"))) << "QEMU was not started";
  }
}

TEST_F(SluiceQemu, SaysWhySluicedRefuses) {
  FakeSluiced sluiced(socket());
  sluiced.refuse("no bricks of 64MiB: there are bricks of 1GiB");
  const Outcome outcome = run("-m 64 -uuid " + kUuid);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("no bricks of 64MiB: there are bricks of 1GiB"));
  EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
}

}  // namespace
}  // namespace sluice::test
