// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sluice/memory/error.hpp"

namespace sluice::inline vmm {

/// A process that reaches a file.
struct Holder {
  pid_t process = 0;
  std::string command;  ///< As proc_pid_comm(5) has it, at most 15 bytes; what is not printable is a '?'.
  bool mapped = false;  ///< By a mapping, whether or not it has a descriptor too.
  bool operator==(const Holder&) const = default;
};

/// The processes, other than this one, that have this file open or mapped, in the order of their ids: what /proc shows
/// of them. A message for people, no proof that there are no others: a process of another user or name space may not be
/// shown, and pages that the kernel itself holds (pipes, io_uring) belong to none. Milliseconds on a busy host.
/// Errors: InvalidArgument (`fd` is not open), NoResources (/proc cannot be read).
[[nodiscard]] Result<std::vector<Holder>> holders_of(int fd);

/// "qemu-system-x86 (process 4711, mapped), bash (process 12)"; "nobody that /proc shows" if there are none.
[[nodiscard]] std::string to_string(const std::vector<Holder>& holders);

}  // namespace sluice::inline vmm
