// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "engine_under_test.hpp"

namespace sluice::test {

/// Every engine that the contract suite runs on.
std::vector<EngineKind> all_engines();

}  // namespace sluice::test
