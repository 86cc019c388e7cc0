// SPDX-License-Identifier: Apache-2.0
// Every call of the client library, with a test in the place of sluiced.
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "host/client/scripted_sluiced.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string read_file(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

ino_t inode_of(int fd) {
  struct stat file {};
  ::fstat(fd, &file);
  return file.st_ino;
}

TEST_F(ClientTest, AcquireAsksForWhatTheCallerSaysAndGivesWhatSluicedSent) {
  const std::vector<int> fds = brick_fds();
  peer_->send(bytes_of(lease_message(1)), fds);
  request_.name = "db-\xC3\xA4";
  request_.customer = 1;
  request_.group = 2;
  request_.pool = 3;
  request_.node = 4;
  ASSERT_EQ(acquire(), 0) << error();

  AcquireRequest expected{1,  kUuid, "db-\xC3\xA4", CustomerId(1), TrustGroupId(2), DedicatedPoolId(3), {},
                          {}, 4,     false,         false};
  for (const std::uint64_t length : kLengths) expected.bricks.emplace_back(length);
  EXPECT_TRUE(peer_->take<AcquireRequest>() == expected);

  EXPECT_EQ(lease_.id.vm, 7U);
  EXPECT_EQ(lease_.id.epoch, 3U);
  EXPECT_EQ(lease_.monitor_fd, -1);
  ASSERT_EQ(lease_.brick_count, 2U);
  for (unsigned at = 0; at < 2; ++at) {
    EXPECT_EQ(lease_.bricks[at].length, kLengths[at]);
    EXPECT_EQ(lease_.bricks[at].number, 5 + at);
    EXPECT_EQ(lease_.bricks[at].recycled, 1 - at);
    EXPECT_EQ(inode_of(lease_.bricks[at].fd), inode_of(fds[at]));
    EXPECT_NE(::fcntl(lease_.bricks[at].fd, F_GETFD) & FD_CLOEXEC, 0) << "not inherited by exec";
  }
  EXPECT_EQ(error(), "");
  sluice_lease_close(&lease_);
  sluice_lease_close(&lease_);  // nothing is left
}

