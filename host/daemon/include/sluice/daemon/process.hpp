// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <utility>

#include "sluice/memory/error.hpp"

namespace sluice::inline daemon {

/// A process, told from a later one that has the same id.
struct ProcessId {
  pid_t process = 0;
  std::uint64_t start = 0;  ///< proc_pid_stat(5), field 22: clock ticks since the boot.
  bool operator==(const ProcessId&) const = default;
};

/// A process that is watched: its pidfd is readable when it has ended. Closed with this.
class Process {
 public:
  /// That at the other end of a connected unix socket. The kernel says who (SO_PEERPIDFD, or SO_PEERCRED where it does
  /// not know that). Errors: UnknownId (it has ended), NoResources.
  [[nodiscard]] static Result<Process> peer_of(int socket);
  /// That of a pidfd, which is this object's then, whatever is returned. Errors: InvalidArgument (it is none),
  /// UnknownId (the process has ended).
  [[nodiscard]] static Result<Process> of_pidfd(int pidfd);
  /// The one that had this id. Errors: UnknownId (it has ended), NoResources.
  [[nodiscard]] static Result<Process> find(const ProcessId& id);

  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  [[nodiscard]] const ProcessId& id() const { return id_; }
  /// The caller closes it.
  [[nodiscard]] int take_pidfd() { return std::exchange(pidfd_, -1); }

 private:
  Process(ProcessId id, int pidfd) : id_(id), pidfd_(pidfd) {}

  ProcessId id_;
  int pidfd_ = -1;
};

}  // namespace sluice::inline daemon
