// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

namespace sluice::fuzz {

/// What a fuzz target defines: gives one input to the code under test. It must neither crash nor hang on any, and
/// aborts when a promise is broken.
void one(std::span<const std::byte> input);

}  // namespace sluice::fuzz
