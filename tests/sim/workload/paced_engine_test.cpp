// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/paced_engine.hpp"

#include <gtest/gtest.h>

#include <array>

#include "driver/compose/scripted_engine.hpp"
#include "support/manual_engine.hpp"
#include "support/memory.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::ManualEngine;
using test::Memory;

class PacedEngineTest : public ::testing::Test {
 protected:
  JobId submit(std::size_t kibibytes, Urgency urgency, std::uint64_t cookie) {
    const ScrubJob job{memory_.part(0, kibibytes << 10), 0, urgency, cookie};
    JobId id;
    EXPECT_TRUE(paced_.submit({&job, 1}, {&id, 1}));
    return id;
  }
  std::vector<std::uint64_t> done() {
    std::array<Completion, 8> some;
    std::vector<std::uint64_t> cookies;
    const std::size_t count = paced_.poll(some);
    for (std::size_t index = 0; index < count; ++index) cookies.push_back(some[index].cookie);
    return cookies;
  }

  Memory memory_{1 << 20};
  ManualEngine engine_;
  PacedEngine paced_{engine_, 1024.0};  // 1 KiB a second
};

using Cookies = std::vector<std::uint64_t>;

TEST_F(PacedEngineTest, ShowsACompletionWhenTheTracesClockSaysSo) {
  submit(4, Urgency::Background, 1);
  engine_.end_all();
  EXPECT_EQ(paced_.next_due(), 4s);
  EXPECT_EQ(done(), Cookies{});
  paced_.set_time(3s);
  EXPECT_EQ(done(), Cookies{});
  paced_.set_time(4s);
  EXPECT_EQ(done(), Cookies{1});
  EXPECT_EQ(paced_.next_due(), std::nullopt);
}

TEST_F(PacedEngineTest, TimesThatTheClockCannotHoldAreItsLast) {
  PacedEngine slow(engine_, 1e-6);  // 4 KiB need more than a century
  slow.set_time(std::chrono::nanoseconds::max() - 1ns);
  for (const Urgency urgency : {Urgency::Urgent, Urgency::Background, Urgency::Background}) {
    const ScrubJob job{memory_.part(0, 1 << 20), 0, urgency, 1};
    JobId id;
    ASSERT_TRUE(slow.submit({&job, 1}, {&id, 1}));
    EXPECT_EQ(slow.next_due(), std::chrono::nanoseconds::max());
  }
  engine_.end_all();
  std::array<Completion, 8> some;
  EXPECT_EQ(slow.poll(some), 0U);
  slow.set_time(std::chrono::nanoseconds::max());
  EXPECT_EQ(slow.poll(some), 3U);
}

TEST_F(PacedEngineTest, WaitsForTheRealEngineWhenThatIsSlower) {
  submit(4, Urgency::Background, 1);
  paced_.set_time(10s);
  EXPECT_EQ(done(), Cookies{});
  engine_.end_all();
  EXPECT_EQ(done(), Cookies{1});
}

TEST_F(PacedEngineTest, OrderIsThatOfTheClockNotOfTheEngine) {
  submit(4, Urgency::Background, 1);
  submit(1, Urgency::Background, 2);
  submit(2, Urgency::Urgent, 3);
  engine_.end(2, Outcome::Zeroed, 2048);
  engine_.end(1, Outcome::Zeroed, 1024);
  paced_.set_time(20s);
  EXPECT_EQ(done(), Cookies{3}) << "1 is due before 2 and has not really ended";
  engine_.end_all();
  EXPECT_EQ(done(), (Cookies{1, 2}));
}

