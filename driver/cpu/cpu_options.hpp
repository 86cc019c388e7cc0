// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/cpu/cpu_engine.hpp"

namespace sluice::inline cpu {

/// The options with the CPUs of their NUMA node. Errors: InvalidArgument for what cannot work on this machine.
[[nodiscard]] Result<CpuOptions> check_options(CpuOptions options);

}  // namespace sluice::inline cpu
