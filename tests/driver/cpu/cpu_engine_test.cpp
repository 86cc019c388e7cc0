// SPDX-License-Identifier: Apache-2.0
// What the CPU engine does beyond the contract.
#include "sluice/cpu/cpu_engine.hpp"

#include <sched.h>

#include <atomic>

#include "driver/cpu/cpu_support.hpp"

namespace sluice {
namespace {

using test::collect;
using test::comes_true;
using test::hold_until;
using test::make_engine;
using test::Memory;
using test::submit_all;

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

/// Workers that stand before each chunk until they may go on. Of a fill that is verified, before it is filled.
class Gate {
 public:
  explicit Gate(Operation operation = Operation::Fill, int allowed = 0)
      : fills_(operation != Operation::Verify), allowed_(allowed) {}
  [[nodiscard]] CpuHooks hooks() {
    CpuHooks hooks;
    hooks.fill = [this](MemorySpan chunk, std::uint64_t pattern) {
      pass(chunk);
      fill_temporal(chunk, pattern);
      return true;
    };
    hooks.before_verify = [this](MemorySpan chunk) {
      if (!fills_) pass(chunk);
    };
    return hooks;
  }
  /// Lets so many chunks pass.
  void allow(int chunks) { allowed_ = chunks; }
  void open() { allowed_ = 1 << 30; }
  [[nodiscard]] int arrived() const { return arrived_; }
  /// False: nobody came.
  [[nodiscard]] bool wait_for(int chunks) const {
    return comes_true([&] { return arrived_ >= chunks; });
  }
  [[nodiscard]] std::size_t longest() const { return longest_; }

 private:
  void pass(MemorySpan chunk) {
    longest_ = std::max<std::size_t>(longest_, chunk.size());
    const int mine = arrived_.fetch_add(1);
    hold_until([&] { return mine < allowed_; });
  }

  bool fills_;
  std::atomic<int> allowed_;
  std::atomic<int> arrived_{0};
  std::atomic<std::size_t> longest_{0};
};

class CpuEngineOperations : public ::testing::TestWithParam<Operation> {
 protected:
  [[nodiscard]] ScrubJob job(MemorySpan memory, Urgency urgency = Urgency::Background, std::uint64_t cookie = 0) const {
    return {memory, 0, urgency, cookie, GetParam()};
  }
  void TearDown() override { gate_.open(); }

  Memory memory_{1 << 20};
  Gate gate_{GetParam()};
  std::unique_ptr<CpuEngine> engine_;  // ends before the gate, and after it was opened
};

TEST_P(CpuEngineOperations, NoticesACancelAfterOneChunk) {
  engine_ = make_engine(memory_.all(), {}, gate_.hooks());
  const ScrubJob long_job = job(memory_.all());
  const auto ids = submit_all(*engine_, {&long_job, 1});
  ASSERT_TRUE(gate_.wait_for(1));
  EXPECT_EQ(engine_->cancel(ids[0]), CancelResult::Requested);
  gate_.open();
  const auto completions = collect(*engine_, 1);
  ASSERT_EQ(completions.size(), 1U);
  EXPECT_EQ(completions[0].outcome, Outcome::Cancelled);
  EXPECT_EQ(completions[0].bytes_zeroed, ByteCount(32 << 10));
  EXPECT_EQ(gate_.arrived(), 1);
  EXPECT_EQ(gate_.longest(), 32U << 10);
}

TEST_P(CpuEngineOperations, DoesUrgentJobsFirst) {
  engine_ = make_engine(memory_.all(), {}, gate_.hooks());
  std::vector<ScrubJob> jobs;
  for (std::uint64_t index = 0; index < 6; ++index) {
    jobs.push_back(job(memory_.part(index * 4096, 4096), index >= 4 ? Urgency::Urgent : Urgency::Background, index));
  }
  submit_all(*engine_, std::span(jobs).first(1));
  ASSERT_TRUE(gate_.wait_for(1));
  submit_all(*engine_, std::span(jobs).subspan(1));
  gate_.open();
  std::vector<std::uint64_t> order;
  for (const Completion& completion : collect(*engine_, jobs.size())) {
    if (completion.cookie != 0) order.push_back(completion.cookie);  // it had begun
  }
  EXPECT_EQ(order, (std::vector<std::uint64_t>{4, 5, 1, 2, 3}));
}

TEST_P(CpuEngineOperations, LeavesALongJobForAnUrgentOneThatComes) {
  engine_ = make_engine(memory_.all(), {}, gate_.hooks());
  const ScrubJob long_job = job(memory_.part(0, 512 << 10), Urgency::Background, 1);
  submit_all(*engine_, {&long_job, 1});
  ASSERT_TRUE(gate_.wait_for(1));
  const ScrubJob urgent = job(memory_.part(512 << 10, 4096), Urgency::Urgent, 2);
  submit_all(*engine_, {&urgent, 1});
  gate_.allow(2);
  const auto first = collect(*engine_, 1);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].cookie, 2U);
  gate_.open();
  const auto second = collect(*engine_, 1);
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].outcome, Outcome::Zeroed);
  EXPECT_EQ(second[0].bytes_zeroed, ByteCount(512 << 10));
}

