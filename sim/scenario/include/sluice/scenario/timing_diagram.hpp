// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "sluice/device/simulated_device.hpp"

namespace sluice::inline scenario {

/// The pins of some cycles, one behind the other, as WaveJSON (https://github.com/wavedrom/schema): both masters,
/// register writes and the interrupt. Signals that never move are left out; addresses and lengths label their
/// handshakes.
[[nodiscard]] std::string timing_diagram(std::span<const CyclePins> cycles, const std::string& title);

}  // namespace sluice::inline scenario
