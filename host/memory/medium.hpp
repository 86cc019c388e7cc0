// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "sluice/memory/backing_memory.hpp"

namespace sluice::inline memory {

/// What a test puts in the place of the kernel's answers. Users have no part in it.
struct MediumHooks {
  std::function<long(int fd)> file_system;     ///< statfs(2), f_type
  std::function<int(MemorySpan memory)> sync;  ///< msync(2) with MS_SYNC: 0, or -1 and errno
};

/// What keeps the content of a file on the file system of this type (statfs(2), f_type; linux/magic.h). `name` is for
/// the error. Errors: InvalidArgument, for one of which it cannot be proved that what was overwritten is gone: it
/// writes elsewhere (copy on write, compression, snapshots), it stands on another one, or nobody here knows it.
[[nodiscard]] Result<Medium> medium_of(long file_system, const std::string& name);

/// Maps a file on persistent memory so that no metadata is lost (MAP_SYNC): what the CPU's caches have given back is
/// there after a power cut. MAP_FAILED, with errno, where the file is not on such memory.
[[nodiscard]] void* map_persistent_memory(int fd, std::size_t length);

/// Writes the lines of `memory` back from the CPU's caches, and waits for them.
void flush_lines(MemorySpan memory);

/// Returns when the content of `memory`, of a shared mapping of a file, is on its medium. 0, or -1 and errno. Whoever
/// wrote it: pages that a device has written, of which the kernel knows nothing, are marked as written first.
[[nodiscard]] int sync_to_medium(MemorySpan memory);

}  // namespace sluice::inline memory
