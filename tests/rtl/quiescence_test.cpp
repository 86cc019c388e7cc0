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
bool engine_writes_after_its_completion(sim::RtlVariant variant, bool assertions) {
  RawEngine engine({.variant = variant, .timing = {{20, 20}, {200, 300}, {0, 0}, 1.0}, .assertions = assertions});
  engine.start();
  engine.submit(engine.fill(0, 1 << 20, 0));
  engine.device().run_cycles(600);
  engine.cancel(0, 1);
  engine.collect();
  engine.data().fill(kNextOwner);
  engine.device().run_cycles(2000);
  return first_not(engine.data().all(), kNextOwner).has_value();
}

TEST(Quiescence, EngineNeverWritesAfterItsCompletion) {
  EXPECT_FALSE(engine_writes_after_its_completion(sim::RtlVariant::Normal, true));
}

TEST(Quiescence, SwitchedOffIsSeenInTheMemory) {
  EXPECT_TRUE(engine_writes_after_its_completion(sim::RtlVariant::WithoutQuiescence, false));
}

TEST(Quiescence, SwitchedOffFailsAnAssertion) {
  try {
    engine_writes_after_its_completion(sim::RtlVariant::WithoutQuiescence, true);
    FAIL() << "no assertion fired";
  } catch (const sim::RtlViolation& violation) {
    EXPECT_NE(std::string(violation.what()).find("sluice_track"), std::string::npos) << violation.what();
  }
}

}  // namespace
}  // namespace sluice::test
