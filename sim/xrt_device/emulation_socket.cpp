// SPDX-License-Identifier: Apache-2.0
#include "sluice/xrt_device/emulation_socket.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "sluice/base/parse.hpp"

namespace sluice::xrt_device {
namespace {

// A header is itself a protobuf message of fixed length: field 1 is a fixed64, field 2 a fixed32.
constexpr char kSizeTag = 0x09;
constexpr char kCallTag = 0x15;
constexpr std::size_t kSizeBytes = 1 + sizeof(std::uint64_t);
constexpr std::size_t kCallHeaderBytes = kSizeBytes + 1 + sizeof(std::uint32_t);

constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kPause = std::chrono::milliseconds(5);
constexpr std::uint64_t kMaxBody = 64ULL << 20;

std::string size_header(std::size_t size) {
  std::string header(kSizeBytes, kSizeTag);
  const std::uint64_t wide = size;
  std::memcpy(header.data() + 1, &wide, sizeof wide);
  return header;
}

bool read_all(int fd, std::span<char> to) {
  while (!to.empty()) {
    const ssize_t got = ::read(fd, to.data(), to.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to = to.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

bool write_all(int fd, std::span<const char> from) {
  while (!from.empty()) {
    const ssize_t put = ::send(fd, from.data(), from.size(), MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    from = from.subspan(static_cast<std::size_t>(put));
  }
  return true;
}

}  // namespace

Result<void> EmulationSocket::check(const std::string& path) {
  constexpr std::size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() <= kLongest) return {};
  return Error{DriverErrc::InvalidArgument,
               fmt::format("the socket name {} is longer than {} bytes: set a shorter USER or EMULATION_SOCKETID",
                           in_quotes(path), kLongest)};
}

Result<EmulationSocket> EmulationSocket::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (auto fits = check(path); !fits) return fits.error();
  path.copy(address.sun_path, path.size());
  EmulationSocket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (::connect(socket.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      return Error{DriverErrc::DeviceMissing,
                   fmt::format("nobody listens at {}: {}; start the program that uses XRT, with the same USER and "
                               "EMULATION_SOCKETID",
                               in_quotes(path, 200), std::strerror(errno))};
    }
    std::this_thread::sleep_for(kPause);
  }
  return socket;
}

EmulationSocket::EmulationSocket(EmulationSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

EmulationSocket::~EmulationSocket() {
  if (fd_ >= 0) ::close(fd_);
}

bool EmulationSocket::receive(Call& call, std::string& body) {
  char header[kCallHeaderBytes];
  if (!read_all(fd_, header)) return false;
  std::uint64_t size = 0;
  std::memcpy(&size, header + 1, sizeof size);
  std::memcpy(&call, header + kSizeBytes + 1, sizeof call);
  if (header[0] != kSizeTag || header[kSizeBytes] != kCallTag || size > kMaxBody) return false;  // not XRT
  body.resize(size);
  return read_all(fd_, body);
}

bool EmulationSocket::send(Call call, const std::string& body) {
  std::string frame = size_header(body.size());
  frame += kCallTag;
  frame.append(reinterpret_cast<const char*>(&call), sizeof call);
  return write_all(fd_, frame + body);
}

bool EmulationSocket::answer(const std::string& body) { return write_all(fd_, size_header(body.size()) + body); }

}  // namespace sluice::xrt_device
