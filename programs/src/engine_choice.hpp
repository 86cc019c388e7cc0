// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "sluice/driver/engine_registry.hpp"
#include "sluice/host/backing_memory.hpp"

namespace sluice {

/// All kinds of engines that this program knows.
[[nodiscard]] EngineRegistry make_engine_registry();

/// Makes the engine and opens the pool's memory to it.
[[nodiscard]] Result<std::unique_ptr<Engine>> make_engine(const EngineRegistry& registry, const EngineName& name,
                                                          const BackingMemory& memory);

/// For tests: an engine that reports everything as zeroed and writes nothing.
[[nodiscard]] Result<std::unique_ptr<Engine>> make_idle_engine(const BackingMemory& memory);

}  // namespace sluice
