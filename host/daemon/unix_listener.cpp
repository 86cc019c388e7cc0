// SPDX-License-Identifier: Apache-2.0
#include "unix_listener.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sluice/base/descriptor.hpp"

namespace sluice::inline daemon {

Result<int> listen_at(const std::string& path, int type) {
  int fd = -1;
  const auto failed = [&](const char* call) {
    Error error{HostErrc::NoResources,
                fmt::format("socket {}: {} failed: {}; give another path", path, call, std::strerror(errno))};
    if (fd >= 0) ::close(fd);
    return error;
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string making = path + ".new";
  if (making.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return failed("bind");
  }
  std::ranges::copy(making, address.sun_path);
  fd = above_standard(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd < 0) return failed("socket");
  ::unlink(making.c_str());
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return failed("bind");
  if (::chmod(making.c_str(), 0666) != 0) return failed("chmod");
  if (::listen(fd, 128) != 0) return failed("listen");
  if (::rename(making.c_str(), path.c_str()) != 0) return failed("rename");
  return fd;
}

}  // namespace sluice::inline daemon