TEST_F(ClientTest, AcquireBySizeTakesBricksOfAnyLengthsAndAMonitor) {
  std::vector<int> fds = brick_fds();
  fds.push_back(keep(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  auto message = lease_message(1);
  message.monitor = 1;
  peer_->send(bytes_of(message), fds);
  request_.brick_count = 0;
  request_.size = kLengths[0] + kLengths[1];
  request_.wants_monitor = 1;
  ASSERT_EQ(acquire(), 0) << error();
  const auto asked = peer_->take<AcquireRequest>();
  EXPECT_EQ(asked.size, ByteCount(3 << 20));
  EXPECT_THAT(asked.bricks, IsEmpty());
  EXPECT_EQ(asked.node, std::nullopt);
  EXPECT_TRUE(asked.wants_monitor);
  EXPECT_EQ(inode_of(lease_.monitor_fd), inode_of(fds[2]));
  EXPECT_NE(::fcntl(lease_.monitor_fd, F_GETFD) & FD_CLOEXEC, 0);
  sluice_lease_close(&lease_);
}

TEST_F(ClientTest, AcquireSendsAPidfdOfThisProcess) {
  peer_->send(refused_packet(1, Refusal::NoMemory, ""));
  EXPECT_EQ(acquire(), -1);
  const auto received = peer_->receive();
  ASSERT_GE(received.fd, 0);
  EXPECT_THAT(read_file("/proc/self/fdinfo/" + std::to_string(received.fd)),
              HasSubstr("\nPid:\t" + std::to_string(::getpid()) + "\n"));
  ::close(received.fd);
}

TEST_F(ClientTest, GrowGetsTheNewBricksOnly) {
  peer_->send(bytes_of(lease_message(1)), brick_fds());
  ASSERT_EQ(grow(), 0) << error();
  GrowRequest expected{1, {VmId(7), 3}, {}};
  for (const std::uint64_t length : kLengths) expected.bricks.emplace_back(length);
  EXPECT_TRUE(peer_->take<GrowRequest>() == expected);
  EXPECT_EQ(lease_.brick_count, 2U);
  sluice_lease_close(&lease_);
}

TEST_F(ClientTest, ShrinkNotifyAndReleaseAreDoneWhenSluicedSaysSo) {
  for (std::uint32_t serial = 1; serial <= 6; ++serial) peer_->send(done_packet(serial));
  const std::uint32_t numbers[] = {6, 5};
  EXPECT_EQ(sluice_client_shrink(client_, kLease, numbers, 2), 0) << error();
  EXPECT_TRUE(peer_->take<ShrinkRequest>() == (ShrinkRequest{1, {VmId(7), 3}, {6, 5}}));
  std::uint32_t serial = 2;
  for (const auto event : {LeaseEvent::Reset, LeaseEvent::Reboot, LeaseEvent::ShutDown, LeaseEvent::Panic}) {
    EXPECT_EQ(sluice_client_notify(client_, kLease, static_cast<std::uint32_t>(event)), 0) << error();
    EXPECT_TRUE(peer_->take<NotifyRequest>() == (NotifyRequest{serial++, {VmId(7), 3}, event}));
  }
  EXPECT_EQ(sluice_client_release(client_, kLease), 0) << error();
  EXPECT_TRUE(peer_->take<ReleaseRequest>() == (ReleaseRequest{6, {VmId(7), 3}}));
}

TEST_F(ClientTest, StatusIsWhatSluicedKnows) {
  peer_->send(state_packet(1, {LeaseState::Quarantined, {VmId(7), 3}, 2, kGiB, {11, 12}}));
  sluice_state state{};
  ASSERT_EQ(sluice_client_status(client_, request_.vm, &state), 0) << error();
  EXPECT_TRUE(peer_->take<StatusRequest>() == (StatusRequest{1, kUuid}));
  EXPECT_EQ(state.state, std::uint32_t{SLUICE_STATE_QUARANTINED});
  EXPECT_EQ(state.lease.epoch, 3U);
  EXPECT_EQ(state.size, kGiB.value());
  EXPECT_EQ(state.holder_count, 2U);
  EXPECT_EQ(state.holders[1], 12U);
}

TEST_F(ClientTest, EveryRefusalComesWithItsReasonAndItsText) {
  std::uint32_t serial = 0;
  for (const auto reason :
       {Refusal::NotPermitted, Refusal::Unknown, Refusal::WrongState, Refusal::Size, Refusal::NoMemory,
        Refusal::Stopping, Refusal::Busy, static_cast<Refusal>(99), Refusal::BadMessage}) {
    peer_->send(refused_packet(++serial, reason, "the \x1B[31mreason"));
    EXPECT_EQ(sluice_client_release(client_, kLease), -1);
    EXPECT_EQ(sluice_client_reason(client_), static_cast<int>(reason));
    EXPECT_EQ(error(), "sluiced refuses to release a VM's memory: the ?[31mreason");
  }
  EXPECT_EQ(sluice_client_release(client_, kLease), -1);
  EXPECT_THAT(error(), HasSubstr("there is no connection to sluiced: sluiced refuses")) << "after a bad message";
  EXPECT_EQ(sluice_client_reason(client_), 0);
}

TEST_F(ClientTest, ARefusalIsReadWhateverVersionItHas) {
  auto refused = message_of<sluice_refused>(refused_packet(1, Refusal::BadMessage, "version 1: I speak 2"));
  refused.message.version = 2;
  peer_->send(bytes_of(refused));
  EXPECT_EQ(sluice_client_release(client_, kLease), -1);
  EXPECT_THAT(error(), HasSubstr("version 1: I speak 2"));
}

struct BadRequest {
  const char* says;
  void (*change)(sluice_request&);
};

TEST_F(ClientTest, WhatSluicedWouldCallABadMessageIsNotSent) {
  static const std::uint64_t long_bricks[] = {1ULL << 62, 1ULL << 62, 0};
  const BadRequest table[] = {
      {"UUID is all zeros", [](auto& request) { std::memset(request.vm, 0, sizeof request.vm); }},
      {"name has 64 bytes",
       [](auto& request) { request.name = "0123456789012345678901234567890123456789012345678901234567890123"; }},
      {"name is not UTF-8", [](auto& request) { request.name = "\xE4"; }},
      {"name is not UTF-8", [](auto& request) { request.name = "\xC1\xBF"; }},
      {"name is not UTF-8", [](auto& request) { request.name = "a\xED\xA0\x80"; }},
      {"name is not UTF-8", [](auto& request) { request.name = "a\xF0\x8F\xBF\xBF"; }},
      {"NUMA node -2", [](auto& request) { request.node = -2; }},
      {"NUMA node 1024", [](auto& request) { request.node = 1024; }},
      {"size is 1 and brick_count is 2", [](auto& request) { request.size = 1; }},
      {"size is 0 and brick_count is 0", [](auto& request) { request.brick_count = 0; }},
      {"give less than 2^63",
       [](auto& request) {
         request.brick_count = 0;
         request.size = 1ULL << 63;
       }},
      {"129 bricks", [](auto& request) { request.brick_count = 129; }},
      {"bricks is NULL", [](auto& request) { request.bricks = nullptr; }},
      {"brick 1 has 4611686018427387904 bytes", [](auto& request) { request.bricks = long_bricks; }},
      {"brick 0 has 0 bytes", [](auto& request) { request.bricks = long_bricks + 2; }},
  };
  const sluice_request good = request_;
  for (const auto& [says, change] : table) {
    request_ = good;
    change(request_);
    if (request_.bricks == long_bricks + 2) request_.brick_count = 1;
    EXPECT_EQ(acquire(), -1);
    EXPECT_THAT(error(), HasSubstr(says));
    EXPECT_EQ(sluice_client_reason(client_), 0);
    EXPECT_EQ(lease_.monitor_fd, -1) << "sluice_lease_close() closes nothing";
    sluice_lease_close(&lease_);
  }
  const std::uint32_t twice[] = {4, 5, 4};
  EXPECT_EQ(sluice_client_shrink(client_, kLease, twice, 3), -1);
  EXPECT_THAT(error(), HasSubstr("brick 4 is there twice"));
  EXPECT_EQ(sluice_client_shrink(client_, kLease, nullptr, 1), -1);
  EXPECT_EQ(sluice_client_shrink(client_, kLease, twice, 0), -1);
  EXPECT_EQ(sluice_client_shrink(client_, kLease, twice, 129), -1);
  EXPECT_EQ(sluice_client_grow(client_, kLease, kLengths, 0, &lease_), -1);
  EXPECT_EQ(sluice_client_grow(client_, kLease, kLengths, 129, &lease_), -1);
  EXPECT_EQ(sluice_client_grow(client_, kLease, long_bricks, 3, &lease_), -1);
  EXPECT_EQ(sluice_client_notify(client_, kLease, 0), -1);
  EXPECT_EQ(sluice_client_notify(client_, kLease, 5), -1);
  EXPECT_THAT(error(), HasSubstr("event 5"));
  EXPECT_TRUE(peer_->nothing_came());
}

TEST_F(ClientTest, ASignalDoesNotEndTheWait) {
  static std::atomic<int> signals;
  signals = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { ++signals; };  // without SA_RESTART
  struct sigaction before {};
  ::sigaction(SIGUSR1, &action, &before);
  const pthread_t caller = ::pthread_self();
  const std::string call = "/proc/self/task/" + std::to_string(::gettid()) + "/syscall";
  std::thread sluiced([&] {
    for (int round = 1; round <= 3; ++round) {
      hold_until([&] { return read_file(call).starts_with("47 "); });  // in recvmsg
      ::pthread_kill(caller, SIGUSR1);
      hold_until([&] { return signals == round; });
    }
    peer_->send(done_packet(1));
  });
  EXPECT_EQ(sluice_client_release(client_, kLease), 0) << error();
  sluiced.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(signals, 3);
}

TEST_F(ClientTest, AConnectionThatEndsIsToldAtOnceAndEverAfter) {
  for (const bool asked : {true, false}) {
    SCOPED_TRACE(asked);
    const auto ends = connection();
    sluice_client* const client = sluice_client_adopt(ends[0]);
    if (asked) {
      ::shutdown(ends[1], SHUT_WR);
    } else {
      ::close(ends[1]);
    }
    EXPECT_EQ(sluice_client_release(client, kLease), -1);
    EXPECT_THAT(sluice_client_error(client), HasSubstr(asked ? "sluiced has closed the connection" : "Broken pipe"));
    EXPECT_EQ(sluice_client_release(client, kLease), -1);
    EXPECT_THAT(sluice_client_error(client), HasSubstr("there is no connection to sluiced"));
    sluice_client_close(client);
    if (asked) ::close(ends[1]);
  }
}

TEST_F(ClientTest, AForkedProcessMustConnectAnew) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool refused = sluice_client_release(client_, kLease) == -1 &&
                         error().find("connect anew in process " + std::to_string(::getpid())) != std::string::npos;
    ::_exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(peer_->nothing_came());
}

TEST_F(ClientTest, WithoutMemoryForAClientEveryCallFails) {
  sluice_state state{};
  const std::uint32_t number = 1;
  EXPECT_EQ(sluice_client_acquire(nullptr, &request_, &lease_), -1);
  EXPECT_EQ(sluice_client_grow(nullptr, kLease, kLengths, 2, &lease_), -1);
  EXPECT_EQ(sluice_client_shrink(nullptr, kLease, &number, 1), -1);
  EXPECT_EQ(sluice_client_notify(nullptr, kLease, SLUICE_EVENT_RESET), -1);
  EXPECT_EQ(sluice_client_status(nullptr, request_.vm, &state), -1);
  EXPECT_EQ(sluice_client_release(nullptr, kLease), -1);
  EXPECT_EQ(sluice_client_filter(nullptr), -1);
  EXPECT_THAT(sluice_client_error(nullptr), HasSubstr("had no memory"));
  EXPECT_EQ(sluice_client_reason(nullptr), 0);
  sluice_client_close(nullptr);
  sluice_lease_close(nullptr);
}

/// A listening socket in a folder of its own.
class ConnectTest : public ::testing::Test {
 protected:
  void listen(int type) {
    listener_ = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener_, 4), 0);
  }
  [[nodiscard]] int accept() const {
    pollfd readable{listener_, POLLIN, 0};
    if (::poll(&readable, 1, std::chrono::milliseconds(kPatience).count()) != 1) return -1;
    return ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  }
  [[nodiscard]] static std::string why_not(const char* path) {
    sluice_client* const client = sluice_client_connect(path);
    std::string first = sluice_client_error(client);
    EXPECT_EQ(sluice_client_release(client, {1, 1}), -1);
    EXPECT_THAT(sluice_client_error(client), HasSubstr(first));
    sluice_client_close(client);
    return first;
  }
  ~ConnectTest() override {
    ::unsetenv("SLUICE_SOCKET");
    if (listener_ >= 0) ::close(listener_);
    EXPECT_EQ(open_descriptors(), open_before_);
  }

  const std::size_t open_before_ = open_descriptors();
  TemporaryFolder folder_;
  const std::string path_ = folder_ / "sluiced.sock";
  int listener_ = -1;
};

