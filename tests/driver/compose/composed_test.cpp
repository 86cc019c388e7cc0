// SPDX-License-Identifier: Apache-2.0
// Engines made of others that are made of others, in the middle of a failure; and engines whose figures are extreme.
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "scripted_engine.hpp"
#include "sluice/compose/failover_engine.hpp"
#include "sluice/compose/job_splitter.hpp"
#include "sluice/compose/offload_engine.hpp"
#include "support/memory.hpp"

namespace sluice::test {
namespace {

constexpr std::size_t kPiece = 64 << 10;

/// A splitter over two engines of which the second takes over.
class SplitFailover : public ::testing::Test {
 protected:
  SplitFailover() {
    std::vector<EngineCandidate> candidates;
    for (ScriptedEngine*& engine : engines_) {
      auto owned = std::make_unique<ScriptedEngine>();
      owned->offers.max_jobs_in_flight = 4;
      engine = owned.get();
      const auto shared = std::make_shared<std::unique_ptr<Engine>>(std::move(owned));
      candidates.push_back({"scripted", [shared]() -> Result<std::unique_ptr<Engine>> { return std::move(*shared); }});
    }
    auto both = std::move(FailoverEngine::create(std::move(candidates), {})).value();
    splitter_ = std::move(JobSplitter::create(std::move(both), {ByteCount(kPiece), std::chrono::seconds(100)})).value();
  }
  JobId submit(std::size_t first_piece, std::size_t pieces, std::uint64_t cookie, Urgency urgency) {
    const ScrubJob job{memory_.part(first_piece * kPiece, pieces * kPiece), 0, urgency, cookie};
    JobId id;
    EXPECT_TRUE(splitter_->submit({&job, 1}, {&id, 1}));
    return id;
  }
  /// What ends within some polls, by cookie.
  std::map<std::uint64_t, Completion> poll(std::size_t room = 8) {
    std::map<std::uint64_t, Completion> ended;
    for (int round = 0; round < 8; ++round) {
      std::vector<Completion> some(room);
      some.resize(splitter_->poll(some));
      for (const Completion& completion : some) EXPECT_TRUE(ended.emplace(completion.cookie, completion).second);
    }
    return ended;
  }

