// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include "sluice/base/units.hpp"

namespace sluice::inline memory {

struct AvailableMemory {
  ByteCount bytes = ByteCount(~0ULL);
  std::string limit;  ///< What allows no more, as "cgroup /batch/job 7"; empty: nothing that is known.
};

/// What this process can still get in small pages without swapping and without being killed: the least of what the host
/// has, what is left in its memory cgroup and in each parent of that (version 1 and 2), and what RLIMIT_AS leaves.
/// What the cgroups hold of files counts as free, as it does for the host. `root`: where /proc and /sys are.
///
/// RLIMIT_MEMLOCK does not count: a pool is not locked.
[[nodiscard]] AvailableMemory available_memory(const std::filesystem::path& root = "/");

}  // namespace sluice::inline memory
