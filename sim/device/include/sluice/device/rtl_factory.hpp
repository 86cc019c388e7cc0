// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "sluice/engine/engine_registry.hpp"

namespace sluice::inline device {

/// "rtl": a RingEngine over a SimulatedDevice. See SimOptions and RingOptions.
[[nodiscard]] std::unique_ptr<EngineFactory> make_rtl_factory();

}  // namespace sluice::inline device
