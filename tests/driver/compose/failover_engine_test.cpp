// SPDX-License-Identifier: Apache-2.0
// Engines that do wrong are given up, and nothing that is in doubt is called zeroed.
#include "sluice/compose/failover_engine.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "sluice/cpu/cpu_engine.hpp"
#include "support/faulty_engine.hpp"
#include "support/memory.hpp"
#include "support/patience.hpp"

namespace sluice {
namespace {

using test::EngineMisdeed;
using test::FaultyEngine;
using test::first_not;
using test::Memory;

constexpr std::byte kUntouched{0xA5};

class FailoverTest : public ::testing::Test {
 protected:
  EngineCandidate cpu() {
    return {"cpu", [this]() -> Result<std::unique_ptr<Engine>> { return make_cpu(); }};
  }
  EngineCandidate faulty(EngineMisdeed misdeed, std::uint64_t nth) {
    return {"faulty", [=, this]() -> Result<std::unique_ptr<Engine>> {
              return std::unique_ptr<Engine>(std::make_unique<FaultyEngine>(make_cpu(), misdeed, nth, 1));
            }};
  }
  static EngineCandidate missing(const std::string& name) {
    return {name, [name]() -> Result<std::unique_ptr<Engine>> {
              return Error{DriverErrc::DeviceMissing, "no " + name + " here"};
            }};
  }
  static std::unique_ptr<FailoverEngine> make(std::vector<EngineCandidate> candidates) {
    FailoverOptions options;
    options.stall_timeout = std::chrono::seconds(1);
    auto engine = FailoverEngine::create(std::move(candidates), options);
    EXPECT_TRUE(engine) << engine.error().message;
    return std::move(*engine);
  }

  /// Submits one job for each page from `first` to `last` and waits for all; by page.
  std::vector<Completion> scrub(FailoverEngine& engine, std::size_t first, std::size_t last) {
    std::vector<Completion> results(last);
    std::vector<int> seen(last);
    std::size_t done = 0;
    test::Patience patience;
    const auto collect = [&] {
      std::array<Completion, 8> some;
      const std::size_t got = engine.poll(some);
      for (const Completion& completion : std::span(some).first(got)) {
        results.at(completion.cookie) = completion;
        ++seen.at(completion.cookie);
        ++done;
        patience.renew();
      }
      if (got == 0) std::this_thread::yield();
    };
    for (std::size_t page = first; page < last && !patience.over();) {
      const ScrubJob job{memory_.part(page * 4096, 4096), 0, Urgency::Background, page};
      JobId id;
      if (engine.submit({&job, 1}, {&id, 1})) {
        ++page;
      } else {
        collect();
      }
    }
    while (done < last - first && !patience.over()) collect();
    for (std::size_t page = first; page < last; ++page) EXPECT_EQ(seen[page], 1) << "page " << page;
    return results;
  }

  Memory memory_{1 << 20, kUntouched};