TEST_F(ConnectTest, GoesToThePathOrToWhatTheEnvironmentNames) {
  listen(SOCK_SEQPACKET);
  ::setenv("SLUICE_SOCKET", path_.c_str(), 1);
  for (const char* const path : {path_.c_str(), static_cast<const char*>(nullptr)}) {
    sluice_client* const client = sluice_client_connect(path);
    ASSERT_STREQ(sluice_client_error(client), "");
    EXPECT_NE(::fcntl(client->fd, F_GETFD) & FD_CLOEXEC, 0) << "not inherited by exec";
    const int accepted = accept();
    ASSERT_GE(accepted, 0);
    Peer peer(accepted);
    peer.send(done_packet(1));
    EXPECT_EQ(sluice_client_release(client, {7, 3}), 0) << sluice_client_error(client);
    EXPECT_EQ(peer.take<ReleaseRequest>().lease, (LeaseId{VmId(7), 3}));
    sluice_client_close(client);
  }
}

TEST_F(ConnectTest, SaysWhyItCannot) {
  EXPECT_THAT(why_not(path_.c_str()), HasSubstr(path_ + ": No such file or directory; see that it runs"));
  EXPECT_THAT(why_not(std::string(108, 'x').c_str()), HasSubstr("has 108 bytes: give one of at most 107"));
  listen(SOCK_STREAM);
  EXPECT_THAT(why_not(path_.c_str()), HasSubstr("wrong type"));
}