TEST_P(CpuEngineOperations, PublishesAnUrgentCompletionBeforeItGoesOn) {
  engine_ = make_engine(memory_.all(), {}, gate_.hooks());
  const ScrubJob jobs[] = {job(memory_.part(0, 4096), Urgency::Urgent, 1),
                           job(memory_.part(4096, 4096), Urgency::Background, 2)};
  submit_all(*engine_, jobs);
  gate_.allow(1);
  const auto completions = collect(*engine_, 1);
  ASSERT_EQ(completions.size(), 1U) << "somebody waits for it";
  EXPECT_EQ(completions[0].cookie, 1U);
}

TEST_P(CpuEngineOperations, StartsNJobsOnNWorkersAtOnce) {
  for (const std::uint32_t workers : {2U, 4U, 7U}) {
    for (const Urgency urgency : {Urgency::Urgent, Urgency::Background}) {
      Gate gate(GetParam());
      CpuOptions options;
      options.threads = workers;
      const auto engine = make_engine(memory_.all(), options, gate.hooks());
      std::vector<ScrubJob> jobs;
      for (std::size_t index = 0; index < workers; ++index) {
        jobs.push_back(job(memory_.part(index * (64 << 10), 64 << 10), urgency));
      }
      submit_all(*engine, jobs);
      const bool all_began = gate.wait_for(static_cast<int>(workers));
      gate.open();
      EXPECT_EQ(collect(*engine, workers).size(), workers);
      ASSERT_TRUE(all_began) << "not all of " << workers;
    }
  }
}

TEST_P(CpuEngineOperations, StartsASecondJobBesideALongOneThatRuns) {
  CpuOptions options;
  options.threads = 2;
  engine_ = make_engine(memory_.all(), options, gate_.hooks());
  const ScrubJob jobs[] = {job(memory_.part(0, 512 << 10)), job(memory_.part(512 << 10, 4096))};
  submit_all(*engine_, {jobs, 1});
  ASSERT_TRUE(gate_.wait_for(1));
  submit_all(*engine_, {jobs + 1, 1});
  EXPECT_TRUE(gate_.wait_for(2));
  gate_.open();
  collect(*engine_, 2);
}

TEST_P(CpuEngineOperations, FencesBeforeItPublishes) {
  std::atomic<int> fences{0};
  std::atomic<std::size_t> seen_early{0};
  std::atomic<CpuEngine*> engine{nullptr};
  CpuHooks hooks = gate_.hooks();
  hooks.fence = [&] {
    Completion early;
    seen_early += engine.load()->poll({&early, 1});
    ++fences;
  };
  gate_.open();
  engine_ = make_engine(memory_.all(), {}, hooks);
  engine = engine_.get();
  for (int round = 1; round <= 20; ++round) {
    const ScrubJob next = job(memory_.part(0, 64 << 10));
    submit_all(*engine_, {&next, 1});
    Completion completion;
    ASSERT_TRUE(comes_true([&] { return engine_->poll({&completion, 1}) + seen_early > 0; }));
    ASSERT_EQ(seen_early, 0U) << "before the fence";
    EXPECT_EQ(fences, round) << "one for each publication";
  }
}

