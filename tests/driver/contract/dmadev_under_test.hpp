// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "engine_under_test.hpp"

namespace sluice::test {

/// The engine over DPDK's skeleton device, filling by copies.
std::vector<EngineKind> dmadev_engines();

}  // namespace sluice::test
