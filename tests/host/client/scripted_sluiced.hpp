// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sluice/sluice_client.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <memory>
#include <vector>

#include "connection.h"
#include "support/patience.hpp"
#include "support/protocol_packets.hpp"

namespace sluice::test {

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) count += each.exists() ? 1 : 0;
  return count;
}

/// A file in memory, as a brick.
inline int make_brick(std::uint64_t length) {
  const int fd = ::memfd_create("brick", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(length)) != 0) std::abort();
  return fd;
}

/// A connection, with the client's end first. No call of a client waits longer than a test does.
inline std::array<int, 2> connection() {
  std::array<int, 2> ends{};
  const timeval limit{std::chrono::seconds(kPatience).count(), 0};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0 ||
      ::setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) {
    std::abort();
  }
  return ends;
}

/// What sluiced would have: the other end of a connection. Packets wait in the socket, so that an answer can be sent
/// before the client asks.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  void send(const Packet& packet, const std::vector<int>& fds = {}) const {
    iovec data{const_cast<std::byte*>(packet.data()), packet.size()};
    std::vector<std::byte> control(CMSG_SPACE(fds.size() * sizeof(int)));
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* const rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
    }
    ASSERT_EQ(::sendmsg(fd_, &message, MSG_NOSIGNAL), static_cast<ssize_t>(packet.size()));
  }

  struct Received {
    Packet packet;
    int fd = -1;  ///< That came with it; the peer closes it.
  };
  /// The next packet; an empty one if there is none for as long as a test waits.
  [[nodiscard]] Received receive() {
    pollfd readable{fd_, POLLIN, 0};
    if (::poll(&readable, 1, std::chrono::milliseconds(kPatience).count()) != 1) return {};
    Received received{Packet(1 << 16), -1};
    iovec data{received.packet.data(), received.packet.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
    received.packet.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    if (const cmsghdr* const rights = CMSG_FIRSTHDR(&message)) {
      std::memcpy(&received.fd, CMSG_DATA(rights), sizeof received.fd);
    }
    return received;
  }
  /// The next request, read as sluiced reads it.
  template <class Kind>
  [[nodiscard]] Kind take() {
    const Received received = receive();
    if (received.fd >= 0) ::close(received.fd);
    const auto request = parse_request(received.packet);
    if (request && std::holds_alternative<Kind>(*request)) return std::get<Kind>(*request);
    ADD_FAILURE() << (request ? "a request of another type" : request.error().message);
    return {};
  }
  [[nodiscard]] bool nothing_came() const {
    pollfd readable{fd_, POLLIN, 0};
    return ::poll(&readable, 1, 0) == 0;
  }

 private:
  int fd_;
};

/// A client of a socket pair, with a test at the other end. No test leaves a descriptor open.
class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    const auto ends = connection();
    client_ = sluice_client_adopt(ends[0]);
    peer_ = std::make_unique<Peer>(ends[1]);
    std::copy_n(kUuid.bytes.begin(), 16, reinterpret_cast<std::byte*>(request_.vm));
    request_.node = -1;
    request_.brick_count = 2;
    request_.bricks = kLengths;
  }
  ~ClientTest() override {
    for (const int fd : bricks_) ::close(fd);
    sluice_client_close(client_);
    peer_.reset();
    EXPECT_EQ(open_descriptors(), open_before_);
  }

  [[nodiscard]] std::string error() const { return sluice_client_error(client_); }
  [[nodiscard]] int acquire() { return sluice_client_acquire(client_, &request_, &lease_); }
  [[nodiscard]] int grow() { return sluice_client_grow(client_, kLease, kLengths, 2, &lease_); }
  /// Descriptors of two bricks of kLengths, which the test closes at its end.
  [[nodiscard]] std::vector<int> brick_fds() {
    std::vector<int> fds;
    for (const std::uint64_t length : kLengths) fds.push_back(keep(make_brick(length)));
    return fds;
  }
  int keep(int fd) {
    bricks_.push_back(fd);
    return fd;
  }
  [[nodiscard]] static sluice_lease_message lease_message(std::uint32_t serial) {
    const LeaseBrick bricks[] = {{ByteCount(kLengths[0]), 5, true}, {ByteCount(kLengths[1]), 6, false}};
    return message_of<sluice_lease_message>(lease_packet(serial, {VmId(7), 3}, bricks, false));
  }

  static constexpr std::uint64_t kLengths[] = {2 << 20, 1 << 20};
  static constexpr sluice_lease_id kLease{7, 3};
  static inline const Uuid kUuid = *parse_uuid("123e4567-e89b-12d3-a456-426614174000");
  const std::size_t open_before_ = open_descriptors();
  sluice_client* client_ = nullptr;
  std::unique_ptr<Peer> peer_;
  std::vector<int> bricks_;
  sluice_request request_{};
  sluice_lease lease_{};
};

}  // namespace sluice::test
