// SPDX-License-Identifier: Apache-2.0
// A real sluiced, and processes that are VMMs: who gets which memory, and what is in it.
#include "support/sluiced.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <random>

#include "sluice/daemon/audit.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kAll = 4 * kMiB;  ///< Of Sluiced, as it is without more words.
constexpr std::uint8_t kA = 1;
constexpr std::uint8_t kB = 2;
constexpr std::uint8_t kSecret = 0xA5;

TEST(SluicedTest, WhatAVmLeavesBehindIsScrubbedBeforeAnotherGetsIt) {
  const Sluiced sluiced;
  Vmm first(sluiced);
  const auto given = first.acquire(kA, kAll);
  ASSERT_EQ(given.refused, 0);
  EXPECT_EQ(given.bricks, 4U);
  EXPECT_EQ(given.found, 0U);
  first.fill(kSecret);
  Vmm second(sluiced);
  EXPECT_EQ(second.acquire(kB, kMiB).refused, SLUICE_REFUSED_NO_MEMORY);
  first.end();
  const Client client(sluiced.socket());
  EXPECT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE));
  const auto next = second.acquire(kB, kAll);
  ASSERT_EQ(next.refused, 0) << sluiced.log();
  EXPECT_EQ(next.recycled, 0U);
  EXPECT_EQ(next.found, 0U);
}

TEST(SluicedTest, AVmThatRebootsGetsItsMemoryAsItWas) {
  const Sluiced sluiced;
  const Client client(sluiced.socket());
  Vmm first(sluiced);
  first.filter();
  ASSERT_EQ(first.acquire(kA, 2 * kMiB).refused, 0);
  first.fill(kSecret);
  first.notify(SLUICE_EVENT_REBOOT);
  first.end();
  ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_RESERVED)) << sluiced.log();
  Vmm other(sluiced);
  EXPECT_EQ(other.acquire(kB, kAll).refused, SLUICE_REFUSED_NO_MEMORY);
  Vmm again(sluiced);
  const auto given = again.acquire(kA, 2 * kMiB);
  EXPECT_EQ(given.recycled, 2U);
  EXPECT_EQ(given.found, kSecret);
  EXPECT_EQ(given.epoch, 2U);
}

TEST(SluicedTest, AVmThatWasKilledGetsZeros) {
  const Sluiced sluiced;
  const Client client(sluiced.socket());
  Vmm first(sluiced);
  first.filter();
  ASSERT_EQ(first.acquire(kA, kAll).refused, 0);
  first.fill(kSecret);
  EXPECT_EQ(client.status(kA).size, kAll);
  first.end();
  ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE));
  Vmm again(sluiced);
  EXPECT_EQ(again.acquire(kA, kAll).found, 0U);
}

TEST(SluicedTest, MemoryThatSomebodyStillHasIsQuarantinedAndHeIsNamed) {
  const Sluiced sluiced;
  const Client client(sluiced.socket());
  Vmm first(sluiced);
  ASSERT_EQ(first.acquire(kA, kAll).refused, 0);
  first.fill(kSecret);
  const pid_t straggler = first.leave_straggler();
  first.end();
  ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_QUARANTINED)) << sluiced.log();
  const sluice_state state = client.status(kA);
  EXPECT_EQ(state.holder_count, 1U);
  EXPECT_EQ(state.holders[0], static_cast<std::uint32_t>(straggler));
  Vmm second(sluiced);
  EXPECT_EQ(second.acquire(kB, kMiB).refused, SLUICE_REFUSED_NO_MEMORY);
  EXPECT_EQ(second.acquire(kA, kMiB).refused, SLUICE_REFUSED_WRONG_STATE);
  ::kill(straggler, SIGKILL);
  ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE)) << sluiced.log();
  EXPECT_EQ(second.acquire(kB, kAll).found, 0U);
}

