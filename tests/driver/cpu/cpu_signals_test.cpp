// SPDX-License-Identifier: Apache-2.0
// The descriptor that callers of the CPU engine sleep on: readable as long as completions remain.
#include <poll.h>

#include <atomic>
#include <fstream>

#include "driver/cpu/cpu_support.hpp"

namespace sluice {
namespace {

using test::collect;
using test::comes_true;
using test::hold_until;
using test::make_engine;
using test::Memory;

bool readable(int descriptor, int timeout_ms = 0) {
  pollfd entry{descriptor, POLLIN, 0};
  return ::poll(&entry, 1, timeout_ms) == 1;
}

/// The number that stands after `key` in what the kernel says of a descriptor, each time that the key is there.
std::vector<int> facts(int descriptor, const std::string& key) {
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(descriptor));
  std::vector<int> values;
  for (std::string word; file >> word;) {
    int value = 0;
    if (word == key && file >> value) values.push_back(value);
  }
  return values;
}

/// Whether it is readable because somebody woke its reader up: not because the time of the signal is over.
bool was_raised(int descriptor) {
  if (!readable(descriptor, 10'000)) return false;
  for (const int watched : facts(descriptor, "tfd:")) {
    for (const int count : facts(watched, "eventfd-count:")) return count > 0;
  }
  return false;
}

/// An engine whose one worker does only as many chunks as it is let; of jobs that are published one by one.
class CpuEngineSignals : public ::testing::TestWithParam<Operation> {
 protected:
  static constexpr std::size_t kLength = 512 << 10;

  void SetUp() override {
    CpuOptions options;
    options.chunk = ByteCount(kLength);
    options.publish_bytes = ByteCount(kLength);
    options.stall_timeout = stall_timeout_;
    CpuHooks hooks;
    hooks.fill = [this](MemorySpan memory, std::uint64_t pattern) {
      pass();
      fill_temporal(memory, pattern);
      return true;
    };
    hooks.before_verify = [this](MemorySpan /*memory*/) {
      if (GetParam() == Operation::Verify) pass();
    };
    engine_ = make_engine(memory_.all(), options, hooks);
    fd_ = engine_->completion_fd();
  }
  void TearDown() override { allowed_ = 1000; }

  void submit(std::size_t count, Urgency urgency = Urgency::Background) {
    for (std::size_t index = 0; index < count; ++index) {
      const ScrubJob job{memory_.part(index * kLength, kLength), 0, urgency, 0, GetParam()};
      test::submit_all(*engine_, {&job, 1});
    }
  }
  /// Returns when so many chunks are done and the worker stands before the next one.
  void allow(int chunks) {
    allowed_ = chunks;
    ASSERT_TRUE(comes_true([&] { return begun_ > chunks; }));
  }
  [[nodiscard]] bool readable(int timeout_ms = 0) const { return sluice::readable(fd_, timeout_ms); }

  std::chrono::nanoseconds stall_timeout_ = std::chrono::seconds(60);
  Memory memory_{8 * kLength};
  std::atomic<int> begun_{0};
  std::atomic<int> allowed_{0};
  std::unique_ptr<CpuEngine> engine_;
  int fd_ = -1;

 private:
  void pass() {
    const int mine = begun_.fetch_add(1);
    hold_until([&] { return mine < allowed_; });
  }
};

TEST_P(CpuEngineSignals, NothingIsReadableBeforeAndAfter) {
  EXPECT_FALSE(readable()) << "nothing has happened";
  submit(3);
  EXPECT_FALSE(readable(5)) << "nothing is done";
  allowed_ = 3;
  EXPECT_TRUE(readable(10'000));
  EXPECT_EQ(collect(*engine_, 3).size(), 3U);
  EXPECT_FALSE(readable(5)) << "all was collected";
}

TEST_P(CpuEngineSignals, BackgroundJobsAreSeenWhileTheirWorkerStalls) {
  submit(6);
  allow(1);
  EXPECT_TRUE(readable(10'000)) << "1 of 6 waits, and the worker does not come back";
  EXPECT_EQ(collect(*engine_, 1).size(), 1U);
  EXPECT_FALSE(readable(5));
  allow(2);
  EXPECT_TRUE(readable(10'000)) << "the next one as well";
}

TEST_P(CpuEngineSignals, HalfOfTheJobsAreAReasonToWakeUp) {
  submit(6);
  allow(3);
  EXPECT_TRUE(was_raised(fd_)) << "3 of 6";
  EXPECT_EQ(collect(*engine_, 3).size(), 3U);
  allowed_ = 6;
  EXPECT_TRUE(readable(10'000)) << "none stays behind";
}

TEST_P(CpuEngineSignals, StaysReadableWhileSomeAreNotCollected) {
  submit(6);
  allow(4);
  for (int left = 4; left > 0; --left) {
    EXPECT_TRUE(readable()) << left << " wait";
    Completion one;
    EXPECT_EQ(engine_->poll({&one, 1}), 1U);
  }
  EXPECT_FALSE(readable());
}

TEST_P(CpuEngineSignals, PollingFindsThemEarlier) {
  submit(6);
  allow(1);
  Completion one;
  EXPECT_EQ(engine_->poll({&one, 1}), 1U);
}

TEST_P(CpuEngineSignals, AnUrgentJobIsSeenAtOnce) {
  submit(6);
  allow(1);
  collect(*engine_, 1);
  submit(1, Urgency::Urgent);  // comes next
  allow(3);
  EXPECT_TRUE(was_raised(fd_));
}

TEST_P(CpuEngineSignals, FewerThanHalfMayComeTogetherAndWaitForTheTimer) {
  submit(6);
  allow(1);
  EXPECT_FALSE(was_raised(fd_)) << "or the tests of what is raised see nothing";
  EXPECT_TRUE(readable());
}

TEST_P(CpuEngineSignals, TheLastOfTheQueueIsAReasonToWakeUp) {
  constexpr std::size_t kShare = 64 << 10;  // a worker takes smaller ones together
  CpuOptions options;
  options.threads = 3;
  options.chunk = ByteCount(kShare);
  std::atomic<int> begun{0};
  std::atomic<int> allowed{0};
  const auto pass = [&] {
    const int mine = begun.fetch_add(1);
    hold_until([&] { return mine < allowed; });
  };
  CpuHooks hooks;
  hooks.fill = [&](MemorySpan memory, std::uint64_t pattern) {
    pass();
    fill_temporal(memory, pattern);
    return true;
  };
  hooks.before_verify = [&](MemorySpan /*memory*/) {
    if (GetParam() == Operation::Verify) pass();
  };
  const auto engine = make_engine(memory_.all(), options, hooks);
  const int fd = engine->completion_fd();
  for (std::size_t index = 0; index < 3; ++index) {
    const ScrubJob job{memory_.part(index * kShare, kShare), 0, Urgency::Background, 0, GetParam()};
    test::submit_all(*engine, {&job, 1});
  }
  EXPECT_TRUE(comes_true([&] { return begun == 3; }));
  allowed = 1;
  EXPECT_TRUE(was_raised(fd)) << "1 of 3, small, and none is queued that it could wait for";
  allowed = 3;
  collect(*engine, 3);
}

TEST_P(CpuEngineSignals, ThoseThatWereThereBeforeItWasAskedForAreSeen) {
  const auto engine = make_engine(memory_.all());
  const ScrubJob job{memory_.part(0, 4096), 0, Urgency::Background, 0, GetParam()};
  test::submit_all(*engine, {&job, 1});
  ASSERT_TRUE(comes_true([&] { return engine->progress() > 0; }));
  EXPECT_TRUE(sluice::readable(engine->completion_fd(), 10'000));
}

INSTANTIATE_TEST_SUITE_P(Each, CpuEngineSignals, ::testing::ValuesIn(test::kOperations),
                         [](const auto& each) { return test::name_of(each.param); });

class CpuEngineFailures : public CpuEngineSignals {
 protected:
  CpuEngineFailures() { stall_timeout_ = std::chrono::milliseconds(50); }
};

TEST_P(CpuEngineFailures, ManyAtOnceStayReadableForASmallOut) {
  submit(8);
  allow(1);  // and stands still
  collect(*engine_, 1);
  std::size_t failed = 0;
  ASSERT_TRUE(comes_true([&] {
    Completion one;
    failed += engine_->poll({&one, 1});
    return failed > 0;
  }));
  for (; failed < 7; ++failed) {
    EXPECT_TRUE(readable()) << failed << " of 7";
    Completion one;
    ASSERT_EQ(engine_->poll({&one, 1}), 1U);
    EXPECT_EQ(one.cause, FailureCause::Timeout);
  }
  EXPECT_FALSE(readable());
}

INSTANTIATE_TEST_SUITE_P(Each, CpuEngineFailures, ::testing::ValuesIn(test::kOperations),
                         [](const auto& each) { return test::name_of(each.param); });

}  // namespace
}  // namespace sluice
