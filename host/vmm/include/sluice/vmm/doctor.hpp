// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::inline vmm {

/// One thing of a host that leases need, or are better with.
struct Finding {
  enum class Grade : std::uint8_t {
    Good,
    Warning,  ///< Leases work, with a loss that `found` names.
    Failure,  ///< They do not work, or not for all VMs.
  };
  Grade grade = Grade::Good;
  std::string subject;  ///< "huge pages"
  std::string found;    ///< What is so.
  std::string remedy;   ///< What to do; empty where there is nothing to do.
};

/// "good", "warning" and so on, for people and scripts.
[[nodiscard]] std::string_view to_string(Finding::Grade grade);

struct HostToExamine {
  std::string memory_folder = "/run/sluice/memory";  ///< sluiced's memory.folder.
  std::string socket = "/run/sluice/sluiced.sock";   ///< sluiced's vmm.socket.
  std::string root;                                  ///< In front of /dev, /etc, /proc and /sys: for tests.
};

/// Looks at the kernel, the folder of bricks, huge pages, KVM, sluiced, libvirt, and at VMs whose memory is not leased.
/// Changes nothing that lasts: a file without a name in the folder, or in the nearest one above that is there. What
/// cannot be looked at is a finding. Milliseconds, and more where many VMs run.
[[nodiscard]] std::vector<Finding> examine(const HostToExamine& host);

}  // namespace sluice::inline vmm
