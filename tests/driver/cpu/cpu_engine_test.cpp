// SPDX-License-Identifier: Apache-2.0
// What the CPU engine does beyond the contract.
#include "sluice/cpu/cpu_engine.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <thread>

#include "support/memory.hpp"

namespace sluice {
namespace {

using test::Memory;

TEST(CpuEngine, RefusesOptionsThatCannotWork) {
  Memory memory(4096);
  const MemorySpan windows[] = {memory.all()};
  for (const CpuOptions& options : {CpuOptions{.max_jobs = 0}, CpuOptions{.max_jobs = 70'000}, CpuOptions{.threads = 0},
                                    CpuOptions{.threads = 65}, CpuOptions{.chunk = ByteCount(0)}}) {
    const auto engine = CpuEngine::create(options, windows);
    ASSERT_FALSE(engine);
    EXPECT_EQ(engine.error().code, DriverErrc::InvalidArgument);
  }
}

TEST(CpuEngine, UsesTheBestStoreThatTheCpuHas) {
  EXPECT_TRUE(has_store(best_store()));
  for (const StoreKind kind : kStoreKinds) {
    EXPECT_TRUE(!has_store(kind) || kind <= best_store() || kind == StoreKind::Movdir64b);
  }
  Memory memory(4096);
  const MemorySpan windows[] = {memory.all()};
  const auto engine = CpuEngine::create({}, windows);
  ASSERT_TRUE(engine);
  EXPECT_EQ((*engine)->capabilities().name, "cpu/" + to_string(best_store()));
}

TEST(CpuEngine, NoticesACancelAfterOneChunk) {
  Memory memory(1 << 20);
  const MemorySpan windows[] = {memory.all()};
  std::atomic<int> chunks{0};
  std::atomic<bool> go{false};
  CpuOptions options;
  options.fill = [&](MemorySpan chunk, std::uint64_t /*pattern*/) {
    EXPECT_LE(chunk.size(), 32U << 10);
    ++chunks;
    while (!go) std::this_thread::yield();
    return true;
  };
  auto engine = CpuEngine::create(options, windows);
  ASSERT_TRUE(engine);
  const ScrubJob job{memory.all()};
  JobId id;
  ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
  while (chunks == 0) std::this_thread::yield();
  (*engine)->cancel(id);
  go = true;
  std::array<Completion, 1> completion;
  while ((*engine)->poll(completion) == 0) std::this_thread::yield();
  EXPECT_EQ(completion[0].outcome, Outcome::Cancelled);
  EXPECT_EQ(completion[0].bytes_zeroed, ByteCount(32 << 10));
  EXPECT_EQ(chunks, 1);
}

TEST(CpuEngine, DoesUrgentJobsFirst) {
  Memory memory(64 << 10);
  const MemorySpan windows[] = {memory.all()};
  std::atomic<bool> go{false};
  CpuOptions options;
  options.fill = [&](MemorySpan /*chunk*/, std::uint64_t /*pattern*/) {
    while (!go) std::this_thread::yield();
    return true;
  };
  auto engine = CpuEngine::create(options, windows);
  ASSERT_TRUE(engine);
  std::vector<ScrubJob> jobs;
  for (std::uint64_t index = 0; index < 6; ++index) {
    jobs.push_back({memory.part(index * 4096, 4096), 0, index >= 4 ? Urgency::Urgent : Urgency::Background, index});
  }
  std::vector<JobId> ids(jobs.size());
  // The worker may have taken the first job before the urgent ones are there.
  ASSERT_TRUE((*engine)->submit(std::span(jobs).first(1), ids));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_TRUE((*engine)->submit(std::span(jobs).subspan(1), ids));
  go = true;
  std::vector<std::uint64_t> order;
  std::array<Completion, 8> some;
  while (order.size() < jobs.size()) {
    const std::size_t got = (*engine)->poll(some);
    for (std::size_t index = 0; index < got; ++index) order.push_back(some[index].cookie);
  }
  EXPECT_EQ(order, (std::vector<std::uint64_t>{0, 4, 5, 1, 2, 3}));
}

TEST(CpuEngine, PublishesAnUrgentCompletionBeforeItGoesOn) {
  Memory memory(8192);
  const MemorySpan windows[] = {memory.all()};
  std::atomic<bool> go{false};
  CpuOptions options;
  options.fill = [&](MemorySpan chunk, std::uint64_t /*pattern*/) {
    while (chunk.data() != memory.all().data() && !go) std::this_thread::yield();
    return true;
  };
  auto engine = CpuEngine::create(options, windows);
  ASSERT_TRUE(engine);
  const ScrubJob jobs[] = {{memory.part(0, 4096), 0, Urgency::Urgent, 1}, {memory.part(4096, 4096)}};
  std::array<JobId, 2> ids;
  ASSERT_TRUE((*engine)->submit(jobs, ids));
  std::array<Completion, 2> some;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::size_t got = 0;
  while (got == 0 && std::chrono::steady_clock::now() < deadline) got = (*engine)->poll(some);
  EXPECT_EQ(got, 1U) << "somebody waits for it";
  EXPECT_EQ(some[0].cookie, 1U);
  go = true;
}

TEST(CpuEngine, WakesAPollerThroughItsDescriptor) {
  Memory memory(4096);
  const MemorySpan windows[] = {memory.all()};
  auto engine = CpuEngine::create({}, windows);
  ASSERT_TRUE(engine);
  pollfd descriptor{(*engine)->completion_fd(), POLLIN, 0};
  ASSERT_GE(descriptor.fd, 0);
  EXPECT_EQ(::poll(&descriptor, 1, 0), 0) << "nothing has happened";
  const ScrubJob job{memory.all()};
  JobId id;
  ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
  EXPECT_EQ(::poll(&descriptor, 1, 10'000), 1);
  std::array<Completion, 4> some;
  EXPECT_EQ((*engine)->poll(some), 1U);
  EXPECT_EQ(::poll(&descriptor, 1, 0), 0) << "all was collected";
}

/// An engine whose worker fills only as many chunks as it is let; of jobs that are published one by one.
class CpuEngineSignals : public ::testing::Test {
 protected:
  static constexpr std::size_t kLength = 512 << 10;

  void SetUp() override {
    CpuOptions options;
    options.chunk = ByteCount(kLength);
    options.publish_bytes = ByteCount(kLength);
    options.fill = [this](MemorySpan /*memory*/, std::uint64_t /*pattern*/) {
      const int mine = begun_.fetch_add(1);
      while (mine >= allowed_.load()) std::this_thread::yield();
      return true;
    };
    const MemorySpan windows[] = {memory_.all()};
    engine_ = std::move(CpuEngine::create(options, windows)).value();
    fd_ = engine_->completion_fd();
  }
  void TearDown() override { allowed_ = 1000; }

  void submit(std::size_t count, Urgency urgency = Urgency::Background) {
    for (std::size_t index = 0; index < count; ++index) {
      const ScrubJob job{memory_.part(index * kLength, kLength), 0, urgency};
      JobId id;
      ASSERT_TRUE(engine_->submit({&job, 1}, {&id, 1}));
    }
  }
  /// Returns when so many chunks are done and the worker stands before the next one.
  void allow(int chunks) {
    allowed_ = chunks;
    while (begun_.load() <= chunks) std::this_thread::yield();
  }
  [[nodiscard]] bool readable(int timeout_ms = 0) const {
    pollfd descriptor{fd_, POLLIN, 0};
    return ::poll(&descriptor, 1, timeout_ms) == 1;
  }

  Memory memory_{8 * kLength};
  std::atomic<int> begun_{0};
  std::atomic<int> allowed_{0};
  std::unique_ptr<CpuEngine> engine_;
  int fd_ = -1;
};

TEST_F(CpuEngineSignals, BackgroundJobsWaitUntilHalfOfThemHaveEnded) {
  submit(6);
  allow(2);
  EXPECT_FALSE(readable()) << "2 of 6";
  std::array<Completion, 8> some;
  allow(3);
  EXPECT_TRUE(readable()) << "3 of 6";
  EXPECT_EQ(engine_->poll(some), 3U);
  EXPECT_FALSE(readable());
  allowed_ = 6;
  EXPECT_TRUE(readable(10'000)) << "none is left behind";
}

TEST_F(CpuEngineSignals, StaysReadableWhileSomeAreNotCollected) {
  submit(6);
  allow(3);
  Completion one;
  EXPECT_EQ(engine_->poll({&one, 1}), 1U);
  EXPECT_TRUE(readable()) << "two wait";
}

TEST_F(CpuEngineSignals, PollingFindsThemEarlier) {
  submit(6);
  allow(1);
  std::array<Completion, 8> some;
  EXPECT_EQ(engine_->poll(some), 1U);
}

TEST_F(CpuEngineSignals, AnUrgentJobIsToldAtOnce) {
  submit(6);
  allow(1);
  submit(1, Urgency::Urgent);  // comes next
  EXPECT_FALSE(readable());
  allow(3);
  EXPECT_TRUE(readable());
}

/// Runs one job and returns how long that took.
std::chrono::nanoseconds time_of(CpuEngine& engine, const ScrubJob& job) {
  JobId id;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(engine.submit({&job, 1}, {&id, 1}));
  std::array<Completion, 1> completion;
  while (engine.poll(completion) == 0) std::this_thread::yield();
  EXPECT_EQ(completion[0].outcome, Outcome::Zeroed);
  return std::chrono::steady_clock::now() - start;
}

TEST(CpuEngine, DropsWhatAWorkerFinishesAfterItWasGivenUp) {
  Memory memory(8192);
  const MemorySpan windows[] = {memory.all()};
  std::atomic<bool> go{false};
  std::atomic<int> filled{0};
  CpuOptions options;
  options.stall_timeout = std::chrono::milliseconds(20);
  options.fill = [&](MemorySpan /*memory*/, std::uint64_t /*pattern*/) {
    while (!go) std::this_thread::yield();
    ++filled;
    return true;
  };
  auto engine = CpuEngine::create(options, windows);
  ASSERT_TRUE(engine);
  const ScrubJob jobs[] = {{memory.part(0, 4096)}, {memory.part(4096, 4096)}};
  std::array<JobId, 2> ids;
  ASSERT_TRUE((*engine)->submit(jobs, ids));
  std::array<Completion, 4> some;
  std::size_t got = 0;
  while (got < 2) got += (*engine)->poll(std::span(some).subspan(got));
  EXPECT_EQ(some[0].cause, FailureCause::Timeout);
  EXPECT_EQ(some[1].cause, FailureCause::Timeout);
  go = true;
  while (filled == 0) std::this_thread::yield();
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  while (std::chrono::steady_clock::now() < end) EXPECT_EQ((*engine)->poll(some), 0U);
}

TEST(CpuEngine, KeepsBackgroundWorkBelowItsRate) {
  Memory memory(1 << 20);
  const MemorySpan windows[] = {memory.all()};
  CpuOptions options;
  options.bytes_per_second = ByteCount(1 << 20);
  options.chunk = ByteCount(4096);
  auto engine = CpuEngine::create(options, windows);
  ASSERT_TRUE(engine);
  // 64 KiB: the first chunk at once, each other one a 256th of a second later.
  EXPECT_GE(time_of(**engine, {memory.part(0, 64 << 10)}), std::chrono::nanoseconds(1'000'000'000) / 256 * 15);
}

TEST(CpuEngine, CancelEndsAWaitForTheRateAndUrgentJobsDoNotWait) {
  Memory memory(1 << 20);
  const MemorySpan windows[] = {memory.all()};
  CpuOptions options;
  options.bytes_per_second = ByteCount(1);  // who waits, waits for hours
  std::atomic<int> chunks{0};
  options.fill = [&](MemorySpan /*chunk*/, std::uint64_t /*pattern*/) {
    ++chunks;
    return true;
  };
  auto engine = CpuEngine::create(options, windows);
  ASSERT_TRUE(engine);
  const ScrubJob slow{memory.all()};
  JobId id;
  ASSERT_TRUE((*engine)->submit({&slow, 1}, {&id, 1}));
  while (chunks == 0) std::this_thread::yield();
  time_of(**engine, {memory.all(), 0, Urgency::Urgent});  // the one worker leaves its job for it
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  (*engine)->cancel(id);
  std::array<Completion, 1> completion;
  while ((*engine)->poll(completion) == 0) std::this_thread::yield();
  EXPECT_EQ(completion[0].outcome, Outcome::Cancelled);
  EXPECT_LE(completion[0].bytes_zeroed, ByteCount(32 << 10)) << "only the first chunk was free";
}

TEST(CpuEngine, RunsItsWorkersWhereItIsTold) {
  cpu_set_t mine;
  ASSERT_EQ(::sched_getaffinity(0, sizeof mine, &mine), 0);
  Memory memory(64 << 10);
  const MemorySpan windows[] = {memory.all()};
  for (std::uint32_t cpu = 0; cpu < 64; ++cpu) {
    if (!CPU_ISSET(cpu, &mine)) continue;
    CpuOptions options;
    options.cpus = {cpu};
    std::atomic<int> elsewhere{0};
    std::atomic<bool> pinned{false};
    options.fill = [&](MemorySpan /*chunk*/, std::uint64_t /*pattern*/) {
      while (!pinned) std::this_thread::yield();
      elsewhere += ::sched_getcpu() != static_cast<int>(cpu) ? 1 : 0;
      return true;
    };
    auto engine = CpuEngine::create(options, windows);
    ASSERT_TRUE(engine) << engine.error().message;
    pinned = true;
    time_of(**engine, {memory.all()});
    EXPECT_EQ(elsewhere, 0);
  }
}

TEST(CpuEngine, RefusesPlacesAndStoresThatAreNotThere) {
  Memory memory(4096);
  const MemorySpan windows[] = {memory.all()};
  const auto refusal = [&](const CpuOptions& options) {
    const auto engine = CpuEngine::create(options, windows);
    EXPECT_FALSE(engine);
    return engine.has_value() ? Error{} : engine.error();
  };
  const Error cpu = refusal({.cpus = {1023}});
  EXPECT_EQ(cpu.code, DriverErrc::InvalidArgument);
  EXPECT_NE(cpu.message.find("1023"), std::string::npos) << cpu.message;
  const Error node = refusal({.numa_node = 1023});
  EXPECT_NE(node.message.find("node 1023"), std::string::npos) << node.message;
  const Error both = refusal({.cpus = {0}, .numa_node = 0});
  EXPECT_NE(both.message.find("one of them"), std::string::npos) << both.message;
  for (const StoreKind kind : kStoreKinds) {
    if (has_store(kind)) continue;
    EXPECT_NE(refusal({.store = kind}).message.find(to_string(kind)), std::string::npos);
  }
}

TEST(CpuEngine, LeavesMemoryThatIsReadSoonFilledAsWell) {
  Memory memory(8192, std::byte{0xA5});
  const MemorySpan windows[] = {memory.all()};
  CpuOptions options;
  options.fill = [](MemorySpan /*chunk*/, std::uint64_t /*pattern*/) { return false; };  // the other way does not run
  auto engine = CpuEngine::create(options, windows);
  ASSERT_TRUE(engine);
  ScrubJob job{memory.part(3, 5001), 0x1122334455667788};
  job.read_soon = true;
  time_of(**engine, job);
  EXPECT_EQ(test::first_not_pattern(job.memory, job.pattern), std::nullopt);
  EXPECT_EQ(memory.all()[2], std::byte{0xA5});
  EXPECT_EQ(memory.all()[5004], std::byte{0xA5});
}

}  // namespace
}  // namespace sluice
