// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "sluice/driver/engine_registry.hpp"

namespace sluice::sim {

/// "rtl": a RingEngine over a SimulatedDevice. See SimOptions and RingOptions.
[[nodiscard]] std::unique_ptr<EngineFactory> make_rtl_factory();

}  // namespace sluice::sim
