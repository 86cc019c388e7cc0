// SPDX-License-Identifier: Apache-2.0
#include "sluice/vmm/sole_access.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "sluice/base/descriptor.hpp"
#include "sluice/vmm/holders.hpp"

namespace sluice::inline vmm {
namespace {

/// Whether a second description of the file stands in the way of a lease on this one, as it must. It does not where
/// this one came from memfd_create(2): the kernel does not count it, and would see one description where there are two.
Result<bool> is_counted(int fd) {
  auto second = open_again(fd);
  if (!second) return second.error();
  const bool given = ::fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
  if (given) end_sole_access(fd);
  ::close(*second);
  return !given;
}

}  // namespace

Result<bool> try_sole_access(int fd) {
  // Whoever opens the file meanwhile has a signal sent to us: SIGIO, the default, would end the process.
  if (::fcntl(fd, F_SETSIG, SIGURG) != 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("descriptor {}: {}; give that of a brick", fd, std::strerror(errno))};
  }
  if (::fcntl(fd, F_GETLEASE) == F_WRLCK) return true;
  const auto counted = is_counted(fd);
  if (!counted) return counted.error();
  if (!*counted) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("descriptor {} is as memfd_create() made it, and the kernel does not count it: give one "
                             "from open_again()",
                             fd)};
  }
  if (::fcntl(fd, F_SETLEASE, F_WRLCK) == 0) return true;
  const int error = errno;
  if (error == EAGAIN || error == EBUSY) return false;
  if (error == EINVAL || error == EACCES) {
    return Error{HostErrc::InvalidArgument, fmt::format("descriptor {} cannot have a file lease: {}; give that of a "
                                                        "regular file of this user",
                                                        fd, std::strerror(error))};
  }
  return Error{HostErrc::NoResources,
               fmt::format("the kernel gives no file lease on descriptor {}: {}; fs.leases-enable must be 1", fd,
                           std::strerror(error))};
}

Result<void> take_sole_access(int fd) {
  const auto taken = try_sole_access(fd);
  if (!taken) return taken.error();
  if (*taken) return {};
  const auto holders = holders_of(fd);
  return Error{HostErrc::WrongState,
               fmt::format("the brick in descriptor {} is still open or mapped, by {}: end them, and try again", fd,
                           holders ? to_string(*holders) : holders.error().message)};
}

void end_sole_access(int fd) { ::fcntl(fd, F_SETLEASE, F_UNLCK); }

Result<int> open_again(int fd) {
  end_sole_access(fd);  // or the kernel would have us wait for ourselves
  const int again = above_standard(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDWR | O_CLOEXEC));
  if (again >= 0) return again;
  return Error{HostErrc::NoResources,
               fmt::format("the brick in descriptor {} cannot be opened again: {}; /proc must be "
                           "mounted, and the limit of open files (ulimit -n) not reached",
                           fd, std::strerror(errno))};
}

}  // namespace sluice::inline vmm