/// vmsplice keeps the page of an unfiltered process readable in a pipe, for whoever has that.
TEST(SluicedTest, PagesThatAVmHasPinnedShowNothingOfTheNext) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);  // inherited
  {
    const Sluiced sluiced;
    const Client client(sluiced.socket());
    Vmm first(sluiced);
    ASSERT_EQ(first.acquire(kA, kAll).refused, 0);
    first.fill(0x11);
    ASSERT_EQ(first.pin(pipe[1]), 4096);
    first.end();
    ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE)) << sluiced.log();
    Vmm second(sluiced);
    EXPECT_EQ(second.acquire(kB, kAll).found, 0U);
    second.fill(kSecret);
    std::array<unsigned char, 4096> page{};
    ASSERT_EQ(::read(pipe[0], page.data(), page.size()), 4096);
    EXPECT_EQ(page[64], 0x11);
    EXPECT_EQ(std::ranges::count(page, kSecret), 0);
  }
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST(SluicedTest, GrowsAndShrinksWhileItRuns) {
  const Sluiced sluiced;
  const Client client(sluiced.socket());
  Vmm vmm(sluiced);
  ASSERT_EQ(vmm.acquire(kA, kMiB).refused, 0);
  EXPECT_EQ(vmm.grow(kMiB), 0);
  EXPECT_EQ(vmm.grow(2 * kMiB), SLUICE_REFUSED_SIZE);
  vmm.fill(kSecret);
  EXPECT_EQ(client.status(kA).brick_count, 2U);
  EXPECT_EQ(vmm.shrink(false), SLUICE_REFUSED_WRONG_STATE) << "it has the brick still";
  EXPECT_EQ(client.status(kA).brick_count, 2U);
  EXPECT_EQ(vmm.shrink(true), 0) << sluiced.log();
  EXPECT_EQ(client.status(kA).brick_count, 1U);
  EXPECT_EQ(vmm.look(), kSecret);
  Vmm other(sluiced);
  EXPECT_EQ(other.acquire(kB, 3 * kMiB).found, 0U);
}

TEST(SluicedTest, AProcessCanLetGoOfItsVmAndLive) {
  const Sluiced sluiced;
  const Client client(sluiced.socket());
  Vmm vmm(sluiced);
  ASSERT_EQ(vmm.acquire(kA, kAll).refused, 0);
  vmm.fill(kSecret);
  EXPECT_EQ(vmm.release(), 0);
  EXPECT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE)) << sluiced.log();
  EXPECT_EQ(vmm.acquire(kB, kAll).found, 0U);
}

TEST(SluicedTest, AStoppedVmmKeepsItsMemory) {
  const Sluiced sluiced;
  const Client client(sluiced.socket());
  Vmm vmm(sluiced);
  ASSERT_EQ(vmm.acquire(kA, kAll).refused, 0);
  vmm.fill(kSecret);
  ::kill(vmm.process(), SIGSTOP);
  Vmm other(sluiced);
  EXPECT_EQ(other.acquire(kB, kMiB).refused, SLUICE_REFUSED_NO_MEMORY);
  EXPECT_EQ(client.status(kA).state, static_cast<std::uint32_t>(SLUICE_STATE_RUNNING));
  ::kill(vmm.process(), SIGCONT);
  EXPECT_EQ(vmm.look(), kSecret);
}

TEST(SluicedTest, SizesThatNoBrickHasAreRefusedWithThoseThatThereAre) {
  const Sluiced sluiced(R"([{ size = "64KiB", count = 4 }, { size = "1MiB", count = 2 }])");
  const Client client(sluiced.socket());
  auto lease = std::make_unique<sluice_lease>();
  EXPECT_EQ(client.acquire(kA, 100 * 1024, *lease), SLUICE_REFUSED_SIZE);
  EXPECT_THAT(client.error(), HasSubstr("64KiB (4 of them), 1MiB (2 of them)"));
  EXPECT_EQ(client.status(kA).state, static_cast<std::uint32_t>(SLUICE_STATE_NONE));
  EXPECT_EQ(client.acquire(kA, 2 * kMiB, *lease), 0);
  EXPECT_EQ(lease->brick_count, 2U) << "of the longest";
  sluice_lease_close(lease.get());
}

TEST(SluicedTest, WhoIsNotAmongTheUsersGetsNothing) {
  const Sluiced sluiced(R"([{ size = "1MiB", count = 4 }])", ::geteuid() + 1);
  const Client client(sluiced.socket());
  auto lease = std::make_unique<sluice_lease>();
  EXPECT_EQ(client.acquire(kA, kMiB, *lease), SLUICE_REFUSED_NOT_PERMITTED) << sluiced.log();
  EXPECT_THAT(client.error(), HasSubstr("vmm.users"));
}

