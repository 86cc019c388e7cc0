// SPDX-License-Identifier: Apache-2.0
// Long jobs in pieces that an engine can take, and the pieces' ends as the job's one end.
#include "sluice/compose/job_splitter.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "scripted_engine.hpp"
#include "support/memory.hpp"

namespace sluice::test {
namespace {

constexpr std::size_t kPiece = 64 << 10;
constexpr SplitterOptions kOptions{ByteCount(kPiece), std::chrono::seconds(8)};

class JobSplitterTest : public ::testing::Test {
 protected:
  void make() { splitter_ = std::move(JobSplitter::create(engine_, kOptions)).value(); }
  JobId submit(MemorySpan memory, Urgency urgency = Urgency::Background, std::uint64_t cookie = 1) {
    const ScrubJob job{memory, 0, urgency, cookie};
    JobId id;
    const auto accepted = splitter_->submit({&job, 1}, {&id, 1});
    EXPECT_TRUE(accepted) << accepted.error().message;
    return id;
  }
  JobId submit_pieces(std::size_t count, Urgency urgency = Urgency::Background, std::uint64_t cookie = 1) {
    return submit(memory_.part(0, count * kPiece), urgency, cookie);
  }
  std::vector<Completion> poll(std::size_t room = 16) {
    std::vector<Completion> some(room);
    some.resize(splitter_->poll(some));
    return some;
  }
  Completion only() {
    const auto some = poll();
    EXPECT_EQ(some.size(), 1U);
    return some.empty() ? Completion{} : some[0];
  }
  [[nodiscard]] std::vector<std::size_t> offsets() const {
    std::vector<std::size_t> all;
    for (const auto& job : engine_.taken) {
      all.push_back(static_cast<std::size_t>(job.job.memory.data() - memory_.all().data()));
    }
    return all;
  }
  [[nodiscard]] std::vector<std::size_t> lengths() const {
    std::vector<std::size_t> all;
    for (const auto& job : engine_.taken) all.push_back(job.job.memory.size());
    return all;
  }

