// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/base/uuid.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::inline vmm {

/// What a command line of QEMU says of its guest's memory. From plan_qemu().
struct QemuPlan {
  /// A memory-backend-ram, -file, -memfd or -shm that becomes a brick.
  struct Backend {
    std::size_t argument = 0;  ///< Which of `arguments` is its description.
    std::string id;
    ByteCount length;
    bool operator==(const Backend&) const = default;
  };

  std::vector<std::string> arguments;  ///< As they were given, without the program.
  /// There is no guest: libvirt asks what QEMU can do (-machine none), or somebody for its version or help. The rest of
  /// the plan is empty then.
  bool as_it_is = false;
  Uuid uuid;                      ///< Not set: none was given.
  std::string name;               ///< For people; empty: none. Whatever bytes were given.
  std::vector<Backend> backends;  ///< Each one brick of just its length.
  /// What the guest has beside them: the base memory that only -m speaks of, or nobody (QEMU's 128 MiB). 0: none.
  ByteCount base;

  /// The base memory may consist of several bricks, of any lengths: there is nothing else.
  [[nodiscard]] bool takes_any_bricks() const { return !as_it_is && backends.empty(); }
  /// The lengths of the bricks that are wanted: of the backends in their order, and then of the base.
  [[nodiscard]] std::vector<ByteCount> bricks() const;
};

/// A brick for a plan, by a descriptor that QEMU inherits.
struct QemuBrick {
  int descriptor = -1;
  ByteCount length;
};

inline constexpr std::size_t kMostQemuBricks = 128;  ///< QEMU has no more NUMA nodes.

/// Reads a command line of qemu-system-x86_64 (7.2), without its first word: JSON and key=value, as libvirt and people
/// write them. Memory that is no RAM of the guest (behind nvdimm, ivshmem and the like) stays as it is. Pure.
/// Errors: InvalidArgument, for what makes no sense, and for what would keep the guest's memory out of its lease
/// (share=off, -mem-path, -mem-prealloc, huge pages of one's own, -readconfig) or let it outlive the process
/// (-daemonize).
[[nodiscard]] Result<QemuPlan> plan_qemu(std::span<const std::string> arguments);

/// The plan's arguments with this memory instead: each backend is a memory-backend-file with its id at its place, and
/// the base memory is the machine's memory backend, or the NUMA nodes where there are several bricks. `monitor`: a
/// listening socket that QEMU inherits, for one more QMP monitor; -1: none. Pure.
/// Errors: InvalidArgument (bricks that are not those of the plan).
[[nodiscard]] Result<std::vector<std::string>> with_memory(const QemuPlan& plan, std::span<const QemuBrick> bricks,
                                                           int monitor);

}  // namespace sluice::inline vmm
