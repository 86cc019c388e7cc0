// SPDX-License-Identifier: Apache-2.0
// What happens in the middle of a failover, step by step.
#include <gtest/gtest.h>

#include "scripted_engine.hpp"
#include "sluice/compose/failover_engine.hpp"
#include "support/memory.hpp"

namespace sluice::test {
namespace {

/// Two scripted engines, each with a clock of its own, and small ends of what happens between them.
class FailoverScript : public ::testing::Test {
 protected:
  void make(std::size_t engines = 2) {
    std::vector<EngineCandidate> candidates;
    for (std::size_t number = 0; number < engines; ++number) {
      auto engine = std::make_unique<ScriptedEngine>();
      engine->time = std::chrono::hours(number == 0 ? 100 : 1);
      engines_.push_back(engine.get());
      const auto shared = std::make_shared<std::unique_ptr<Engine>>(std::move(engine));
      candidates.push_back({"engine " + std::to_string(number),
                            [shared]() -> Result<std::unique_ptr<Engine>> { return std::move(*shared); }});
    }
    FailoverOptions options;
    options.stall_timeout = std::chrono::seconds(8);
    engine_ = std::move(FailoverEngine::create(std::move(candidates), options)).value();
  }
  JobId submit(std::uint64_t cookie, Urgency urgency = Urgency::Background) {
    const ScrubJob job{memory_.part(cookie * 4096, 4096), 0, urgency, cookie};
    JobId id;
    EXPECT_TRUE(engine_->submit({&job, 1}, {&id, 1}));
    return id;
  }
  std::vector<Completion> poll(std::size_t room = 8) {
    std::vector<Completion> some(room);
    some.resize(engine_->poll(some));
    return some;
  }
  /// Lets `seconds` go by on the clock of an engine, with a poll in each.
  std::vector<Completion> wait(std::size_t number, int seconds) {
    std::vector<Completion> all;
    for (int second = 0; second < seconds; ++second) {
      engines_[number]->time += std::chrono::seconds(1);
      const auto some = poll();
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  }

  Memory memory_{1 << 20};
  std::vector<ScriptedEngine*> engines_;
  std::unique_ptr<FailoverEngine> engine_;
};

TEST_F(FailoverScript, AnEngineWithOneLongJobThatMakesProgressIsKeptHoweverManyOvertakeIt) {
  make();
  submit(1, Urgency::Urgent);
  for (int round = 0; round < 1000; ++round) {
    submit(2, Urgency::Urgent);
    engines_[0]->zero(1);
    ASSERT_EQ(wait(0, 1).size(), 1U);
  }
  for (int round = 0; round < 100; ++round) {
    ++engines_[0]->done;  // nothing ends, but it works
    ASSERT_TRUE(wait(0, 6).empty());
  }
  EXPECT_TRUE(engine_->failovers().empty());
}

TEST_F(FailoverScript, AnEngineThatMakesNoProgressIsGivenUpAndItsLateWordIsNotHeard) {
  make();
  const JobId id = submit(7);
  EXPECT_TRUE(wait(0, 5).empty());
  const auto ended = wait(0, 10);
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].cookie, 7U);
  EXPECT_EQ(ended[0].outcome, Outcome::Failed);
  EXPECT_EQ(ended[0].cause, FailureCause::Timeout);
  ASSERT_EQ(engine_->failovers().size(), 1U);
  EXPECT_NE(engine_->failovers()[0].reason.find("no progress"), std::string::npos);
  engines_[0]->end_all();
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(engine_->cancel(id), CancelResult::AlreadyFinished);
}

TEST_F(FailoverScript, AJobThatIsLostIsNoticedWhenNothingElseMakesProgress) {
  make();
  submit(1);
  submit(2);
  engines_[0]->zero(0);
  ASSERT_EQ(poll().size(), 1U);
  const auto ended = wait(0, 20);
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].cookie, 2U);
  EXPECT_EQ(engine_->failovers().size(), 1U);
}

TEST_F(FailoverScript, AnIdleEngineIsHealthyHoweverLongAndItsTimeBeginsWithItsNextJob) {
  make();
  submit(1);
  wait(0, 4);
  engines_[0]->zero(0);
  EXPECT_EQ(poll().size(), 1U);
  wait(0, 1000);
  engines_[0]->time += std::chrono::hours(1000);
  submit(2);
  EXPECT_TRUE(wait(0, 5).empty());
  EXPECT_TRUE(engine_->failovers().empty());
  EXPECT_EQ(wait(0, 10).size(), 1U);
}

TEST_F(FailoverScript, AWhileInWhichNobodyPollsIsNotTheEnginesFault) {
  make();
  submit(1);
  wait(0, 1);
  engines_[0]->time += std::chrono::hours(1);
  EXPECT_TRUE(wait(0, 1).empty());
  EXPECT_TRUE(engine_->failovers().empty());
}

