// SPDX-License-Identifier: Apache-2.0
// A policy in JSON.
#include "fuzz/policy_checks.hpp"

void sluice::fuzz::one(std::span<const std::byte> input) { check_policy(Policy::from_json(as_text(input))); }
