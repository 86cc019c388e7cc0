// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

namespace sluice::inline vmm {

/// Of a folder such as /proc/4711: what proc_pid_comm(5) says, at most 15 bytes; what is not printable is a '?'. Empty:
/// the process has ended.
[[nodiscard]] std::string command_of(const std::filesystem::path& process);

}  // namespace sluice::inline vmm
