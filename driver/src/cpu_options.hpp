// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/driver/cpu_engine.hpp"

namespace sluice {

/// The options with the CPUs of their NUMA node. Errors: InvalidArgument for what cannot work on this machine.
[[nodiscard]] Result<CpuOptions> check_options(CpuOptions options);

}  // namespace sluice