TEST_P(CpuEngineOperations, PublishesSmallJobsTogetherWithOneFence) {
  std::atomic<int> fences{0};
  CpuHooks hooks = gate_.hooks();
  hooks.fence = [&] { ++fences; };
  engine_ = make_engine(memory_.all(), {}, hooks);
  const ScrubJob first = job(memory_.part(0, 4096));
  submit_all(*engine_, {&first, 1});
  ASSERT_TRUE(gate_.wait_for(1));
  const std::vector<ScrubJob> jobs(40, job(memory_.part(4096, 4096)));
  submit_all(*engine_, jobs);
  gate_.open();
  collect(*engine_, 41);
  EXPECT_EQ(fences, 2);
}

TEST_P(CpuEngineOperations, OverlapInEitherOrderLeavesOnePattern) {
  for (const bool longer_first : {true, false}) {
    engine_ = make_engine(memory_.all());
    ScrubJob jobs[] = {job(memory_.part(0, 256 << 10)), job(memory_.part(64 << 10, 64 << 10))};
    memory_.fill(GetParam() == Operation::Verify ? std::byte{0} : std::byte{0xA5});  // what a verify expects
    if (!longer_first) std::swap(jobs[0], jobs[1]);
    submit_all(*engine_, jobs);
    for (const Completion& completion : collect(*engine_, 2)) {
      EXPECT_EQ(completion.outcome, Outcome::Zeroed);
    }
    if (GetParam() == Operation::FillRandom) continue;  // nobody knows what it leaves
    EXPECT_EQ(test::first_not_pattern(memory_.part(0, 256 << 10), 0), std::nullopt);
  }
}

TEST_P(CpuEngineOperations, DropWhatAWorkerFinishesAfterItWasGivenUp) {
  CpuOptions options;
  options.stall_timeout = std::chrono::milliseconds(20);
  engine_ = make_engine(memory_.all(), options, gate_.hooks());
  const ScrubJob jobs[] = {job(memory_.part(0, 4096)), job(memory_.part(4096, 4096))};
  submit_all(*engine_, jobs);
  for (const Completion& completion : collect(*engine_, 2)) EXPECT_EQ(completion.cause, FailureCause::Timeout);
  EXPECT_TRUE(engine_->fault());
  const std::uint64_t before = engine_->progress();
  gate_.open();
  EXPECT_TRUE(gate_.arrived() == 0 || comes_true([&] { return engine_->progress() > before; }));
  Completion none;
  EXPECT_EQ(engine_->poll({&none, 1}), 0U);
}

INSTANTIATE_TEST_SUITE_P(Each, CpuEngineOperations, ::testing::ValuesIn(test::kOperations),
                         [](const auto& each) { return test::name_of(each.param); });

TEST(CpuEngine, JudgesAStallByProgressAlone) {
  Memory memory(8192);
  Gate gate;
  CpuOptions options;
  options.stall_timeout = std::chrono::milliseconds(200);
  const auto engine = make_engine(memory.all(), options, gate.hooks());
  const ScrubJob jobs[] = {{memory.part(0, 4096)}, {memory.part(4096, 4096)}};
  // One completion is not collected for longer than the limit: nothing is under way, so nothing is late.
  submit_all(*engine, {jobs, 1});
  gate.open();
  ASSERT_TRUE(comes_true([&] { return engine->progress() == 1; }));
  for (int look = 0; look < 20; ++look) {
    EXPECT_EQ(engine->poll({}), 0U);
    std::this_thread::sleep_for(std::chrono::milliseconds(15));
  }
  EXPECT_FALSE(engine->fault());
  // The next job has all of its time, however long ago the last one made progress.
  gate.allow(gate.arrived());
  submit_all(*engine, {jobs + 1, 1});
  EXPECT_EQ(engine->poll({}), 0U);
  EXPECT_FALSE(engine->fault());
  ASSERT_TRUE(comes_true([&] { return engine->poll({}) == 0 && engine->fault().has_value(); }));
  const auto completions = collect(*engine, 2);
  ASSERT_EQ(completions.size(), 2U);
  EXPECT_EQ(completions[0].outcome, Outcome::Zeroed);
  EXPECT_EQ(completions[1].cause, FailureCause::Timeout);
  gate.open();
}