TEST(SluicedTest, OnlyTheProcessOfALeaseChangesIt) {
  const Sluiced sluiced;
  Vmm vmm(sluiced);
  ASSERT_EQ(vmm.acquire(kA, 2 * kMiB).refused, 0);
  vmm.fill(kSecret);
  const Client stranger(sluiced.socket());
  const sluice_lease_id lease = stranger.status(kA).lease;
  auto more = std::make_unique<sluice_lease>();
  const std::uint32_t brick = 0;
  EXPECT_NE(sluice_client_grow(stranger.get(), lease, &kMiB, 1, more.get()), 0);
  EXPECT_EQ(sluice_client_reason(stranger.get()), SLUICE_REFUSED_NOT_PERMITTED) << stranger.error();
  EXPECT_NE(sluice_client_shrink(stranger.get(), lease, &brick, 1), 0);
  EXPECT_EQ(sluice_client_reason(stranger.get()), SLUICE_REFUSED_NOT_PERMITTED);
  EXPECT_NE(sluice_client_notify(stranger.get(), lease, SLUICE_EVENT_REBOOT), 0);
  EXPECT_EQ(sluice_client_reason(stranger.get()), SLUICE_REFUSED_NOT_PERMITTED);
  EXPECT_NE(sluice_client_release(stranger.get(), lease), 0);
  EXPECT_EQ(sluice_client_reason(stranger.get()), SLUICE_REFUSED_NOT_PERMITTED);
  EXPECT_EQ(stranger.status(kA).size, 2 * kMiB);
  EXPECT_EQ(vmm.grow(kMiB), 0) << "the process itself may";
}

TEST(SluicedTest, ASecondOneOnTheSameMemoryDoesNotStart) {
  const Sluiced sluiced;
  std::string command =
      fmt::format("{} --config {} 2>&1", SLUICED_PROGRAM, (sluiced.folder() / "sluiced.toml").string());
  std::FILE* const second = ::popen(command.c_str(), "r");
  std::array<char, 1000> said{};
  ASSERT_NE(std::fread(said.data(), 1, said.size() - 1, second), 0U);
  EXPECT_NE(::pclose(second), 0);
  EXPECT_THAT(said.data(), HasSubstr("in use by another owner"));
  const Client client(sluiced.socket());
  EXPECT_EQ(client.status(kA).state, static_cast<std::uint32_t>(SLUICE_STATE_NONE));
}

TEST(SluicedTest, RubbishChangesNothingAndCostsNoDescriptors) {
  const Sluiced sluiced;
  Vmm vmm(sluiced);
  ASSERT_EQ(vmm.acquire(kA, kMiB).refused, 0);
  vmm.fill(kSecret);
  const std::size_t before = sluiced.open_descriptors();
  std::mt19937 random(4711);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(sluiced.socket(), address.sun_path);
  for (int round = 0; round < 300; ++round) {
    const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    std::vector<unsigned char> packet(random() % 3000);
    for (unsigned char& byte : packet) byte = static_cast<unsigned char>(random());
    if (round % 3 != 0 && packet.size() >= sizeof(sluice_message)) {  // nearly right
      const sluice_message message{SLUICE_PROTOCOL_MAGIC, SLUICE_PROTOCOL_VERSION,
                                   static_cast<std::uint16_t>(1 + random() % 6),
                                   static_cast<std::uint32_t>(packet.size()), 7};
      std::memcpy(packet.data(), &message, sizeof message);
    }
    iovec from{packet.data(), packet.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(10 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &from;
    message.msg_iovlen = 1;
    const std::size_t descriptors = random() % 10;
    if (descriptors != 0) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
      for (std::size_t at = 0; at < descriptors; ++at)
        std::memcpy(CMSG_DATA(header) + at * sizeof(int), &socket, sizeof socket);
    }
    static_cast<void>(::sendmsg(socket, &message, MSG_NOSIGNAL));
    ::close(socket);
  }
  const Client client(sluiced.socket());
  EXPECT_EQ(client.status(kA).state, static_cast<std::uint32_t>(SLUICE_STATE_RUNNING)) << sluiced.log();
  EXPECT_EQ(vmm.look(), kSecret);
  EXPECT_TRUE(comes_true([&] { return sluiced.open_descriptors() <= before + 1; })) << sluiced.open_descriptors();
}

TEST(SluicedTest, AFullDiskIsARefusalAndLosesNothing) {
  Sluiced sluiced;
  const Client client(sluiced.socket());
  Vmm first(sluiced);
  ASSERT_EQ(first.acquire(kA, 2 * kMiB).refused, 0);
  first.fill(kSecret);
  rlimit before{};
  const rlimit full{0, RLIM_INFINITY};
  ASSERT_EQ(::prlimit(sluiced.process(), RLIMIT_FSIZE, &full, &before), 0);
  auto lease = std::make_unique<sluice_lease>();
  EXPECT_EQ(client.acquire(kB, kMiB, *lease), SLUICE_REFUSED_BUSY);
  EXPECT_THAT(client.error(), HasSubstr(".db"));
  EXPECT_EQ(client.status(kB).state, static_cast<std::uint32_t>(SLUICE_STATE_NONE));
  EXPECT_EQ(client.status(kA).state, static_cast<std::uint32_t>(SLUICE_STATE_RUNNING));
  EXPECT_EQ(first.look(), kSecret);
  first.end();
  EXPECT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE)) << "VMs end all the same";
  ASSERT_EQ(::prlimit(sluiced.process(), RLIMIT_FSIZE, &before, nullptr), 0);
  EXPECT_EQ(client.acquire(kB, kAll, *lease), 0) << client.error();
  sluice_lease_close(lease.get());
  EXPECT_EQ(sluiced.end(SIGTERM), 0);
  auto audit = Audit::open(sluiced.folder() / "state/audit.db");
  ASSERT_TRUE(audit);
  EXPECT_EQ(*audit->first_bad_line(), std::nullopt);
  Uuid uuid;
  uuid.bytes.fill(std::byte{kA});
  EXPECT_TRUE(audit->erasure_of(uuid)->complete());
}

