// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sluice/protocol.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "sluice/base/units.hpp"
#include "support/patience.hpp"

namespace sluice::test {

/// In sluiced's place: answers one request for memory, from a thread of its own.
class FakeSluiced {
 public:
  struct GivenBrick {
    int descriptor = -1;
    ByteCount length;
  };

  /// Listens at `path`.
  explicit FakeSluiced(const std::string& path) : listener_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
  }
  FakeSluiced(const FakeSluiced&) = delete;
  FakeSluiced& operator=(const FakeSluiced&) = delete;
  ~FakeSluiced() {
    wait();
    ::close(listener_);
  }

  /// Gives these bricks, and the monitor's socket; all stay the caller's, and open until wait() is over.
  void give(std::vector<GivenBrick> bricks, int monitor) {
    thread_ = std::thread([this, bricks = std::move(bricks), monitor] {
      sluice_lease_message reply{};
      begin(reply.message, SLUICE_LEASE, sizeof reply);
      reply.lease = {1, 1};
      reply.monitor = 1;
      reply.brick_count = static_cast<std::uint32_t>(bricks.size());
      std::vector<int> descriptors;
      for (std::size_t at = 0; at < bricks.size(); ++at) {
        reply.bricks[at] = {bricks[at].length.value(), static_cast<std::uint32_t>(at), 0};
        descriptors.push_back(bricks[at].descriptor);
      }
      descriptors.push_back(monitor);
      answer(reply, descriptors);
    });
  }
  void refuse(const std::string& text) {
    thread_ = std::thread([this, text] {
      sluice_refused reply{};
      begin(reply.message, SLUICE_REFUSED, sizeof reply);
      reply.reason = SLUICE_REFUSED_SIZE;
      text.copy(reply.text, sizeof reply.text - 1);
      answer(reply, {});
    });
  }
  /// Until it has answered, or nobody has asked. What was asked for.
  const sluice_acquire& wait() {
    if (thread_.joinable()) thread_.join();
    return request_;
  }

 private:
  static void begin(sluice_message& message, std::uint16_t type, std::size_t length) {
    message = {SLUICE_PROTOCOL_MAGIC, SLUICE_PROTOCOL_VERSION, type, static_cast<std::uint32_t>(length), 0};
  }
  static bool comes(int fd) {
    pollfd wanted{fd, POLLIN, 0};
    return ::poll(&wanted, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) == 1;
  }

  template <class Reply>
  void answer(Reply reply, const std::vector<int>& descriptors) {
    const int connection = comes(listener_) ? ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC) : -1;
    if (connection < 0 || !comes(connection) ||
        ::recv(connection, &request_, sizeof request_, 0) != static_cast<ssize_t>(sizeof request_)) {
      ADD_FAILURE() << "nobody asks for memory";
    } else {
      reply.message.serial = request_.message.serial;
      send(connection, &reply, sizeof reply, descriptors);
    }
    ::close(connection);
  }

  static void send(int connection, void* reply, std::size_t length, const std::vector<int>& descriptors) {
    constexpr std::size_t kMost = 8;
    ASSERT_LE(descriptors.size(), kMost);
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMost * sizeof(int))> control{};
    iovec bytes{reply, length};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    if (!descriptors.empty()) {
      const std::size_t size = descriptors.size() * sizeof(int);
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(size);
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(size);
      std::memcpy(CMSG_DATA(header), descriptors.data(), size);
    }
    EXPECT_EQ(::sendmsg(connection, &message, MSG_NOSIGNAL), static_cast<ssize_t>(length));
  }

  int listener_;
  sluice_acquire request_{};
  std::thread thread_;
};

}  // namespace sluice::test
