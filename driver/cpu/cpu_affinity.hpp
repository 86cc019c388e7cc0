// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <cstdint>
#include <span>

#include "sluice/engine/error.hpp"

namespace sluice::inline cpu {

/// Errors: InvalidArgument for CPUs that this process may not use.
[[nodiscard]] Result<void> run_only_on(pthread_t thread, std::span<const std::uint32_t> cpus);

}  // namespace sluice::inline cpu
