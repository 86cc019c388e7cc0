// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include "engines.hpp"
#include "support/memory.hpp"

namespace sluice::test {

inline constexpr std::byte kUntouched{0xA5};
inline constexpr std::uint64_t kPattern = 0x0123456789ABCDEF;
inline constexpr std::size_t kMemory = 8 << 20;
inline constexpr auto kPatience = std::chrono::seconds(60);

class EngineContract : public ::testing::TestWithParam<EngineKind> {
 protected:
  std::unique_ptr<Engine> make(EngineWish wish = {}) {
    if (wish.window.empty()) wish.window = memory_.all();
    return under_test_->make(wish);
  }

  static JobId submit_one(Engine& engine, const ScrubJob& job) {
    JobId id;
    const auto accepted = engine.submit({&job, 1}, {&id, 1});
    EXPECT_TRUE(accepted) << accepted.error().message;
    return id;
  }

  /// Polls until `count` completions are there.
  static std::vector<Completion> collect(Engine& engine, std::size_t count) {
    std::vector<Completion> collected;
    std::array<Completion, 16> some;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (collected.size() < count) {
      const std::size_t got = engine.poll(some);
      collected.insert(collected.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(got));
      if (got == 0) std::this_thread::yield();
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "only " << collected.size() << " of " << count << " completions came";
        break;
      }
    }
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
