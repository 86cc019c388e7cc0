// SPDX-License-Identifier: Apache-2.0
// Files that grow, without the signal that the kernel sends where RLIMIT_FSIZE forbids it.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace sluice::inline memory {

/// Whether the process may have a file of this length. If not, errno says so as the kernel would.
[[nodiscard]] inline bool may_grow_to(std::uint64_t length) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && length > limit.rlim_cur) {
    errno = EFBIG;
    return false;
  }
  return true;
}

/// Gives a part of a file its memory or its disk space. False, with errno: it has none, and the file is as it was.
[[nodiscard]] inline bool allocate_in_file(int fd, std::uint64_t offset, std::uint64_t length) {
  return may_grow_to(offset + length) &&
         ::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(length)) == 0;
}

}  // namespace sluice::inline memory
