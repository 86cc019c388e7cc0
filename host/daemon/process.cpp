// SPDX-License-Identifier: Apache-2.0
#include "sluice/daemon/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "sluice/base/descriptor.hpp"
#include "sluice/base/parse.hpp"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5
#endif

namespace sluice::inline daemon {
namespace {

/// nullopt: there is no such process.
std::optional<std::uint64_t> start_of(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  // The second field is the command in parentheses, with whatever letters it has.
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(end + 1));
  std::string field;
  for (int at = 3; at <= 22; ++at) {
    if (!(fields >> field)) return std::nullopt;
  }
  return parse_integer<std::uint64_t>(field);
}

/// nullopt: it is no pidfd. -1: the process has ended and was waited for.
std::optional<pid_t> process_of(int pidfd) {
  std::ifstream file(fmt::format("/proc/self/fdinfo/{}", pidfd));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("Pid:\t")) return parse_integer<pid_t>(std::string_view(line).substr(5));
  }
  return std::nullopt;
}

Error ended(pid_t process) { return {HostErrc::UnknownId, fmt::format("process {} has ended", process)}; }

}  // namespace

Process::Process(Process&& other) noexcept : id_(other.id_), pidfd_(std::exchange(other.pidfd_, -1)) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(pidfd_, other.pidfd_);
  return *this;
}

Process::~Process() {
  if (pidfd_ >= 0) ::close(pidfd_);
}

Result<Process> Process::of_pidfd(int pidfd) {
  Process process({}, pidfd);
  const auto id = process_of(pidfd);
  if (!id || *id == 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("descriptor {} is no pidfd of a process here: send what pidfd_open() returns", pidfd)};
  }
  // Read while the pidfd says that the id is still that process's.
  const auto start = *id > 0 ? start_of(*id) : std::nullopt;
  if (!start || process_of(pidfd) != id) return ended(*id);
  process.id_ = {*id, *start};
  return process;
}

Result<Process> Process::peer_of(int socket) {
  int pidfd = -1;
  socklen_t length = sizeof pidfd;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0) return of_pidfd(above_standard(pidfd));
  if (errno != ENOPROTOOPT && errno != EINVAL) {
    if (errno == ESRCH || errno == ENODATA) return ended(0);
    return Error{HostErrc::NoResources, fmt::format("the peer of a socket is not known: {}", std::strerror(errno))};
  }
  ucred peer{};
  length = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return Error{HostErrc::NoResources, fmt::format("the peer of a socket is not known: {}", std::strerror(errno))};
  }
  pidfd = above_standard(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0U)));
  if (pidfd >= 0) return of_pidfd(pidfd);
  if (errno == ESRCH) return ended(peer.pid);
  return Error{HostErrc::NoResources, fmt::format("process {} cannot be watched: {}", peer.pid, std::strerror(errno))};
}

Result<Process> Process::find(const ProcessId& id) {
  const int pidfd = above_standard(static_cast<int>(::syscall(SYS_pidfd_open, id.process, 0U)));
  if (pidfd < 0) {
    if (errno == ESRCH || errno == EINVAL) return ended(id.process);
    return Error{HostErrc::NoResources,
                 fmt::format("process {} cannot be watched: {}", id.process, std::strerror(errno))};
  }
  auto found = of_pidfd(pidfd);
  if (found && found->id() != id) return ended(id.process);
  return found;
}

}  // namespace sluice::inline daemon