 private:
  std::unique_ptr<Engine> make_cpu() {
    const MemorySpan windows[] = {memory_.all()};
    return std::move(CpuEngine::create({.max_jobs = 16}, windows)).value();
  }
};

class FailoverMisdeeds : public FailoverTest, public ::testing::WithParamInterface<EngineMisdeed> {};

TEST_P(FailoverMisdeeds, NothingInDoubtIsCalledZeroedAndTheNextEngineGoesOn) {
  const EngineMisdeed misdeed = GetParam();
  auto engine = make({faulty(misdeed, 30), cpu()});
  const auto results = scrub(*engine, 0, 100);
  std::size_t failed = 0;
  for (std::size_t page = 0; page < 100; ++page) {
    failed += results[page].outcome == Outcome::Failed ? 1 : 0;
    if (results[page].outcome == Outcome::Failed) {
      EXPECT_EQ(results[page].bytes_zeroed, ByteCount(0));
      continue;
    }
    EXPECT_EQ(results[page].outcome, Outcome::Zeroed);
    EXPECT_EQ(first_not(memory_.part(page * 4096, 4096), std::byte{0}), std::nullopt) << "page " << page;
  }
  const bool given_up = is_harmful(misdeed) && misdeed != EngineMisdeed::Error;
  ASSERT_EQ(engine->failovers().size(), given_up ? 1U : 0U);
  if (given_up) {
    EXPECT_EQ(engine->failovers()[0].from, "faulty");
    EXPECT_EQ(engine->failovers()[0].to, "cpu");
    EXPECT_FALSE(engine->failovers()[0].reason.empty());
  }
  const bool whatever_is_in_flight = misdeed == EngineMisdeed::ForeignJob || misdeed == EngineMisdeed::Duplicate ||
                                     misdeed == EngineMisdeed::Refuses || misdeed == EngineMisdeed::ThrowsInFault;
  EXPECT_TRUE(whatever_is_in_flight || (failed > 0) == is_harmful(misdeed)) << failed;
  EXPECT_FALSE(engine->fault());
  const auto more = scrub(*engine, 100, 150);
  for (std::size_t page = 100; page < 150; ++page) EXPECT_EQ(more[page].outcome, Outcome::Zeroed);
}

INSTANTIATE_TEST_SUITE_P(All, FailoverMisdeeds, ::testing::ValuesIn(test::kMisdeeds),
                         [](const auto& misdeed) { return to_string(misdeed.param); });

TEST_F(FailoverTest, UsesTheFirstThatCanBeMadeAndSaysWhyNotTheOthers) {
  std::vector<Failover> reported;
  FailoverOptions options;
  options.on_failover = [&](const Failover& failover) { reported.push_back(failover); };
  auto engine = FailoverEngine::create({missing("xrt"), missing("dmadev"), cpu()}, options);
  ASSERT_TRUE(engine);
  ASSERT_EQ(reported.size(), 2U);
  EXPECT_EQ(reported[0].from, "xrt");
  EXPECT_EQ(reported[0].reason, "no xrt here");
  EXPECT_EQ(reported[1].from, "dmadev");
  EXPECT_EQ(reported[1].to, "cpu");
  EXPECT_EQ((*engine)->capabilities().name.substr(0, 3), "cpu");
}

TEST_F(FailoverTest, WithoutAnEngineThatCanBeMadeItSaysWhatTheLastOneSaid) {
  const auto none = FailoverEngine::create({missing("xrt"), missing("dmadev")}, {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message, "no dmadev here");
  EXPECT_EQ(FailoverEngine::create({}, {}).error().code, DriverErrc::InvalidArgument);
}

TEST_F(FailoverTest, WhenTheLastEngineIsGivenUpEverythingFailsAndNothingIsTaken) {
  auto engine = make({faulty(EngineMisdeed::Duplicate, 3), faulty(EngineMisdeed::Death, 2)});
  std::vector<JobId> ids(10);
  for (int round = 0; round < 1000 && !engine->fault(); ++round) {
    const ScrubJob job{memory_.part(0, 4096)};
    static_cast<void>(engine->submit({&job, 1}, ids));
    std::array<Completion, 4> some;
    engine->poll(some);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  ASSERT_TRUE(engine->fault());
  EXPECT_EQ(engine->fault()->code, DriverErrc::EngineFailed);
  ASSERT_EQ(engine->failovers().size(), 2U);
  EXPECT_EQ(engine->failovers()[1].to, "");
  EXPECT_EQ(engine->failovers()[1].reason, "the device is gone");
  const ScrubJob job{memory_.part(0, 4096)};
  EXPECT_EQ(engine->submit({&job, 1}, ids).error().code, DriverErrc::EngineFailed);
}

TEST_F(FailoverTest, ACandidateWhoseMakingThrowsIsPassedOver) {
  const EngineCandidate throwing{"wild", []() -> Result<std::unique_ptr<Engine>> { throw std::runtime_error("no"); }};
  const EngineCandidate none{"none", []() -> Result<std::unique_ptr<Engine>> { return std::unique_ptr<Engine>(); }};
  auto engine = make({throwing, none, faulty(EngineMisdeed::Death, 1), throwing, cpu()});
  const auto results = scrub(*engine, 0, 20);
  EXPECT_EQ(engine->failovers().size(), 4U);
  EXPECT_NE(engine->failovers()[0].reason.find("threw: no"), std::string::npos);
  EXPECT_EQ(engine->failovers()[3].to, "cpu");
  EXPECT_FALSE(engine->fault());
}

}  // namespace
}  // namespace sluice