  Memory memory_{4 << 20};
  ScriptedEngine engine_;
  std::unique_ptr<JobSplitter> splitter_;
};

TEST_F(JobSplitterTest, GivesPiecesInOrderAndMakesOneCompletionOfThem) {
  make();
  const JobId id = submit(memory_.part(0, 3 * kPiece + 5), Urgency::Background, 77);
  EXPECT_THAT(offsets(), ::testing::ElementsAre(0, kPiece, 2 * kPiece, 3 * kPiece));
  for (const std::size_t piece : {3U, 1U, 0U}) {
    engine_.zero(piece);
    EXPECT_TRUE(poll().empty());
  }
  engine_.zero(0);
  const Completion completion = only();
  EXPECT_EQ(completion.id, id);
  EXPECT_EQ(completion.cookie, 77U);
  EXPECT_EQ(completion.outcome, Outcome::Zeroed);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(3 * kPiece + 5));
  EXPECT_EQ(splitter_->cancel(id), CancelResult::AlreadyFinished);
}

TEST_F(JobSplitterTest, KeepsTheEnginesLongestJobForUrgentAndBackgroundJobsAlike) {
  engine_.offers.max_job_length = ByteCount(10'000);
  make();
  for (const Urgency urgency : {Urgency::Urgent, Urgency::Background}) {
    submit(memory_.part(100, 50'000), urgency);
    for (int round = 0; round < 10 && poll().empty(); ++round) engine_.end_all();
  }
  for (const std::size_t length : lengths()) EXPECT_LE(length, 10'000U);
  EXPECT_EQ(splitter_->capabilities().max_job_length, ByteCount(1ULL << 48));
}

TEST_F(JobSplitterTest, CutsAtTheBorderOfTwoWindowsThatTouchAndRefusesAGap) {
  engine_.windows = {memory_.part(0, 10'001), memory_.part(10'001, 20'000), memory_.part(40'000, 5'000)};
  make();
  submit(memory_.part(5'000, 10'000));
  EXPECT_THAT(offsets(), ::testing::ElementsAre(5'000, 10'001));
  EXPECT_THAT(lengths(), ::testing::ElementsAre(5'001, 4'999));
  EXPECT_TRUE(splitter_->reaches(memory_.part(0, 30'001)));
  EXPECT_FALSE(splitter_->reaches(memory_.part(0, 30'002)));
  EXPECT_FALSE(splitter_->reaches(memory_.part(30'000, 12'000)));
  const ScrubJob outside{memory_.part(30'000, 12'000)};
  JobId id;
  EXPECT_EQ(splitter_->submit({&outside, 1}, {&id, 1}).error().code, DriverErrc::OutsideWindow);
}

TEST_F(JobSplitterTest, AnUrgentJobGoesToEveryWorkerAtOnceInEqualParts) {
  engine_.offers.parallel_jobs = 4;
  splitter_ = std::move(JobSplitter::create(engine_)).value();
  submit(memory_.part(0, 4 << 20), Urgency::Urgent);
  EXPECT_THAT(lengths(), ::testing::ElementsAre(1 << 20, 1 << 20, 1 << 20, 1 << 20));
  engine_.end_all();
  EXPECT_EQ(only().bytes_zeroed, ByteCount(4 << 20));
  engine_.taken.clear();
  submit(memory_.part(0, 4 << 20), Urgency::Background);
  EXPECT_EQ(engine_.taken.size(), 2U) << "nobody waits for it: as few pieces as there may be";
  engine_.end_all();
  poll();
  engine_.taken.clear();
  submit(memory_.part(0, 32 << 10), Urgency::Urgent);
  EXPECT_EQ(engine_.taken.size(), 1U) << "too short to share";
}

TEST_F(JobSplitterTest, PiecesOfUrgentJobsAreGivenBeforeThoseThatWait) {
  engine_.offers.max_jobs_in_flight = 4;
  make();
  submit_pieces(20, Urgency::Background, 1);
  EXPECT_EQ(engine_.running.size(), 3U) << "a part of the room is kept for urgent jobs";
  submit(memory_.part(2 << 20, kPiece), Urgency::Urgent, 2);
  EXPECT_EQ(engine_.running.back().job.urgency, Urgency::Urgent);
  submit(memory_.part(3 << 20, kPiece), Urgency::Urgent, 3);
  engine_.zero(0);
  poll();
  EXPECT_EQ(engine_.running.back().job.memory.data(), memory_.part(3 << 20, 1).data());
}

TEST_F(JobSplitterTest, APieceThatFailsPutsItselfInDoubtAndNothingElse) {
  engine_.offers.max_jobs_in_flight = 4;
  make();
  submit_pieces(10);
  ASSERT_EQ(engine_.running.size(), 3U);
  engine_.zero(0);
  engine_.end(0, Outcome::Failed, 5'000, FailureCause::SlaveError, 1'000);
  EXPECT_TRUE(poll().empty()) << "the third one is in flight";
  EXPECT_EQ(engine_.running.size(), 1U) << "no more is given";
  EXPECT_TRUE(engine_.running.front().cancel_requested);
  engine_.zero(0);
  const Completion completion = only();
  EXPECT_EQ(completion.outcome, Outcome::Failed);
  EXPECT_EQ(completion.cause, FailureCause::SlaveError);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(kPiece + 5'000));
  EXPECT_EQ(completion.bytes_unaffected, ByteCount(8 * kPiece + 1'000));
}

TEST_F(JobSplitterTest, PiecesBeforeOneThatFailsGoOnSoThatNothingOfThemIsInDoubt) {
  make();
  submit_pieces(3);
  engine_.end(1, Outcome::Failed, 0, FailureCause::SlaveError);
  EXPECT_TRUE(poll().empty());
  ASSERT_EQ(engine_.running.size(), 2U);
  EXPECT_FALSE(engine_.running.front().cancel_requested);
  EXPECT_TRUE(engine_.running.back().cancel_requested);
  engine_.zero(0);
  engine_.end(0, Outcome::Cancelled, 0);
  const Completion completion = only();
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(kPiece));
  EXPECT_EQ(completion.bytes_unaffected, ByteCount(kPiece));
}

TEST_F(JobSplitterTest, OfTwoPiecesThatFailTheFirstNamesTheCauseAndTheLastEndsTheDoubt) {
  make();
  submit_pieces(4);
  engine_.end(2, Outcome::Failed, 10, FailureCause::DecodeError);
  poll();
  engine_.end(1, Outcome::Failed, 20, FailureCause::SlaveError);
  engine_.zero(0);
  engine_.end(0, Outcome::Cancelled, 0);
  const Completion completion = only();
  EXPECT_EQ(completion.cause, FailureCause::SlaveError);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(kPiece + 20));
  EXPECT_EQ(completion.bytes_unaffected, ByteCount(kPiece));
}

TEST_F(JobSplitterTest, OfPiecesThatFailTheOneThatLeavesAWriterNamesTheCauseWhereverItIs) {
  for (const std::size_t writer : {1U, 2U}) {
    for (const bool in_order : {false, true}) {
      SCOPED_TRACE(std::to_string(writer) + (in_order ? " in order" : ""));
      make();
      engine_.running.clear();
      submit_pieces(4);
      const auto fail = [&](std::size_t piece, std::size_t index) {
        engine_.end(index, Outcome::Failed, 0, piece == writer ? FailureCause::Timeout : FailureCause::Mismatch);
        poll();
      };
      fail(in_order ? 1 : 2, in_order ? 1 : 2);
      fail(in_order ? 2 : 1, 1);
      engine_.zero(0);
      engine_.end(0, Outcome::Cancelled, 0);
      const Completion completion = only();
      EXPECT_EQ(completion.cause, FailureCause::Timeout);
      EXPECT_EQ(completion.bytes_zeroed, ByteCount(kPiece));
      EXPECT_EQ(completion.bytes_unaffected, ByteCount(kPiece));
    }
  }
}

TEST_F(JobSplitterTest, ACancelEndsWhatIsGivenAndDropsTheRest) {
  engine_.offers.max_jobs_in_flight = 4;
  make();
  const JobId id = submit_pieces(10);
  EXPECT_EQ(splitter_->cancel(id), CancelResult::Requested);
  EXPECT_EQ(splitter_->cancel(id), CancelResult::Requested);
  engine_.zero(1);  // out of order, and too late to be cancelled
  engine_.end(0, Outcome::Cancelled, 100);
  EXPECT_TRUE(poll().empty());
  engine_.end_all();
  const Completion completion = only();
  EXPECT_EQ(completion.outcome, Outcome::Cancelled);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(100));
  EXPECT_EQ(engine_.taken.size(), 3U);
}

TEST_F(JobSplitterTest, ACancelOfWhatWasNeverGivenEndsAtOnceAndWakesWhoeverWaits) {
  engine_.offers.max_jobs_in_flight = 2;
  make();
  submit_pieces(4, Urgency::Background, 1);
  const JobId waits = submit(memory_.part(2 << 20, kPiece), Urgency::Background, 2);
  EXPECT_EQ(splitter_->cancel(waits), CancelResult::Requested);
  EXPECT_TRUE(is_readable(splitter_->completion_fd()));
  const Completion completion = only();
  EXPECT_EQ(completion.cookie, 2U);
  EXPECT_EQ(completion.outcome, Outcome::Cancelled);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(0));
  EXPECT_FALSE(is_readable(splitter_->completion_fd()));
}

TEST_F(JobSplitterTest, AnEngineThatTakesAPartOfABatchGetsTheRestLater) {
  engine_.most_taken = 2;
  make();
  submit_pieces(5);
  EXPECT_EQ(engine_.taken.size(), 2U);
  for (int round = 0; round < 3; ++round) {
    engine_.end_all();
    poll();
  }
  EXPECT_THAT(offsets(), ::testing::ElementsAre(0, kPiece, 2 * kPiece, 3 * kPiece, 4 * kPiece));
}

TEST_F(JobSplitterTest, OnlyBusyIsTriedAgain) {
  engine_.refusal = Error{DriverErrc::Busy, "busy"};
  make();
  submit_pieces(2);
  EXPECT_TRUE(poll().empty());
  EXPECT_TRUE(is_readable(splitter_->completion_fd())) << "nobody else would say when to try again";
  engine_.refusal.reset();
  poll();
  engine_.end_all();
  EXPECT_EQ(only().outcome, Outcome::Zeroed);
}

TEST_F(JobSplitterTest, ARefusalEndsItsJobAloneWithItsCauseAndPutsNothingInDoubt) {
  make();
  const std::pair<DriverErrc, FailureCause> known[] = {{DriverErrc::OutsideWindow, FailureCause::OutsideWindow},
                                                       {DriverErrc::InvalidArgument, FailureCause::BadDescriptor},
                                                       {DriverErrc::NoResources, FailureCause::EngineFault}};
  for (const auto& [code, cause] : known) {
    engine_.refusal = Error{code, "no"};
    engine_.refuses = [&](const ScrubJob& job) { return job.memory.data() == memory_.part(kPiece, 1).data(); };
    const ScrubJob jobs[] = {{memory_.part(0, 3 * kPiece), 0, Urgency::Background, 1},
                             {memory_.part(1 << 20, 2 * kPiece), 0, Urgency::Background, 2}};
    std::array<JobId, 2> ids;
    ASSERT_TRUE(splitter_->submit(jobs, ids));
    engine_.end_all();
    std::vector<Completion> ended = poll();
    ASSERT_EQ(ended.size(), 2U);
    if (ended[0].cookie == 2) std::swap(ended[0], ended[1]);
    EXPECT_EQ(ended[0].outcome, Outcome::Failed);
    EXPECT_EQ(ended[0].cause, cause);
    const auto refusal = splitter_->refusal(ids[0]);
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->code, code);
    EXPECT_EQ(refusal->message, "no");
    EXPECT_FALSE(splitter_->refusal(ids[1]));
    EXPECT_EQ(ended[0].bytes_zeroed.value() + ended[0].bytes_unaffected.value(), 3 * kPiece);
    EXPECT_EQ(ended[1].outcome, Outcome::Zeroed);
    EXPECT_FALSE(splitter_->fault());
  }
}

TEST_F(JobSplitterTest, AnEngineThatBreaksDownFailsWhatItHasAndWhatWaitsIsNotInDoubt) {
  engine_.offers.max_jobs_in_flight = 4;
  make();
  submit_pieces(10, Urgency::Background, 1);
  submit(memory_.part(2 << 20, kPiece), Urgency::Background, 2);
  engine_.broken = Error{DriverErrc::EngineFailed, "gone"};
  std::vector<Completion> ended = poll();
  for (int round = 0; round < 3 && ended.size() < 2; ++round) {
    const auto more = poll();
    ended.insert(ended.end(), more.begin(), more.end());
  }
  ASSERT_EQ(ended.size(), 2U);
  if (ended[0].cookie == 2) std::swap(ended[0], ended[1]);
  EXPECT_EQ(ended[0].outcome, Outcome::Failed);
  EXPECT_EQ(ended[0].bytes_unaffected, ByteCount(7 * kPiece));
  EXPECT_EQ(ended[1].outcome, Outcome::Failed);
  EXPECT_EQ(ended[1].bytes_unaffected, ByteCount(kPiece)) << "it was never given";
  EXPECT_TRUE(splitter_->fault());
  const ScrubJob more{memory_.part(0, 4096)};
  JobId id;
  EXPECT_EQ(splitter_->submit({&more, 1}, {&id, 1}).error().code, DriverErrc::EngineFailed);
}

TEST_F(JobSplitterTest, AJobThatPassesTheEndOfMemoryIsRefused) {
  make();
  const ScrubJob jobs[] = {{memory_.part(0, 0)}, {MemorySpan(memory_.all().data(), (1ULL << 48) + 1)}};
  for (const ScrubJob& job : jobs) {
    JobId id;
    EXPECT_EQ(splitter_->submit({&job, 1}, {&id, 1}).error().code, DriverErrc::InvalidArgument);
  }
  EXPECT_EQ(JobSplitter::create(engine_, {ByteCount(100), std::chrono::seconds(1)}).error().code,
            DriverErrc::InvalidArgument);
}

TEST_F(JobSplitterTest, TheDescriptorIsReadableAsLongAsCompletionsRemain) {
  make();
  for (std::uint64_t cookie = 0; cookie < 4; ++cookie) {
    submit(memory_.part(cookie * kPiece, kPiece), Urgency::Background, cookie);
  }
  const int fd = splitter_->completion_fd();
  ASSERT_GT(fd, 2);
  EXPECT_FALSE(is_readable(fd));
  engine_.end_all();
  for (int left = 4; left > 0; --left) {
    EXPECT_TRUE(is_readable(fd)) << left;
    EXPECT_EQ(poll(1).size(), 1U);
  }
  EXPECT_FALSE(is_readable(fd));
  engine_.has_descriptor = false;
  EXPECT_EQ(splitter_->completion_fd(), -1);
}

/// Against a model: whatever the engine does with the pieces, the prefix was written and what is unaffected was never
/// in the hands of a piece that failed.
TEST_F(JobSplitterTest, RandomEndsOfPiecesGiveEachJobOneExactCompletion) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    ScriptedEngine engine;
    engine.offers.max_jobs_in_flight = 1 + random() % 6;
    engine.offers.parallel_jobs = 1 + random() % 4;
    engine.most_taken = 1 + random() % 4;
    const auto splitter = std::move(JobSplitter::create(engine, kOptions)).value();
    const std::size_t jobs = splitter->capabilities().max_jobs_in_flight;
    std::vector<std::vector<char>> bytes(jobs);  // of each page: untouched, written or in doubt
    std::vector<JobId> ids(jobs);
    for (std::size_t number = 0; number < jobs; ++number) {
      const std::size_t pages = 1 + random() % 120;
      bytes[number].assign(pages, 'u');
      const ScrubJob job{memory_.part(number << 19, pages * 4096), 0,
                         random() % 2 == 0 ? Urgency::Urgent : Urgency::Background, number};
      ASSERT_TRUE(splitter->submit({&job, 1}, {&ids[number], 1}));
    }
    std::size_t ended = 0;
    for (int round = 0; round < 2000 && ended < jobs; ++round) {
      if (random() % 8 == 0) splitter->cancel(ids[random() % jobs]);
      if (!engine.running.empty()) {
        const std::size_t index = random() % engine.running.size();
        const ScriptedEngine::Job piece = engine.running[index];
        const auto offset = static_cast<std::size_t>(piece.job.memory.data() - memory_.all().data());
        const std::size_t pages = piece.job.memory.size() / 4096;
        std::size_t done = pages;
        Outcome outcome = Outcome::Zeroed;
        if (piece.cancel_requested && random() % 2 == 0) {
          outcome = Outcome::Cancelled;
          done = random() % (pages + 1);
        } else if (random() % 10 == 0) {
          outcome = Outcome::Failed;
          done = random() % pages;
        }
        for (std::size_t page = 0; page < pages; ++page) {
          bytes[offset >> 19][(offset & ((1 << 19) - 1)) / 4096 + page] =
              page < done ? 'w' : (outcome == Outcome::Failed ? 'd' : 'u');
        }
        engine.end(index, outcome, done * 4096,
                   outcome == Outcome::Failed ? FailureCause::SlaveError : FailureCause::None);
      }
      std::array<Completion, 2> some;
      const std::size_t got = splitter->poll(some);
      for (const Completion& completion : std::span(some).first(got)) {
        ++ended;
        const std::string pages(bytes[completion.cookie].begin(), bytes[completion.cookie].end());
        const std::size_t prefix = completion.bytes_zeroed.value() / 4096;
        EXPECT_EQ(prefix, std::min(pages.find_first_not_of('w'), pages.size())) << pages;
        const bool failed = pages.find('d') != std::string::npos;
        EXPECT_EQ(completion.outcome == Outcome::Failed, failed) << pages;
        EXPECT_FALSE(completion.outcome == Outcome::Zeroed && prefix != pages.size());
        if (failed) {
          EXPECT_EQ(completion.bytes_unaffected.value() / 4096, pages.size() - 1 - pages.find_last_of('d')) << pages;
        }
      }
    }
    EXPECT_EQ(ended, jobs);
  }
}

}  // namespace
}  // namespace sluice::test
