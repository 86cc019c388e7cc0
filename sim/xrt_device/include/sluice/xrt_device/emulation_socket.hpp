// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "sluice/engine/error.hpp"

namespace sluice::xrt_device {

/// The calls of XRT's emulation that a device with one kernel meets.
enum class Call : std::uint32_t {
  Close = 1,
  AllocateBuffer = 4,
  FreeBuffer = 5,
  WriteRegister = 9,
  ReadRegister = 11,
  BusStatus = 18,
  DebugMessages = 19,
  SetEnvironment = 20,
  ReadHost = 34,
  WriteHost = 35,
};

/// One of the two sockets between XRT's emulation library and its device: XRT listens, the device connects. A frame is
/// a header with the length of its body and mostly a call, then the body, a protobuf message (rpc.proto). Blocks. One
/// thread at a time.
class EmulationSocket {
 public:
  /// Whether a socket can have such a name. Errors: InvalidArgument.
  [[nodiscard]] static Result<void> check(const std::string& path);
  /// Tries for ten seconds. Errors: DeviceMissing.
  [[nodiscard]] static Result<EmulationSocket> connect(const std::string& path);
  EmulationSocket(EmulationSocket&& other) noexcept;
  EmulationSocket& operator=(EmulationSocket&&) = delete;
  ~EmulationSocket();

  /// Whether the other side is still there, for all of these.
  [[nodiscard]] bool receive(Call& call, std::string& body);
  [[nodiscard]] bool send(Call call, const std::string& body);
  /// An answer to what receive() gave has a shorter header.
  [[nodiscard]] bool answer(const std::string& body);

  [[nodiscard]] int fd() const { return fd_; }

 private:
  explicit EmulationSocket(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace sluice::xrt_device
