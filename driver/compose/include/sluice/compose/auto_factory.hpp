// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sluice/compose/offload_engine.hpp"
#include "sluice/engine/engine_registry.hpp"

namespace sluice::inline compose {

/// From which length on an engine is worth it on this machine.
struct OffloadAdvice {
  std::string engine;  ///< As EngineName has it.
  OffloadLengths lengths;
};
/// Reads advice from a file. Errors: InvalidArgument; the message names the file.
using AdviceReader = std::function<Result<std::vector<OffloadAdvice>>(const std::string& file)>;

/// "auto": an OffloadEngine between the CPU and an engine of `registry`.
[[nodiscard]] std::unique_ptr<EngineFactory> make_auto_factory(EngineRegistry registry, AdviceReader advice_in);

}  // namespace sluice::inline compose
