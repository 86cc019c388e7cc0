// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace sluice::inline base {

/// Moves a descriptor that was just made above the standard ones, and returns it. A program that was started with one
/// of those closed would otherwise print into our memory. -1 (with errno) stays -1: pass what the system call returned.
[[nodiscard]] inline int above_standard(int fd) noexcept {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  ::close(fd);
  errno = error;
  return moved;
}

}  // namespace sluice::inline base
