// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "sluice/compose/failover_engine.hpp"
#include "sluice/engine/engine_registry.hpp"

namespace sluice::inline compose {

/// "cpu", and the kinds that come as plugins: "rtl", "dmadev" and "xrt", each in
/// SLUICE_PLUGIN_DIR/sluice_engine_KIND.so. One that is not installed is there and says so.
[[nodiscard]] EngineRegistry make_plain_registry();

/// The first of these engines that works, with these windows. The registry outlives it. Errors: of FailoverEngine.
[[nodiscard]] Result<std::unique_ptr<FailoverEngine>> make_engine(const EngineRegistry& registry,
                                                                  const std::vector<EngineName>& names,
                                                                  std::vector<MemorySpan> windows,
                                                                  const FailoverOptions& options = {});

}  // namespace sluice::inline compose
