// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::inline vmm {

/// What a VMM has mapped, as far as it can be memory of a guest.
struct GuestMemory {
  pid_t process = 0;
  std::string command;        ///< As proc_pid_comm(5) has it; what is not printable is a '?'.
  ByteCount leased{0};        ///< In files of the folder with our bricks.
  ByteCount other{0};         ///< In anything else that is large enough.
  std::string largest_other;  ///< "anonymous memory", or a path.
};

/// The shortest writable mapping that counts: below it are a VMM's own data, video memory and firmware.
inline constexpr ByteCount kShortestGuestMemory{64ULL << 20};

/// By proc_pid_maps(5). `folder` is that of the bricks, with those in its sub-folders; `proc` is another than /proc in
/// tests. Errors: UnknownId (the process has ended, or may not be looked at), NoResources (the folder cannot be read).
[[nodiscard]] Result<GuestMemory> guest_memory_of(pid_t process, const std::string& folder,
                                                  const std::string& proc = "/proc");

/// The same of every VMM that /proc shows (QEMU, Cloud Hypervisor, Firecracker, crosvm, by their commands), in the
/// order of their ids. Errors: NoResources.
[[nodiscard]] Result<std::vector<GuestMemory>> guest_memory_of_vmms(const std::string& folder,
                                                                    const std::string& proc = "/proc");

}  // namespace sluice::inline vmm