TEST_F(PacedEngineTest, CancelInTimeCountsWhateverTheRealEngineHadDone) {
  const JobId id = submit(4, Urgency::Background, 1);
  engine_.end_all();
  EXPECT_EQ(done(), Cookies{});
  EXPECT_EQ(paced_.cancel(id), CancelResult::Requested);
  std::array<Completion, 1> one;
  ASSERT_EQ(paced_.poll(one), 1U);
  EXPECT_EQ(one[0].outcome, Outcome::Cancelled);
  EXPECT_EQ(one[0].bytes_zeroed, ByteCount(4096)) << "what was really written is said";
  EXPECT_EQ(paced_.cancel(id), CancelResult::AlreadyFinished);
}

TEST_F(PacedEngineTest, IdleTimeIsNotSavedUpAndAJobAfterItTakesAsLongAsEver) {
  const std::chrono::nanoseconds idles[] = {0h, 1h, 10'000h};
  for (const std::chrono::nanoseconds idle : idles) {
    const std::chrono::nanoseconds start = paced_.time() + idle;
    paced_.set_time(start);
    EXPECT_EQ(done(), Cookies{});
    submit(4, Urgency::Background, 1);
    submit(2, Urgency::Background, 2);
    submit(1, Urgency::Urgent, 3);
    engine_.end_all();
    paced_.set_time(start + 1s - 1ns);
    EXPECT_EQ(done(), Cookies{});
    paced_.set_time(start + 4s - 1ns);
    EXPECT_EQ(done(), Cookies{3});
    paced_.set_time(start + 6s - 1ns);
    EXPECT_EQ(done(), Cookies{1});
    paced_.set_time(start + 6s);
    EXPECT_EQ(done(), Cookies{2});
  }
}

TEST_F(PacedEngineTest, IsForOneThreadWhateverTheEngineBehindItIs) {
  test::ScriptedEngine engine;
  engine.offers.concurrent_calls = true;
  EXPECT_FALSE(PacedEngine(engine, 1024.0).capabilities().concurrent_calls);
}

TEST(PacedEngineDescriptor, IsReadableWhileACompletionIsDueByTheTracesClock) {
  test::ScriptedEngine engine;
  PacedEngine paced(engine, 1024.0);
  const Memory memory(16 << 10);
  for (const std::size_t page : {0U, 1U}) {
    const ScrubJob job{memory.part(page * 4096, 4096), 0, Urgency::Background, page};
    JobId id;
    ASSERT_TRUE(paced.submit({&job, 1}, {&id, 1}));
  }
  const int fd = paced.completion_fd();
  ASSERT_GT(fd, 2);
  EXPECT_FALSE(test::is_readable(fd));
  engine.end_all();
  EXPECT_TRUE(test::is_readable(fd)) << "the engine has something to collect";
  Completion completion;
  EXPECT_EQ(paced.poll({&completion, 1}), 0U);
  EXPECT_FALSE(test::is_readable(fd)) << "not due";
  paced.set_time(8s);
  for (const bool more : {true, false}) {
    EXPECT_TRUE(test::is_readable(fd));
    EXPECT_EQ(paced.poll({&completion, 1}), 1U);
    EXPECT_EQ(test::is_readable(fd), more);
  }
  engine.has_descriptor = false;
  EXPECT_EQ(paced.completion_fd(), -1);
}

TEST_F(PacedEngineTest, PassesOnWhatAnEngineSaysOfAJobThatThereIsNot) {
  test::ScriptedEngine engine;
  PacedEngine paced(engine, 1024.0);
  engine.say({{3, 3}, 9, Outcome::Zeroed, FailureCause::None, ByteCount(1), {}});
  Completion completion;
  ASSERT_EQ(paced.poll({&completion, 1}), 1U);
  EXPECT_EQ(completion.cookie, 9U);
}

TEST_F(PacedEngineTest, FailuresPassThroughAndAFaultKeepsNoOrder) {
  submit(4, Urgency::Background, 1);
  submit(4, Urgency::Background, 2);
  engine_.break_down();
  EXPECT_EQ(done(), (Cookies{1, 2}));
  EXPECT_TRUE(paced_.fault());
}

}  // namespace
}  // namespace sluice
