// SPDX-License-Identifier: Apache-2.0
// The simulated engine as a plugin: a program that asks for no "rtl" loads no simulator.
#include "sluice/device/rtl_factory.hpp"
#include "sluice/engine/engine_plugin.hpp"

extern "C" sluice::EngineFactory* sluice_engine_plugin(unsigned abi) {
  return abi == sluice::kEnginePluginAbi ? sluice::make_rtl_factory().release() : nullptr;
}
