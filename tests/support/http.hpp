// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>

namespace sluice::test {

/// A client that sends what it is told, byte for byte, over a unix socket.
class RawClient {
 public:
  explicit RawClient(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, address.sun_path);
    connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    const timeval limit{20, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() { ::close(socket_); }

  [[nodiscard]] bool connected() const { return connected_; }
  /// As much as the other side takes.
  void send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t sent = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  /// All that comes until the other side ends.
  [[nodiscard]] std::string all() const {
    std::string text;
    std::array<char, 4096> buffer;
    ssize_t got = 0;
    while ((got = ::recv(socket_, buffer.data(), buffer.size(), 0)) > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    EXPECT_TRUE(got == 0 || errno == ECONNRESET) << "the other side has not ended";
    return text;
  }
  /// What comes next; empty: nothing, for as long as it waits.
  [[nodiscard]] std::string some() const {
    std::array<char, 4096> buffer;
    const ssize_t got = ::recv(socket_, buffer.data(), buffer.size(), 0);
    return {buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
  }
  /// One answer of a connection that goes on.
  [[nodiscard]] std::string answer() const {
    std::string text;
    for (char letter = 0; text.find("\r\n\r\n") == std::string::npos && ::recv(socket_, &letter, 1, 0) == 1;) {
      text += letter;
    }
    const std::size_t at = text.find("Content-Length: ");
    if (at == std::string::npos) return text;
    std::size_t left = std::strtoul(text.c_str() + at + 16, nullptr, 10);
    for (char letter = 0; left > 0 && ::recv(socket_, &letter, 1, 0) == 1; --left) text += letter;
    return text;
  }

 private:
  int socket_;
  bool connected_ = false;
};

[[nodiscard]] inline std::string http_request(std::string_view method, std::string_view target,
                                              std::string_view body = "") {
  return fmt::format("{} {} HTTP/1.1\r\nHost: sluice\r\nContent-Length: {}\r\n\r\n{}", method, target, body.size(),
                     body);
}

/// One request on a connection of its own: the whole answer, with its header.
[[nodiscard]] inline std::string call(const std::string& socket, std::string_view method, std::string_view target,
                                      std::string_view body = "") {
  const RawClient client(socket);
  EXPECT_TRUE(client.connected());
  client.send(http_request(method, target, body));
  return client.answer();
}

}  // namespace sluice::test