TEST_F(ConnectTest, TheExampleWritesIntoItsBricks) {
  listen(SOCK_SEQPACKET);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("SLUICE_SOCKET", path_.c_str(), 1);
    ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  // LeakSanitizer attaches by ptrace, which the filter refuses
    ::dup2(::open((folder_ / "output").c_str(), O_CREAT | O_WRONLY, 0600), STDOUT_FILENO);
    ::execl(SLUICE_CLIENT_EXAMPLE, "example", nullptr);
    ::_exit(127);
  }
  const int accepted = accept();
  ASSERT_GE(accepted, 0);
  Peer peer(accepted);
  const auto asked = peer.take<AcquireRequest>();
  EXPECT_TRUE(asked.vm.is_set());
  EXPECT_TRUE(asked.filtered);
  ASSERT_EQ(asked.bricks.size(), 2U);
  std::vector<int> fds;
  std::vector<LeaseBrick> bricks;
  for (const ByteCount length : asked.bricks) {
    fds.push_back(make_brick(length.value()));
    bricks.push_back({length, static_cast<std::uint32_t>(fds.size()), false});
  }
  peer.send(lease_packet(asked.serial, {VmId(7), 3}, bricks, false), fds);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(read_file(folder_ / "output"), HasSubstr("2 bricks"));
  for (const int fd : fds) {
    char byte = 0;
    EXPECT_EQ(::pread(fd, &byte, 1, (2 << 20) - 1), 1);
    EXPECT_EQ(byte, 0x5A);
    ::close(fd);
  }
}

}  // namespace
}  // namespace sluice::test
