// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/engine/engine_registry.hpp"

/// What a shared library of an engine exports: a new factory, which the caller deletes, or nullptr if the library was
/// built for another `abi`. Its name is kEnginePluginSymbol.
extern "C" sluice::EngineFactory* sluice_engine_plugin(unsigned abi);

namespace sluice::inline engine {

/// Changes whenever a class that crosses the border does: plugin and program must be of the same build of the headers.
inline constexpr unsigned kEnginePluginAbi = 5;
inline constexpr const char* kEnginePluginSymbol = "sluice_engine_plugin";
using EnginePluginFunction = EngineFactory*(unsigned abi);

}  // namespace sluice::inline engine
