// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "sluice/engine/engine_registry.hpp"

namespace sluice {

/// "auto": an OffloadEngine over the CPU and an engine of `registry`, as `sluice bench` has found them on this machine.
[[nodiscard]] std::unique_ptr<EngineFactory> make_auto_factory(EngineRegistry registry);

}  // namespace sluice
