// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include "engines.hpp"
#include "support/memory.hpp"
#include "support/patience.hpp"

namespace sluice::test {

inline constexpr std::byte kUntouched{0xA5};
inline constexpr std::uint64_t kPattern = 0x0123456789ABCDEF;
inline constexpr std::size_t kMemory = 8 << 20;
/// From one completion to the next: a simulated engine on a busy machine needs some seconds for megabytes.
inline constexpr std::chrono::seconds kLongestJob{20};

class EngineContract : public ::testing::TestWithParam<EngineKind> {
 protected:
  /// A test that ends in the middle must not wait for an engine that waits for its gate.
  struct OpenGateFirst {
    EngineUnderTest* under_test = nullptr;
    void operator()(Engine* engine) const {
      under_test->open_gate();
      delete engine;
    }
  };
  using MadeEngine = std::unique_ptr<Engine, OpenGateFirst>;

  MadeEngine make(EngineWish wish = {}) {
    if (wish.window.empty()) wish.window = memory_.all();
    return {under_test_->make(wish).release(), OpenGateFirst{under_test_.get()}};
  }

  /// What lies behind the prefix of a job that did not end: untouched, but where its pieces are worked on at once.
  static void expect_untouched(MemorySpan memory, std::uint64_t pattern) {
    if (!GetParam().cuts) {
      EXPECT_EQ(first_not(memory, kUntouched), std::nullopt);
      return;
    }
    for (const std::byte& byte : memory) {
      ASSERT_TRUE(byte == kUntouched || byte == pattern_byte(pattern, &byte));
    }
  }

  static JobId submit_one(Engine& engine, const ScrubJob& job) {
    JobId id;
    const auto accepted = engine.submit({&job, 1}, {&id, 1});
    EXPECT_TRUE(accepted) << accepted.error().message;
    return id;
  }

  /// Those that the engine takes.
  static std::vector<Operation> operations(const Engine& engine) {
    if (!engine.capabilities().verifies) return {Operation::Fill};
    return {Operation::Fill, Operation::Verify, Operation::FillVerify};
  }

  /// Polls until `count` completions are there.
  static std::vector<Completion> collect(Engine& engine, std::size_t count) {
    std::vector<Completion> collected;
    std::array<Completion, 16> some;
    for (Patience patience(kLongestJob); collected.size() < count && !patience.over();) {
      const std::size_t got = engine.poll(some);
      if (got > 0) patience.renew();
      collected.insert(collected.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(got));
      if (got == 0) std::this_thread::yield();
    }
    EXPECT_EQ(collected.size(), count);
    return collected;
  }

  /// Nothing more comes, however often one asks.
  static void expect_no_more(Engine& engine) {
    std::array<Completion, 4> some;
    for (int attempt = 0; attempt < 20; ++attempt) EXPECT_EQ(engine.poll(some), 0U);
  }

  Memory make_memory() {
    const MemorySpan own = under_test_->memory(kMemory);
    return own.empty() ? Memory(kMemory, kUntouched) : Memory(own, kUntouched);
  }

  std::unique_ptr<EngineUnderTest> under_test_ = GetParam().make();
  Memory memory_ = make_memory();
};

}  // namespace sluice::test