TEST_F(FailoverScript, AnEngineThatRefusesAllAsBusyAndHoldsNothingIsGivenUp) {
  make();
  engines_[0]->refusal = Error{DriverErrc::Busy, "busy for ever"};
  const ScrubJob job{memory_.part(0, 4096)};
  JobId id;
  for (int second = 0; second < 20 && engine_->failovers().empty(); ++second) {
    engines_[0]->time += std::chrono::seconds(1);
    const auto accepted = engine_->submit({&job, 1}, {&id, 1});
    EXPECT_EQ(accepted.has_value(), !engine_->failovers().empty()) << "the next one takes the job at once";
    poll();
  }
  ASSERT_EQ(engine_->failovers().size(), 1U);
  EXPECT_NE(engine_->failovers()[0].reason.find("refused every job"), std::string::npos);
  EXPECT_EQ(engines_[1]->running.size(), 1U);
}

TEST_F(FailoverScript, AShortBusySpellIsForgottenOnceAJobIsTaken) {
  make();
  const Error busy{DriverErrc::Busy, "busy"};
  const ScrubJob job{memory_.part(0, 4096)};
  JobId id;
  for (int second = 0; second < 100; ++second) {
    engines_[0]->time += std::chrono::seconds(1);
    engines_[0]->refusal = second % 6 == 5 ? std::nullopt : std::optional(busy);
    if (engine_->submit({&job, 1}, {&id, 1})) engines_[0]->end_all();
    poll();
  }
  EXPECT_TRUE(engine_->failovers().empty());
}

TEST_F(FailoverScript, AnEngineThatThrowsAnywhereIsGivenUpAndWhatItHasFails) {
  for (const std::string function : {"submit", "poll", "cancel", "fault", "progress", "now", "reaches"}) {
    SCOPED_TRACE(function);
    engines_.clear();
    make();
    const JobId id = submit(1);
    engines_[0]->throws_in = function;
    EXPECT_FALSE(function == "reaches" && engine_->reaches(memory_.all()));
    if (function == "cancel") engine_->cancel(id);
    if (function == "submit") submit(2);
    auto ended = wait(0, 2);
    ASSERT_GE(ended.size(), 1U);
    for (const Completion& completion : ended) {
      EXPECT_EQ(completion.outcome, Outcome::Failed);
      EXPECT_EQ(completion.cause, FailureCause::EngineFault);
      EXPECT_EQ(completion.bytes_zeroed, ByteCount(0));
    }
    ASSERT_EQ(engine_->failovers().size(), 1U);
    EXPECT_NE(engine_->failovers()[0].reason.find("threw"), std::string::npos) << engine_->failovers()[0].reason;
    submit(3);
    engines_[1]->end_all();
    EXPECT_EQ(poll().size(), 1U);
  }
}

TEST_F(FailoverScript, ACancelDuringAFailoverFindsTheJobFinished) {
  make();
  const JobId first = submit(1);
  submit(2);
  engines_[0]->broken = Error{DriverErrc::EngineFailed, "gone"};
  ASSERT_EQ(poll(1).size(), 1U);
  const JobId waiting{first.slot == 0 ? 1U : 0U, 1};
  EXPECT_EQ(engine_->cancel(waiting), CancelResult::AlreadyFinished);
  const JobId third = submit(3);
  EXPECT_EQ(engine_->cancel(third), CancelResult::Requested);
  EXPECT_TRUE(engines_[1]->running.front().cancel_requested);
  ASSERT_EQ(poll(1).size(), 1U);
  engines_[1]->end_all();
  const auto ended = poll(1);
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].outcome, Outcome::Cancelled);
}

TEST_F(FailoverScript, AJobThatHadFinishedWhenItWasCancelledCannotEndAsCancelled) {
  for (const bool in_time : {true, false}) {
    SCOPED_TRACE(in_time);
    engines_.clear();
    make();
    const JobId id = submit(1);
    if (in_time) {
      EXPECT_EQ(engine_->cancel(id), CancelResult::Requested);
    }
    engines_[0]->end(0, Outcome::Cancelled, 4096);
    EXPECT_EQ(engine_->cancel(id), CancelResult::AlreadyFinished);
    const auto ended = poll();
    ASSERT_EQ(ended.size(), 1U);
    EXPECT_EQ(ended[0].outcome, in_time ? Outcome::Cancelled : Outcome::Failed);
    EXPECT_EQ(ended[0].bytes_zeroed, ByteCount(in_time ? 4096 : 0));
    EXPECT_EQ(engine_->failovers().size(), in_time ? 0U : 1U) << "an engine that lies is given up";
  }
}

