// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <cstdint>
#include <span>

#include "sluice/driver/error.hpp"

namespace sluice {

/// Errors: InvalidArgument for CPUs that this process may not use.
[[nodiscard]] Result<void> run_only_on(pthread_t thread, std::span<const std::uint32_t> cpus);

}  // namespace sluice
