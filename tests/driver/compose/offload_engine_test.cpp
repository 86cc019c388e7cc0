// SPDX-License-Identifier: Apache-2.0
#include "sluice/compose/offload_engine.hpp"

#include <gtest/gtest.h>

#include "scripted_engine.hpp"
#include "sluice/compose/job_splitter.hpp"
#include "support/manual_engine.hpp"
#include "support/memory.hpp"

namespace sluice::test {
namespace {

constexpr OffloadLengths kLengths{ByteCount(8192), ByteCount(16'384)};

class OffloadEngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cpu = std::make_unique<ManualEngine>();
    auto engine = std::make_unique<ManualEngine>();
    cpu_ = cpu.get();
    engine_ = engine.get();
    both_ = *OffloadEngine::create(std::move(cpu), std::move(engine), kLengths);
  }
  JobId submit(std::size_t length) {
    const ScrubJob job{memory_.part(0, length), 0, Urgency::Background, length};
    JobId id;
    const auto accepted = both_->submit({&job, 1}, {&id, 1});
    EXPECT_TRUE(accepted);
    return id;
  }

  Memory memory_{1 << 20};
  std::unique_ptr<OffloadEngine> both_;
  ManualEngine* cpu_ = nullptr;
  ManualEngine* engine_ = nullptr;
};

TEST_F(OffloadEngineTest, ShortJobsGoToTheCpuAndLongOnesToTheEngine) {
  submit(4096);
  submit(32'768);
  EXPECT_EQ(cpu_->running().size(), 1U);
  EXPECT_EQ(engine_->running().size(), 1U);
  EXPECT_EQ(engine_->running().at(0).job.memory.size(), 32'768U);
}

TEST_F(OffloadEngineTest, InBetweenAJobGoesWhereTheLastOneWent) {
  submit(12'288);
  EXPECT_EQ(cpu_->running().size(), 1U) << "the CPU at first";
  submit(32'768);
  submit(12'288);
  EXPECT_EQ(engine_->running().size(), 2U);
  submit(4096);
  submit(12'288);
  EXPECT_EQ(cpu_->running().size(), 3U);
  submit(kLengths.above.value());
  EXPECT_EQ(cpu_->running().size(), 4U) << "above means longer";
}

TEST_F(OffloadEngineTest, PiecesOfALongJobGoWhereItWould) {
  const auto splitter = std::move(JobSplitter::create(*both_, {.piece_length = ByteCount(4096)})).value();
  const ScrubJob jobs[] = {{memory_.part(0, 32'768)}, {memory_.part(32'768, 8000)}};
  std::array<JobId, 2> ids;
  ASSERT_EQ(splitter->submit(jobs, ids).value(), 2U);
  EXPECT_EQ(engine_->running().size(), 8U);
  EXPECT_EQ(cpu_->running().size(), 2U);
}

TEST_F(OffloadEngineTest, CompletionsAndCancelsFindTheirJobs) {
  const JobId on_cpu = submit(4096);
  const JobId on_engine = submit(32'768);
  EXPECT_NE(on_cpu, on_engine) << "both are the first job of their engine";
  EXPECT_EQ(both_->cancel(on_engine), CancelResult::Requested);
  EXPECT_TRUE(engine_->running().at(0).cancel_requested);
  EXPECT_FALSE(cpu_->running().at(0).cancel_requested);
  cpu_->end_all();
  engine_->end_all();
  std::array<Completion, 4> completions;
  ASSERT_EQ(both_->poll(completions), 2U);
  for (const Completion& completion : std::span(completions).first(2)) {
    EXPECT_EQ(completion.id, completion.cookie == 4096 ? on_cpu : on_engine);
  }
}

TEST_F(OffloadEngineTest, NeitherSideStarvesWhenCompletionsAreCollectedOneByOne) {
  for (int job = 0; job < 6; ++job) submit(job % 2 == 0 ? 4096 : 32'768);
  cpu_->end_all();
  engine_->end_all();
  std::array<std::size_t, 2> got{};
  for (int poll = 0; poll < 4; ++poll) {
    Completion completion;
    ASSERT_EQ(both_->poll({&completion, 1}), 1U);
    ++got[completion.cookie == 4096 ? 0 : 1];
  }
  EXPECT_EQ(got[0], 2U);
  EXPECT_EQ(got[1], 2U);
}

TEST_F(OffloadEngineTest, BatchIsCutWhereTheSideChanges) {
  const std::size_t lengths[] = {4096, 4096, 32'768, 12'288, 4096};
  std::vector<ScrubJob> jobs;
  for (const std::size_t length : lengths) jobs.push_back({memory_.part(0, length)});
  std::vector<JobId> ids(jobs.size());
  const auto accepted = both_->submit(jobs, ids);
  ASSERT_TRUE(accepted);
  EXPECT_EQ(*accepted, jobs.size());
  EXPECT_EQ(cpu_->running().size(), 3U);
  EXPECT_EQ(engine_->running().size(), 2U);
}

TEST_F(OffloadEngineTest, WhenOneSideFailsItsJobsGoToTheOther) {
  for (const bool engine_fails : {true, false}) {
    SetUp();
    submit(4096);
    submit(32'768);
    ManualEngine& failing = engine_fails ? *engine_ : *cpu_;
    ManualEngine& healthy = engine_fails ? *cpu_ : *engine_;
    failing.break_down();
    EXPECT_FALSE(both_->fault());
    submit(4096);
    submit(32'768);
    EXPECT_EQ(healthy.running().size(), 3U);
    std::array<Completion, 4> completions;
    ASSERT_EQ(both_->poll(completions), 1U);
    EXPECT_EQ(completions[0].outcome, Outcome::Failed);
    EXPECT_EQ(completions[0].cookie, engine_fails ? 32'768U : 4096U);
    healthy.end_all();
    EXPECT_EQ(both_->poll(completions), 3U);
    healthy.break_down();
    EXPECT_TRUE(both_->fault());
  }
}

/// Both sides scripted.
class OffloadScript : public ::testing::Test {
 protected:
  OffloadScript() {
    for (auto& side : sides_) side = new ScriptedEngine;  // the engine that is composed of them owns them
    both_ = *OffloadEngine::create(std::unique_ptr<Engine>(sides_[0]), std::unique_ptr<Engine>(sides_[1]), kLengths,
                                   std::chrono::seconds(8));
  }
  JobId submit(std::size_t length) {
    const ScrubJob job{memory_.part(0, length), 0, Urgency::Background, length};
    JobId id;
    EXPECT_TRUE(both_->submit({&job, 1}, {&id, 1}));
    return id;
  }

  Memory memory_{1 << 20};
  ScriptedEngine* sides_[2];
  std::unique_ptr<OffloadEngine> both_;
};

TEST_F(OffloadScript, ASideThatThrowsLiesOrStopsIsGivenUpAndTheOtherGoesOn) {
  const int fd = both_->completion_fd();
  ASSERT_GT(fd, 2);
  submit(32'768);
  sides_[1]->throws_in = "submit";
  submit(32'768);
  EXPECT_TRUE(is_readable(fd));
  Completion completion;
  for (int left = 2; left > 0; --left) {
    EXPECT_TRUE(is_readable(fd));
    ASSERT_EQ(both_->poll({&completion, 1}), 1U);
    EXPECT_EQ(completion.outcome, Outcome::Failed);
  }
  EXPECT_FALSE(is_readable(fd));
  submit(32'768);
  EXPECT_EQ(sides_[0]->running.size(), 1U);
  EXPECT_FALSE(both_->fault());
}

TEST_F(OffloadScript, ASideThatStopsIsGivenUpThoughTheOtherMakesProgress) {
  submit(32'768);
  std::array<Completion, 4> some;
  std::size_t ended = 0;
  for (int second = 0; second < 20; ++second) {
    submit(4096);
    sides_[0]->zero(0);
    sides_[1]->time += std::chrono::seconds(1);
    const std::size_t got = both_->poll(some);
    for (const Completion& completion : std::span(some).first(got)) ended += completion.cookie == 32'768 ? 1 : 0;
  }
  EXPECT_EQ(ended, 1U);
  EXPECT_FALSE(both_->fault());
}

TEST_F(OffloadScript, ABatchWithAJobThatIsRefusedBeginsOnNeitherSide) {
  for (ScriptedEngine*& side : sides_) {
    side = new ScriptedEngine;
    side->windows = {memory_.part(0, 64 << 10)};
  }
  sides_[0]->offers.verifies = false;
  const ScrubJob wrong[] = {{memory_.part(0, 0)},
                            {memory_.part(48 << 10, 32 << 10)},
                            {memory_.part(0, 32 << 10), 0, Urgency::Background, 0, Operation::Verify}};
  const DriverErrc codes[] = {DriverErrc::InvalidArgument, DriverErrc::OutsideWindow, DriverErrc::InvalidArgument};
  both_ = *OffloadEngine::create(std::unique_ptr<Engine>(sides_[0]), std::unique_ptr<Engine>(sides_[1]), kLengths);
  for (std::size_t which = 0; which < std::size(wrong); ++which) {
    for (const std::size_t length : {4096U, 32'768U}) {
      const ScrubJob jobs[] = {{memory_.part(0, length)}, wrong[which]};
      std::array<JobId, 2> ids;
      const auto refused = both_->submit(jobs, ids);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, codes[which]);
      EXPECT_NE(refused.error().message.find("job 1"), std::string::npos) << refused.error().message;
      EXPECT_TRUE(sides_[0]->running.empty() && sides_[1]->running.empty());
    }
  }
}

TEST_F(OffloadScript, FillsWithRandomBytesWhereBothDo) {
  for (const bool one : {false, true}) {
    for (const bool other : {false, true}) {
      auto first = std::make_unique<ScriptedEngine>();
      auto second = std::make_unique<ScriptedEngine>();
      first->offers.fills_random = one;
      second->offers.fills_random = other;
      const auto both = *OffloadEngine::create(std::move(first), std::move(second), kLengths);
      EXPECT_EQ(both->capabilities().fills_random, one && other);
    }
  }
}

TEST_F(OffloadScript, WithoutADescriptorOfBothItHasNone) {
  auto* polled = new ScriptedEngine;
  polled->has_descriptor = false;
  const auto both =
      *OffloadEngine::create(std::make_unique<ScriptedEngine>(), std::unique_ptr<Engine>(polled), kLengths);
  EXPECT_EQ(both->completion_fd(), -1);
}

TEST(OffloadEngine, RefusesLengthsTheWrongWayRound) {
  const auto made = OffloadEngine::create(std::make_unique<ManualEngine>(), std::make_unique<ManualEngine>(),
                                          {ByteCount(8192), ByteCount(4096)});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, DriverErrc::InvalidArgument);
  EXPECT_NE(made.error().message.find("8192"), std::string::npos);
}

}  // namespace
}  // namespace sluice::test
