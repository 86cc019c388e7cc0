// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "sluice/engine/error.hpp"

namespace sluice::xrt_device {

/// Writes into `folder`, which it creates, what XRT 2.13 wants to see before it emulates a card with the scrub engine:
/// scrub.xclbin, emconfig.json, xrt.ini and a tree that XILINX_XRT can point to, with a link to `library`, the packaged
/// libxrt_hwemu. No Vitis is needed. Returns the environment of the program that uses XRT.
/// Errors: NoResources (a file cannot be written), DeviceMissing (no such library).
[[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> write_emulation_folder(
    const std::filesystem::path& folder, const std::filesystem::path& library);

}  // namespace sluice::xrt_device
