// SPDX-License-Identifier: Apache-2.0
// Whoever waits for the CPU engine helps, where the scheduler does not let a worker run.
#include <atomic>
#include <set>

#include "driver/cpu/cpu_support.hpp"

namespace sluice {
namespace {

using test::collect;
using test::comes_true;
using test::hold_until;
using test::make_engine;
using test::Memory;

/// Workers that stand still in the middle of their first chunk; callers go on.
class CpuEngineHelp : public ::testing::TestWithParam<Operation> {
 protected:
  void TearDown() override { open_ = true; }

  void make(CpuOptions options = {}, bool callers_help = true) {
    CpuHooks hooks;
    hooks.fill = [this](MemorySpan memory, std::uint64_t pattern) {
      pass(memory);
      fill_temporal(memory, pattern);
      return true;
    };
    hooks.before_verify = [this](MemorySpan memory) {
      if (GetParam() == Operation::Verify) pass(memory);
    };
    hooks.callers_help = callers_help;
    options.spin = {};
    engine_ = make_engine(memory_.all(), options, hooks);
  }
  [[nodiscard]] ScrubJob job(std::size_t offset, std::size_t length, std::uint64_t cookie = 0,
                             Urgency urgency = Urgency::Background) const {
    return {memory_.part(offset, length), 0, urgency, cookie, GetParam()};
  }
  /// A job that its worker does not finish, and no caller begins.
  void hold_the_worker() {
    const ScrubJob held = job(0, 16 << 10, 99);
    test::submit_all(*engine_, {&held, 1});
    ASSERT_TRUE(comes_true([&] { return held_ == 1; }));
  }

  static constexpr std::size_t kTooLong = 3 << 20;  // for submit(), however busy the machine is
  Memory memory_{4 << 20};
  const std::thread::id caller_ = std::this_thread::get_id();
  std::atomic<bool> open_{false};
  std::atomic<int> held_{0};
  std::atomic<std::size_t> by_caller_{0};
  std::unique_ptr<CpuEngine> engine_;

