// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "sluice/compose/failover_engine.hpp"
#include "sluice/engine/engine_registry.hpp"

namespace sluice::inline compose {

/// Where engines that come as plugins are: in lib/sluice, seen from a program in bin/ or from libsluice, wherever that
/// tree was installed or moved to; in a build, plugins/, seen from programs one or two folders below it.
[[nodiscard]] std::filesystem::path plugin_folder();

/// "cpu", and the kinds that come as plugins: "rtl", "dmadev" and "xrt", each in sluice_engine_KIND.so of
/// plugin_folder(). One that is not installed is there and says so.
[[nodiscard]] EngineRegistry make_plain_registry();

/// The first of these engines that works, with these windows. The registry outlives it. Errors: of FailoverEngine.
[[nodiscard]] Result<std::unique_ptr<FailoverEngine>> make_engine(const EngineRegistry& registry,
                                                                  const std::vector<EngineName>& names,
                                                                  std::vector<MemorySpan> windows,
                                                                  const FailoverOptions& options = {});

}  // namespace sluice::inline compose