  Memory memory_{4 << 20};
  std::array<ScriptedEngine*, 2> engines_{};
  std::unique_ptr<JobSplitter> splitter_;
};

TEST_F(SplitFailover, OfferWhatTheEngineInUseCanDo) {
  EXPECT_TRUE(splitter_->capabilities().verifies);
  engines_[1]->offers.verifies = false;
  engines_[1]->offers.fills_random = true;
  const ScrubJob random{memory_.part(0, kPiece), 0, Urgency::Background, 0, Operation::FillRandom};
  JobId id;
  EXPECT_EQ(splitter_->submit({&random, 1}, {&id, 1}).error().code, DriverErrc::InvalidArgument);
  engines_[0]->broken = Error{DriverErrc::EngineFailed, "gone"};
  poll();
  EXPECT_FALSE(splitter_->capabilities().verifies);
  EXPECT_TRUE(splitter_->capabilities().fills_random);
  EXPECT_TRUE(splitter_->submit({&random, 1}, {&id, 1}));
}

TEST_F(SplitFailover, WhatTheFailedEngineHadIsInDoubtAndWhatWaitedGoesToTheNext) {
  submit(0, 10, 1, Urgency::Background);  // three pieces are given
  submit(10, 2, 2, Urgency::Background);  // none is
  submit(20, 1, 3, Urgency::Urgent);
  engines_[0]->zero(0);
  engines_[0]->broken = Error{DriverErrc::EngineFailed, "gone"};
  auto ended = poll(1);
  ASSERT_EQ(ended.size(), 2U);
  EXPECT_EQ(ended[1].outcome, Outcome::Failed);
  EXPECT_EQ(ended[1].bytes_zeroed, ByteCount(kPiece)) << "which had come before";
  EXPECT_EQ(ended[1].bytes_unaffected, ByteCount(7 * kPiece));
  EXPECT_EQ(ended[3].outcome, Outcome::Failed);
  EXPECT_FALSE(splitter_->fault());
  ASSERT_EQ(engines_[1]->running.size(), 2U) << "the second job is whole";
  engines_[1]->end_all();
  ended = poll();
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[2].outcome, Outcome::Zeroed);
}

TEST_F(SplitFailover, ACancelInTheMiddleOfAFailoverEndsTheJobOnce) {
  for (const bool cancel_first : {true, false}) {
    SCOPED_TRACE(cancel_first);
    const JobId id = submit(0, 10, 1, Urgency::Background);
    if (cancel_first) {
      EXPECT_EQ(splitter_->cancel(id), CancelResult::Requested);
      engines_[0]->broken = Error{DriverErrc::EngineFailed, "gone"};
    } else {
      engines_[1]->broken = Error{DriverErrc::EngineFailed, "gone, too"};
      EXPECT_EQ(splitter_->cancel(id), CancelResult::Requested);
    }
    auto ended = poll(1);
    ASSERT_EQ(ended.size(), 1U);
    EXPECT_EQ(ended[1].outcome, Outcome::Failed);
    EXPECT_EQ(ended[1].bytes_zeroed, ByteCount(0));
    EXPECT_EQ(ended[1].bytes_unaffected, ByteCount(7 * kPiece)) << "three were given";
    EXPECT_EQ(splitter_->cancel(id), CancelResult::AlreadyFinished);
    EXPECT_EQ(splitter_->fault().has_value(), !cancel_first);
  }
}

TEST_F(SplitFailover, PiecesKeepWhatTheJobIsForAndAMismatchEndsItWhereItIs) {
  for (const Operation operation : {Operation::Verify, Operation::FillVerify}) {
    const ScrubJob job{memory_.part(0, 3 * kPiece), 5, Urgency::Background, 1, operation, true};
    JobId id;
    ASSERT_TRUE(splitter_->submit({&job, 1}, {&id, 1}));
    for (const auto& piece : engines_[0]->running) {
      EXPECT_EQ(piece.job.operation, operation);
      EXPECT_EQ(piece.job.pattern, 5U);
      EXPECT_TRUE(piece.job.read_soon);
    }
    engines_[0]->zero(0);
    engines_[0]->end(0, Outcome::Failed, 77, FailureCause::Mismatch);
    engines_[0]->zero(0);
    auto ended = poll();
    ASSERT_EQ(ended.size(), 1U);
    EXPECT_EQ(ended[1].cause, FailureCause::Mismatch);
    EXPECT_EQ(ended[1].bytes_zeroed, ByteCount(kPiece + 77));
    EXPECT_FALSE(splitter_->fault());
  }
}

/// Each composed engine over engines that have no limits, or the least there can be.
TEST(Composed, LimitsOfEnginesAreKeptWhateverTheyAre) {
  constexpr std::size_t kNoLimit = ~std::size_t{0};
  const Memory memory(1 << 20);
  for (const std::size_t jobs : {kNoLimit, std::size_t{1}}) {
    for (const ByteCount longest : {ByteCount(kNoLimit), ByteCount(1)}) {
      const auto scripted = [&] {
        auto engine = std::make_unique<ScriptedEngine>();
        engine->offers.max_jobs_in_flight = jobs;
        engine->offers.max_job_length = longest;
        engine->offers.parallel_jobs = jobs;
        return engine;
      };
      std::vector<EngineCandidate> only(1);
      only[0] = {"scripted", [&]() -> Result<std::unique_ptr<Engine>> { return scripted(); }};
      std::vector<std::unique_ptr<Engine>> composed;
      composed.push_back(std::move(FailoverEngine::create(only, {})).value());
      composed.push_back(
          std::move(OffloadEngine::create(scripted(), scripted(), {ByteCount(1), ByteCount(kNoLimit)})).value());
      composed.push_back(std::move(JobSplitter::create(scripted())).value());
      for (const auto& engine : composed) {
        EXPECT_EQ(engine->capabilities().max_jobs_in_flight, jobs == 1 ? 1U : 65'536U);
        for (const Urgency urgency : {Urgency::Background, Urgency::Urgent}) {
          const ScrubJob job{memory.part(7, 1), 0, urgency, 3};
          JobId id;
          ASSERT_TRUE(engine->submit({&job, 1}, {&id, 1}));
          EXPECT_EQ(engine->cancel(id), CancelResult::Requested);
          if (jobs == 1) break;  // that one is in flight
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice::test