TEST_F(FailoverScript, ASecondFailureAndASmallOutLoseNothing) {
  make(3);
  for (std::uint64_t cookie = 0; cookie < 5; ++cookie) submit(cookie);
  engines_[0]->broken = Error{DriverErrc::EngineFailed, "gone"};
  engines_[1]->broken = Error{DriverErrc::EngineFailed, "gone, too"};
  std::vector<Completion> ended = poll(2);
  submit(5);
  submit(6);
  engines_[2]->broken = Error{DriverErrc::EngineFailed, "the last one"};
  for (int round = 0; round < 10; ++round) {
    const auto more = poll(1);
    ended.insert(ended.end(), more.begin(), more.end());
  }
  std::vector<int> seen(7);
  for (const Completion& completion : ended) ++seen.at(completion.cookie);
  EXPECT_EQ(seen, std::vector<int>(7, 1));
  ASSERT_EQ(engine_->failovers().size(), 3U);
  EXPECT_EQ(engine_->failovers()[2].to, "");
  ASSERT_TRUE(engine_->fault());
  EXPECT_NE(engine_->fault()->message.find("the last one"), std::string::npos);
}

TEST_F(FailoverScript, WhatAnEngineHadThatFailsBetweenTwoPollsFailsThoughASubmitNoticesIt) {
  make();
  submit(1);
  engines_[0]->broken = Error{DriverErrc::EngineFailed, "gone"};
  submit(2);
  EXPECT_EQ(engines_[1]->running.size(), 1U);
  engines_[1]->end_all();
  const auto ended = poll();
  ASSERT_EQ(ended.size(), 2U);
  EXPECT_EQ(ended[0].cookie, 1U);
  EXPECT_EQ(ended[0].outcome, Outcome::Failed);
  EXPECT_EQ(ended[1].outcome, Outcome::Zeroed);
}

TEST_F(FailoverScript, TheClockNeverGoesBackWhicheverWayTheClocksDiffer) {
  make(3);
  engines_[2]->time = std::chrono::hours(5000);
  std::chrono::nanoseconds last = engine_->now();
  EXPECT_EQ(last, std::chrono::hours(100));
  for (const std::size_t number : {0U, 1U, 2U}) {
    submit(1);
    engines_[number]->time += std::chrono::seconds(3);
    EXPECT_EQ(engine_->now(), last + std::chrono::seconds(3));
    engines_[number]->time -= std::chrono::seconds(1);
    EXPECT_EQ(engine_->now(), last + std::chrono::seconds(3));
    engines_[number]->time += std::chrono::seconds(1);
    last = engine_->now();
    if (number < 2) engines_[number]->broken = Error{DriverErrc::EngineFailed, "gone"};
    poll();
    EXPECT_EQ(engine_->now(), last);
  }
}

TEST_F(FailoverScript, ProgressGrowsThroughAFailover) {
  make();
  engines_[0]->done = 1000;
  const std::uint64_t before = engine_->progress();
  submit(1);
  engines_[0]->broken = Error{DriverErrc::EngineFailed, "gone"};
  poll();
  EXPECT_GT(engine_->progress(), before);
}

TEST_F(FailoverScript, TheDescriptorStaysReadableThroughAFailoverAsLongAsCompletionsRemain) {
  make(3);
  engines_[1]->has_descriptor = false;
  const int fd = engine_->completion_fd();
  ASSERT_GT(fd, 2);
  for (std::uint64_t cookie = 0; cookie < 4; ++cookie) submit(cookie);
  EXPECT_FALSE(is_readable(fd));
  engines_[0]->end(0, Outcome::Zeroed, 1);  // a lie, of which its descriptor knows
  for (int left = 4; left > 0; --left) {
    EXPECT_TRUE(is_readable(fd)) << left;
    EXPECT_EQ(poll(1).size(), 1U);
  }
  EXPECT_FALSE(is_readable(fd));
  EXPECT_EQ(engine_->completion_fd(), -1) << "the second engine wants to be polled";
  submit(1);
  EXPECT_TRUE(is_readable(fd)) << "for whoever sleeps on it still";
  engines_[1]->end_all();
  EXPECT_EQ(poll().size(), 1U);
  EXPECT_FALSE(is_readable(fd));
  engines_[1]->throws_in = "submit";
  submit(2);
  EXPECT_TRUE(is_readable(fd));
  EXPECT_EQ(poll().size(), 1U);
  EXPECT_EQ(engine_->completion_fd(), fd) << "the third one has a descriptor again";
  submit(3);
  EXPECT_FALSE(is_readable(fd));
  engines_[2]->end_all();
  EXPECT_TRUE(is_readable(fd));
  EXPECT_EQ(poll().size(), 1U);
  EXPECT_FALSE(is_readable(fd));
}

}  // namespace
}  // namespace sluice::test