TEST(SluicedTest, TheAuditSaysWhatBecameOfAVmsMemory) {
  Sluiced sluiced;
  const std::string path = sluiced.folder() / "state/audit.db";
  {
    const Client client(sluiced.socket());
    Vmm first(sluiced);
    ASSERT_EQ(first.acquire(kA, 2 * kMiB).refused, 0);
    first.end();
    ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE));
    Vmm second(sluiced);
    ASSERT_EQ(second.acquire(kB, kAll).refused, 0) << "all of it was scrubbed then";
    EXPECT_EQ(sluiced.end(SIGTERM), 0);
  }
  auto audit = Audit::open(path);
  ASSERT_TRUE(audit) << audit.error().message;
  EXPECT_THAT(sluiced.log(), HasSubstr(to_string(audit->head())));
  EXPECT_EQ(*audit->first_bad_line(), std::nullopt);
  Uuid uuid;
  uuid.bytes.fill(std::byte{kA});
  const auto erased = audit->erasure_of(uuid);
  ASSERT_TRUE(erased);
  EXPECT_EQ(erased->parts.size(), 2U);
  EXPECT_TRUE(erased->complete());
  for (const Erasure::Part& part : erased->parts) {
    EXPECT_LT(part.handed_over, part.returned);
    EXPECT_LT(part.returned, part.scrubbed_by);
  }
  uuid.bytes.fill(std::byte{kB});
  EXPECT_FALSE(audit->erasure_of(uuid)->complete()) << "it runs";
}

TEST(SluicedTest, EndsWhenItIsToldTo) {
  Sluiced sluiced;
  Vmm vmm(sluiced);
  ASSERT_EQ(vmm.acquire(kA, kAll).refused, 0);
  vmm.fill(kSecret);
  EXPECT_EQ(sluiced.end(SIGTERM), 0) << sluiced.log();
  EXPECT_EQ(vmm.look(), kSecret);
  sluiced.start();
  const Client client(sluiced.socket());
  EXPECT_EQ(client.status(kA).size, kAll) << sluiced.log();
}

/// sd_notify(3), as systemd receives it.
TEST(SluicedService, SaysWhenItIsReadyAndThatItLivesAndEnds) {
  const TemporaryFolder folder;
  const std::string path = folder / "notify";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path, address.sun_path);
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const timeval limit{.tv_sec = kPatience.count(), .tv_usec = 0};
  ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
  const auto next = [fd] {
    std::array<char, 256> buffer;
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    return got < 0 ? std::string("nothing came") : std::string(buffer.data(), static_cast<std::size_t>(got));
  };
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  ::setenv("WATCHDOG_USEC", "200000", 1);
  Sluiced sluiced;
  ::unsetenv("NOTIFY_SOCKET");
  ::unsetenv("WATCHDOG_USEC");
  EXPECT_EQ(next(), "WATCHDOG=1");
  EXPECT_EQ(next(), "READY=1");
  EXPECT_EQ(next(), "WATCHDOG=1");
  EXPECT_EQ(sluiced.end(SIGTERM), 0);
  std::string said = next();
  while (said == "WATCHDOG=1") said = next();
  EXPECT_EQ(said, "STOPPING=1");
  ::close(fd);
}

}  // namespace
}  // namespace sluice::test
