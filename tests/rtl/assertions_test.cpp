// SPDX-License-Identifier: Apache-2.0
// The wait for write responses, switched off: a build of the RTL that completes cancelled jobs at once. These tests
// show that both the assertions in the RTL and an onlooker who only reads memory notice.
#include <gtest/gtest.h>

#include "raw_engine.hpp"

namespace sluice::test {
namespace {

constexpr std::byte kNextOwner{0x5A};

/// Cancels a long job, and lets the next owner write as soon as the completion says that it is safe. Returns whether
/// the engine wrote over that.
bool engine_writes_after_its_completion(const std::string& build, bool assertions) {
  RawEngine engine({.build = build, .timing = {{20, 20}, {200, 300}, {0, 0}, 1.0, false}, .assertions = assertions});
  engine.start();
  engine.submit(engine.fill(0, 1 << 20, 0));
  engine.device().run_cycles(900);
  engine.cancel(0, 1);
  engine.collect();
  engine.data().fill(kNextOwner);
  engine.device().run_cycles(2000);
  return first_not(engine.data().all(), kNextOwner).has_value();
}

TEST(Quiescence, EngineNeverWritesAfterItsCompletion) { EXPECT_FALSE(engine_writes_after_its_completion("512", true)); }

TEST(Quiescence, SwitchedOffIsSeenInTheMemory) {
  EXPECT_TRUE(engine_writes_after_its_completion("512-no-quiescence", false));
}

TEST(Quiescence, SwitchedOffFailsAnAssertion) {
  try {
    engine_writes_after_its_completion("512-no-quiescence", true);
    FAIL() << "no assertion fired";
  } catch (const RtlViolation& violation) {
    EXPECT_NE(std::string(violation.what()).find("sluice_bindings.sv"), std::string::npos) << violation.what();
  }
}

}  // namespace
}  // namespace sluice::test
