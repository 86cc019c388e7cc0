// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "sluice/compose/failover_engine.hpp"
#include "sluice/engine/engine_registry.hpp"
#include "sluice/memory/backing_memory.hpp"

namespace sluice {

/// All kinds of engines that a program can choose from: make_plain_registry(), and "auto" by what was measured.
[[nodiscard]] EngineRegistry make_engine_registry();

/// The first of these engines that works, with the pool's memory opened to it. Registry and memory outlive it.
[[nodiscard]] Result<std::unique_ptr<FailoverEngine>> make_engine(const EngineRegistry& registry,
                                                                  const std::vector<EngineName>& names,
                                                                  const BackingMemory& memory,
                                                                  const FailoverOptions& options = {});

}  // namespace sluice