/// Runs one job and returns how long that took.
std::chrono::nanoseconds time_of(CpuEngine& engine, const ScrubJob& job) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(test::finish(engine, job).outcome, Outcome::Zeroed);
  return std::chrono::steady_clock::now() - start;
}

TEST(CpuEngine, KeepsBackgroundWorkBelowItsRateAlsoAfterALongIdle) {
  Memory memory(1 << 20);
  for (const Operation operation : test::kOperations) {
    CpuOptions options;
    options.bytes_per_second = ByteCount(1 << 20);
    options.chunk = ByteCount(4096);
    const auto engine = make_engine(memory.all(), options, {.callers_help = true});
    for (int again = 0; again < 2; ++again) {
      // 64 KiB: the first chunk at once, each other one a 256th of a second later.
      const ScrubJob job{memory.part(0, 64 << 10), 0, Urgency::Background, 0, operation};
      EXPECT_GE(time_of(*engine, job), std::chrono::nanoseconds(1'000'000'000) / 256 * 15) << test::name_of(operation);
      std::this_thread::sleep_for(std::chrono::milliseconds(80));  // time that nobody used is not saved up
    }
  }
}

TEST(CpuEngine, CancelEndsAWaitForTheRateAndUrgentJobsDoNotWait) {
  Memory memory(1 << 20);
  CpuOptions options;
  options.bytes_per_second = ByteCount(1);  // who waits, waits for hours
  Gate gate(Operation::Fill, 1 << 30);
  const auto engine = make_engine(memory.all(), options, gate.hooks());
  const ScrubJob slow{memory.all()};
  const auto ids = submit_all(*engine, {&slow, 1});
  ASSERT_TRUE(gate.wait_for(1));
  time_of(*engine, {memory.all(), 0, Urgency::Urgent});  // the one worker leaves its job for it
  engine->cancel(ids[0]);
  const auto completions = collect(*engine, 1);
  ASSERT_EQ(completions.size(), 1U);
  EXPECT_EQ(completions[0].outcome, Outcome::Cancelled);
  EXPECT_EQ(completions[0].bytes_zeroed, ByteCount(32 << 10)) << "only the first chunk was free";
}

TEST(CpuEngine, RunsItsWorkersWhereItIsTold) {
  cpu_set_t mine;
  ASSERT_EQ(::sched_getaffinity(0, sizeof mine, &mine), 0);
  Memory memory(64 << 10);
  for (std::uint32_t cpu = 0; cpu < 64; ++cpu) {
    if (!CPU_ISSET(cpu, &mine)) continue;
    CpuOptions options;
    options.cpus = {cpu};
    std::atomic<int> elsewhere{0};
    std::atomic<bool> pinned{false};
    CpuHooks hooks;
    hooks.fill = [&](MemorySpan /*chunk*/, std::uint64_t /*pattern*/) {
      hold_until([&] { return pinned.load(); });
      elsewhere += ::sched_getcpu() != static_cast<int>(cpu) ? 1 : 0;
      return true;
    };
    const auto engine = make_engine(memory.all(), options, hooks);
    pinned = true;
    time_of(*engine, {memory.all()});
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
  CpuHooks hooks;
  hooks.fill = [](MemorySpan /*chunk*/, std::uint64_t /*pattern*/) { return false; };  // the other way does not run
  const auto engine = make_engine(memory.all(), {}, hooks);
  ScrubJob job{memory.part(3, 5001), 0x1122334455667788};
  job.read_soon = true;
  time_of(*engine, job);
  EXPECT_EQ(test::first_not_pattern(job.memory, job.pattern), std::nullopt);
  EXPECT_EQ(memory.all()[2], std::byte{0xA5});
  EXPECT_EQ(memory.all()[5004], std::byte{0xA5});
}

}  // namespace
}  // namespace sluice
