// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "sluice/engine/engine.hpp"
#include "sluice/manager/scrubber_config.hpp"
#include "sluice/memory/backing_memory.hpp"

namespace sluice::inline manager {

// What a manager is made of, looked at before anything is scrubbed. Errors: InvalidArgument.

/// They are whole pages and share no byte.
[[nodiscard]] Result<void> check_bricks(std::span<const Brick> bricks);
/// Each brick lies inside the engine's windows.
[[nodiscard]] Result<void> check_engine(std::span<const Brick> bricks, const Engine& engine);
[[nodiscard]] Result<void> check_config(const ScrubberConfig& config);

}  // namespace sluice::inline manager
