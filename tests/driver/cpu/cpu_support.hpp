// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include "cpu_hooks.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "support/memory.hpp"
#include "support/patience.hpp"

namespace sluice::test {

inline std::unique_ptr<CpuEngine> make_engine(MemorySpan window, const CpuOptions& options = {},
                                              const CpuHooks& hooks = {}) {
  const MemorySpan windows[] = {window};
  auto engine = CpuEngine::create(options, windows, hooks);
  EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
  return engine ? std::move(*engine) : nullptr;
}

/// All of them, or the test fails.
inline std::vector<JobId> submit_all(Engine& engine, std::span<const ScrubJob> jobs) {
  std::vector<JobId> ids(jobs.size());
  std::size_t accepted = 0;
  while (accepted < jobs.size()) {
    const auto some = engine.submit(jobs.subspan(accepted), std::span(ids).subspan(accepted));
    EXPECT_TRUE(some) << (some ? "" : some.error().message);
    if (!some) break;
    accepted += *some;
  }
  return ids;
}

inline std::vector<Completion> collect(Engine& engine, std::size_t count) {
  std::vector<Completion> completions(count);
  std::size_t got = 0;
  const bool all =
      comes_true([&] { return (got += engine.poll(std::span(completions).subspan(got))) == completions.size(); });
  EXPECT_TRUE(all) << got << " of " << count << " completions";
  completions.resize(got);
  return completions;
}

inline Completion finish(Engine& engine, const ScrubJob& job) {
  submit_all(engine, {&job, 1});
  const auto completions = collect(engine, 1);
  return completions.empty() ? Completion{} : completions[0];
}

inline constexpr Operation kOperations[] = {Operation::Fill, Operation::Verify, Operation::FillVerify,
                                            Operation::FillRandom};

inline std::string name_of(Operation operation) {
  switch (operation) {
    case Operation::Fill:
      return "Fill";
    case Operation::Verify:
      return "Verify";
    case Operation::FillVerify:
      return "FillVerify";
    case Operation::FillRandom:
      return "FillRandom";
  }
  return "";
}

}  // namespace sluice::test
