// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "sluice/ring/ring_format.hpp"

namespace sluice::test {

/// Names tests by the operation of their jobs.
inline std::string operation_name(const ::testing::TestParamInfo<std::uint8_t>& info) {
  return info.param == ring::kOpFill ? "Fill" : info.param == ring::kOpVerify ? "Verify" : "FillVerify";
}

/// The operations that a job on memory can have, for tests that hold for each.
inline auto every_operation() { return ::testing::Values(ring::kOpFill, ring::kOpVerify, ring::kOpFillVerify); }

}  // namespace sluice::test