 private:
  void pass(MemorySpan memory) {
    if (std::this_thread::get_id() == caller_) {
      by_caller_ += memory.size();
      return;
    }
    ++held_;
    hold_until([&] { return open_.load(); });
  }
};

TEST_P(CpuEngineHelp, PollDoesWhatIsQueuedWhileAWorkerStandsStill) {
  make();
  hold_the_worker();
  const std::vector<ScrubJob> jobs = {job(64 << 10, 4096, 1), job(128 << 10, 64 << 10, 2), job(1 << 20, 2 << 20, 3)};
  test::submit_all(*engine_, jobs);
  std::set<std::uint64_t> cookies;
  for (const Completion& completion : collect(*engine_, 3)) {
    EXPECT_EQ(completion.outcome, Outcome::Zeroed);
    cookies.insert(completion.cookie);
  }
  EXPECT_EQ(cookies, (std::set<std::uint64_t>{1, 2, 3}));
  EXPECT_EQ(by_caller_, (4U << 10) + (64U << 10) + (2U << 20));
  EXPECT_EQ(held_, 1);
  open_ = true;
  const auto held = collect(*engine_, 1);
  ASSERT_EQ(held.size(), 1U);
  EXPECT_EQ(held[0].cookie, 99U);
}

TEST_P(CpuEngineHelp, OneCallOfPollDoesABoundedPiece) {
  make();
  hold_the_worker();
  const ScrubJob long_job = job(1 << 20, kTooLong);
  test::submit_all(*engine_, {&long_job, 1});
  Completion completion;
  std::size_t before = by_caller_;
  ASSERT_TRUE(comes_true([&] {
    const std::size_t got = engine_->poll({&completion, 1});
    EXPECT_LE(by_caller_ - before, 256U << 10);
    before = by_caller_;
    return got == 1;
  }));
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(kTooLong));
}

TEST_P(CpuEngineHelp, AWorkerEndsWhatACallerHasBegun) {
  make();
  hold_the_worker();
  const ScrubJob long_job = job(1 << 20, kTooLong, 5);
  test::submit_all(*engine_, {&long_job, 1});
  ASSERT_TRUE(comes_true([&] {
    Completion none;
    EXPECT_EQ(engine_->poll({&none, 1}), 0U);
    return by_caller_ > 0;
  }));
  open_ = true;  // and the caller does not come back before all is done
  ASSERT_TRUE(comes_true([&] { return engine_->progress() >= 1 + kTooLong / (32 << 10); }));
  EXPECT_LT(by_caller_, kTooLong);
  const auto completions = collect(*engine_, 2);
  ASSERT_EQ(completions.size(), 2U);
  for (const Completion& completion : completions) EXPECT_EQ(completion.outcome, Outcome::Zeroed);
  if (GetParam() == Operation::FillRandom) return;  // nobody knows what it leaves
  EXPECT_EQ(test::first_not_pattern(long_job.memory, 0), std::nullopt);
}

TEST_P(CpuEngineHelp, APieceThatWaitsCanBeCancelled) {
  make();
  hold_the_worker();
  const ScrubJob long_job = job(1 << 20, kTooLong, 5);
  const auto ids = test::submit_all(*engine_, {&long_job, 1});
  ASSERT_TRUE(comes_true([&] {
    Completion none;
    EXPECT_EQ(engine_->poll({&none, 1}), 0U);
    return by_caller_ > 0;
  }));
  const std::size_t done = by_caller_;
  EXPECT_EQ(engine_->cancel(ids[0]), CancelResult::Requested);
  const auto completions = collect(*engine_, 1);
  ASSERT_EQ(completions.size(), 1U);
  EXPECT_EQ(completions[0].outcome, Outcome::Cancelled);
  EXPECT_GE(completions[0].bytes_zeroed.value() + (32U << 10), done) << "a verify stays a chunk behind";
  EXPECT_LE(completions[0].bytes_zeroed, ByteCount(done));
}

TEST_P(CpuEngineHelp, SubmitDoesSmallUrgentJobsWhileWorkersSleep) {
  open_ = true;
  make();
  std::size_t at_once = 0;
  ASSERT_TRUE(comes_true([&] {
    const ScrubJob jobs[] = {job(0, 16 << 10, 1, Urgency::Urgent), job(16 << 10, 16 << 10, 2, Urgency::Urgent)};
    const std::size_t before = by_caller_;
    const auto ids = test::submit_all(*engine_, jobs);
    at_once = by_caller_ - before;
    if (at_once > 0) {
      EXPECT_EQ(engine_->cancel(ids[0]), CancelResult::AlreadyFinished);
    }
    const auto completions = collect(*engine_, 2);
    EXPECT_EQ(completions.size(), 2U);
    return at_once > 0 || completions.size() != 2;
  }));
  EXPECT_EQ(at_once, 32U << 10);
}

TEST_P(CpuEngineHelp, SubmitDoesASmallBatchWhateverTheWorkersDo) {
  open_ = true;
  make();
  for (int round = 0; round < 100; ++round) {
    by_caller_ = 0;
    const ScrubJob jobs[] = {job(64, 64, 1), job(4096, 4096, 2)};
    const auto ids = test::submit_all(*engine_, jobs);
    EXPECT_EQ(by_caller_, 64U + 4096U);
    EXPECT_EQ(engine_->cancel(ids[1]), CancelResult::AlreadyFinished);
    EXPECT_EQ(collect(*engine_, 2).size(), 2U);
  }
}

TEST_P(CpuEngineHelp, LeavesRatedBackgroundJobsToTheWorkers) {
  CpuOptions options;
  options.bytes_per_second = ByteCount(1ULL << 40);
  make(options);
  hold_the_worker();
  const ScrubJob jobs[] = {job(64 << 10, 4096, 1), job(128 << 10, 4096, 2, Urgency::Urgent)};
  test::submit_all(*engine_, jobs);
  const auto urgent = collect(*engine_, 1);
  ASSERT_EQ(urgent.size(), 1U);
  EXPECT_EQ(urgent[0].cookie, 2U);
  Completion none;
  for (int look = 0; look < 1000; ++look) EXPECT_EQ(engine_->poll({&none, 1}), 0U);
  EXPECT_EQ(by_caller_, 4096U);
  open_ = true;
  EXPECT_EQ(collect(*engine_, 2).size(), 2U);
}

TEST_P(CpuEngineHelp, FencesWhatACallerDid) {
  std::atomic<int> fences{0};
  CpuHooks hooks;
  hooks.callers_help = true;
  hooks.fence = [&] { ++fences; };
  CpuOptions options;
  options.spin = {};
  const auto engine = make_engine(memory_.all(), options, hooks);
  for (int round = 1; round <= 100; ++round) {
    const ScrubJob next = job(0, 4096, 0, Urgency::Urgent);
    test::submit_all(*engine, {&next, 1});
    collect(*engine, 1);
    EXPECT_EQ(fences, round) << "whoever did it";
  }
}

INSTANTIATE_TEST_SUITE_P(Each, CpuEngineHelp, ::testing::ValuesIn(test::kOperations),
                         [](const auto& each) { return test::name_of(each.param); });

}  // namespace
}  // namespace sluice
