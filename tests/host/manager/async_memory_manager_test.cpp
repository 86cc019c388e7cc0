// SPDX-License-Identifier: Apache-2.0
#include "sluice/manager/async_memory_manager.hpp"

#include <gmock/gmock.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <thread>

#include "sluice/cpu/cpu_engine.hpp"
#include "support/manager_fixture.hpp"
#include "support/patience.hpp"

namespace sluice::test {
namespace {

namespace asio = boost::asio;

constexpr VmId kA{1};
constexpr VmId kB{2};

class AsyncMemoryManagerTest : public ManagerFixture, public ::testing::Test {
 protected:
  /// All memory dirty with A's data, and B, a stranger, who wants some.
  void leave_everything_dirty() {
    create(kA);
    create(kB, kOtherCustomer);
    take(kA, 64);
    ASSERT_TRUE(manager_.terminate(kA));
  }

  asio::io_context io_;
  AsyncMemoryManager async_{io_.get_executor(), manager_};
};

TEST_F(AsyncMemoryManagerTest, CallbackIsCalledLaterWithTheGrant) {
  create(kA);
  bool called = false;
  async_.async_allocate(kA, length(4), [&](boost::system::error_code code, const Grant& grant) {
    called = true;
    EXPECT_FALSE(code);
    EXPECT_EQ(grant.ranges.size(), 1U);
  });
  EXPECT_FALSE(called);
  io_.run_for(kPatience);
  EXPECT_TRUE(called);
}

TEST_F(AsyncMemoryManagerTest, WakesUpForScheduledScrubs) {
  ASSERT_TRUE(manager_.create_vm(
      {kA, kCustomer, {}, {}, {}, {.timing = ScrubTiming::Scheduled, .delay = std::chrono::milliseconds(5)}}));
  take(kA, 64);
  ASSERT_TRUE(manager_.terminate(kA));
  async_.async_drain(asio::detached);
  io_.run_for(std::chrono::milliseconds(2));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Dirty), length(64));
  engine_.set_time(std::chrono::milliseconds(6));
  const Patience patience;
  while (manager_.jobs_in_flight() == 0 && !patience.over()) io_.run_one_for(std::chrono::milliseconds(1));
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Scrubbing), length(64));
}

TEST_F(AsyncMemoryManagerTest, CoroutineAwaitsGrantRebootAndPool) {
  bool finished = false;
  asio::co_spawn(
      io_,
      [&]() -> asio::awaitable<void> {
        co_await async_.async_create_dedicated_pool(DedicatedPoolId(5), kCustomer, length(8), asio::use_awaitable);
        create(kA, kCustomer, {}, DedicatedPoolId(5));
        const Grant grant = co_await async_.async_allocate(kA, length(8), asio::use_awaitable);
        EXPECT_EQ(grant.ranges.size(), 1U);
        EXPECT_TRUE(async_.begin_reboot(kA));
        const Grant again = co_await async_.async_finish_reboot(kA, length(8), asio::use_awaitable);
        EXPECT_EQ(again.ranges.at(0).memory.data(), grant.ranges.at(0).memory.data());
        finished = true;
      },
      asio::detached);
  io_.run_for(kPatience);
  EXPECT_TRUE(finished);
}

TEST_F(AsyncMemoryManagerTest, DeferredAndFutureTokensWork) {
  create(kA);
  auto operation = async_.async_allocate(kA, length(1), asio::deferred);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Owned), length(0)) << "deferred starts nothing";
  bool called = false;
  std::move(operation)([&](boost::system::error_code code, const Grant&) { called = !code; });
  std::future<Grant> future = async_.async_allocate(kA, length(2), asio::use_future);
  io_.run_for(kPatience);
  EXPECT_TRUE(called);
  ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(future.get().ranges.size(), 1U);
}

TEST_F(AsyncMemoryManagerTest, ErrorsComeThroughTheHandlerNotFromInside) {
  bool called = false;
  async_.async_allocate(kA, length(1), [&](boost::system::error_code code, const Grant&) {
    called = true;
    EXPECT_EQ(code, HostErrc::UnknownId);
  });
  EXPECT_FALSE(called);
  io_.run_for(kPatience);
  EXPECT_TRUE(called);
}

TEST_F(AsyncMemoryManagerTest, CancellationSlotGivesTheClaimUp) {
  leave_everything_dirty();
  asio::cancellation_signal signal;
  boost::system::error_code seen;
  async_.async_allocate(
      kB, length(4),
      asio::bind_cancellation_slot(signal.slot(), [&](boost::system::error_code code, const Grant&) { seen = code; }));
  signal.emit(asio::cancellation_type::terminal);
  io_.run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(seen, asio::error::operation_aborted);
  EXPECT_EQ(manager_.available_to(kB), length(64));
  EXPECT_TRUE(manager_.terminate(kB)) << "no claim is pending any more";
}

TEST_F(AsyncMemoryManagerTest, DrainCompletesWhenAllIsClean) {
  leave_everything_dirty();
  bool drained = false;
  async_.async_drain([&](boost::system::error_code code) {
    EXPECT_FALSE(code);
    drained = true;
  });
  io_.run_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(drained);
  engine_.end_all();
  io_.run_for(std::chrono::seconds(10));
  EXPECT_TRUE(drained);
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), manager_.extents().total());
}

TEST_F(AsyncMemoryManagerTest, DrainCanBeCancelled) {
  leave_everything_dirty();
  asio::cancellation_signal signal;
  boost::system::error_code seen;
  async_.async_drain(asio::bind_cancellation_slot(signal.slot(), [&](boost::system::error_code code) { seen = code; }));
  signal.emit(asio::cancellation_type::partial);
  io_.run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(seen, asio::error::operation_aborted);
}

TEST_F(AsyncMemoryManagerTest, HandlersRunOnTheirOwnExecutor) {
  create(kA);
  asio::thread_pool pool(1);
  std::promise<std::thread::id> where;
  async_.async_allocate(kA, length(1), asio::bind_executor(pool, [&](boost::system::error_code, const Grant&) {
                          where.set_value(std::this_thread::get_id());
                        }));
  io_.run_for(kPatience);
  auto there = where.get_future();
  ASSERT_EQ(there.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(there.get() != std::this_thread::get_id());
  pool.join();
}

/// What only a plain call starts is polled too.
TEST_F(AsyncMemoryManagerTest, PlainCallsArePolled) {
  create(kA);
  const Grant all = take(kA, 64);
  ASSERT_TRUE(async_.release(kA, all.ranges.at(0).memory.first(length(8).value())));
  io_.run_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(async_.terminate(kA));
  io_.restart();
  for (int round = 0; round < 10'000 && manager_.has_work(); ++round) {
    io_.run_one_for(std::chrono::milliseconds(1));
    engine_.end_all();
  }
  EXPECT_EQ(manager_.extents().bytes(ExtentState::Clean), length(64));
}

TEST_F(AsyncMemoryManagerTest, EndingWithOperationsPendingAbortsEachOnce) {
  leave_everything_dirty();
  std::optional<AsyncMemoryManager> face;
  face.emplace(io_.get_executor(), manager_);
  std::vector<boost::system::error_code> ended;
  face->async_allocate(kB, length(4), [&](boost::system::error_code code, const Grant&) { ended.push_back(code); });
  face->async_drain([&](boost::system::error_code code) { ended.push_back(code); });
  face->async_create_dedicated_pool(DedicatedPoolId(5), kCustomer, length(4),
                                    [&](boost::system::error_code code) { ended.push_back(code); });
  io_.run_for(std::chrono::milliseconds(2));
  EXPECT_TRUE(ended.empty());
  face.reset();
  EXPECT_TRUE(ended.empty()) << "none from inside";
  io_.restart();
  io_.run_for(std::chrono::seconds(5));
  EXPECT_EQ(ended, std::vector<boost::system::error_code>(3, asio::error::operation_aborted));
  settle();
  EXPECT_EQ(ended.size(), 3U) << "the manager's own answers come to nobody";
  EXPECT_TRUE(manager_.terminate(kB));
}

TEST_F(AsyncMemoryManagerTest, CanBeDestroyedFromInsideAHandler) {
  create(kA);
  create(kB, kOtherCustomer);
  auto face = std::make_unique<AsyncMemoryManager>(io_.get_executor(), manager_);
  boost::system::error_code other;
  face->async_allocate(kA, length(1), [&](boost::system::error_code code, const Grant&) {
    EXPECT_FALSE(code);
    face->async_drain([&](boost::system::error_code late) { other = late; });
    face.reset();
  });
  io_.run_for(std::chrono::seconds(5));
  EXPECT_EQ(face, nullptr);
  EXPECT_EQ(other, asio::error::operation_aborted);
}

TEST_F(AsyncMemoryManagerTest, CoroutineMayOwnIt) {
  create(kA);
  bool finished = false;
  asio::co_spawn(
      io_,
      [&]() -> asio::awaitable<void> {
        AsyncMemoryManager own(co_await asio::this_coro::executor, manager_);
        const Grant grant = co_await own.async_allocate(kA, length(8), asio::use_awaitable);
        EXPECT_EQ(grant.ranges.size(), 1U);
        finished = true;
      },
      asio::detached);
  io_.run_for(std::chrono::seconds(5));
  EXPECT_TRUE(finished);
}

TEST_F(AsyncMemoryManagerTest, OperationThatStartsAfterTheEndIsAborted) {
  create(kA);
  auto face = std::make_unique<AsyncMemoryManager>(io_.get_executor(), manager_);
  auto allocate = face->async_allocate(kA, length(1), asio::deferred);
  auto drain = face->async_drain(asio::deferred);
  face.reset();
  std::vector<boost::system::error_code> ended;
  std::move(allocate)([&](boost::system::error_code code, const Grant&) { ended.push_back(code); });
  std::move(drain)([&](boost::system::error_code code) { ended.push_back(code); });
  io_.run_for(std::chrono::seconds(5));
  EXPECT_EQ(ended, std::vector<boost::system::error_code>(2, asio::error::operation_aborted));
}

TEST_F(AsyncMemoryManagerTest, CancellationSlotOfAPoolsClaimWorks) {
  leave_everything_dirty();
  asio::cancellation_signal create_signal;
  boost::system::error_code created;
  async_.async_create_dedicated_pool(
      DedicatedPoolId(5), kCustomer, length(4),
      asio::bind_cancellation_slot(create_signal.slot(), [&](boost::system::error_code code) { created = code; }));
  create_signal.emit(asio::cancellation_type::total);
  io_.run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(created, asio::error::operation_aborted);
  create_signal.emit(asio::cancellation_type::total);
}

TEST_F(AsyncMemoryManagerTest, StopEndsClaimsAndSaysWhatWasInFlight) {
  leave_everything_dirty();
  std::vector<std::string> order;
  async_.async_allocate(kB, length(4), [&](boost::system::error_code code, const Grant&) {
    EXPECT_EQ(code, HostErrc::ScrubUnavailable);
    order.emplace_back("claim");
  });
  io_.run_for(std::chrono::milliseconds(2));
  async_.async_stop([&](boost::system::error_code code, ByteCount in_flight) {
    EXPECT_FALSE(code);
    EXPECT_EQ(in_flight, length(64));
    order.emplace_back("stop");
  });
  io_.restart();
  io_.run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(order, (std::vector<std::string>{"claim", "stop"}));
}

TEST_F(AsyncMemoryManagerTest, PoolsGrowAndShrink) {
  const DedicatedPoolId pool(5);
  const auto size = [&] { return manager_.dedicated_pool(pool)->size; };
  std::vector<boost::system::error_code> ended;
  const auto handler = [&](boost::system::error_code code) { ended.push_back(code); };
  async_.async_create_dedicated_pool(pool, kCustomer, length(8), handler);
  io_.run_for(kPatience);
  create(kA, kCustomer, {}, pool);
  take(kA, 8);
  async_.async_grow_dedicated_pool(pool, length(4), handler);
  io_.restart();
  io_.run_for(kPatience);
  EXPECT_EQ(size(), length(12));
  async_.async_grow_dedicated_pool(pool, length(99), handler);
  io_.restart();
  io_.run_for(kPatience);
  EXPECT_THAT(ended,
              ::testing::ElementsAre(boost::system::error_code(), boost::system::error_code(), HostErrc::OutOfMemory));
  ASSERT_TRUE(async_.shrink_dedicated_pool(pool, length(2)));
  EXPECT_EQ(size(), length(10));
  ASSERT_TRUE(async_.change_pool_rule(pool, PoolRule{length(4), length(8), length(4), {}, length(20)}));
  io_.restart();
  io_.run_for(kPatience);
  EXPECT_EQ(size(), length(14)) << "its rule is followed without another call";
}

TEST_F(AsyncMemoryManagerTest, ATestOfSuspectMemoryCanBeCancelled) {
  ASSERT_TRUE(async_.suspect(pool_.part(0, 8 * 4096)));
  asio::cancellation_signal signal;
  std::optional<boost::system::error_code> ended;
  async_.async_test_suspect(
      {}, {},
      asio::bind_cancellation_slot(signal.slot(), [&](boost::system::error_code code, const SuspectReport& report) {
        ended = code;
        EXPECT_EQ(report.tested, length(0)) << "there is no report";
      }));
  io_.run_for(std::chrono::milliseconds(2));
  EXPECT_FALSE(ended);
  signal.emit(asio::cancellation_type::total);
  io_.restart();
  io_.run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(ended, asio::error::operation_aborted);
}

TEST_F(AsyncMemoryManagerTest, SuspectMemoryIsTested) {
  create(kA);
  ASSERT_TRUE(async_.suspect(pool_.part(0, 8 * 4096), kA));
  std::optional<SuspectReport> report;
  async_.async_test_suspect(kA, {0}, [&](boost::system::error_code code, SuspectReport found) {
    EXPECT_FALSE(code);
    report = std::move(found);
  });
  io_.run_for(std::chrono::milliseconds(2));
  EXPECT_FALSE(report);
  engine_.end_all();
  io_.restart();
  io_.run_for(kPatience);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->tested, length(8));
  ASSERT_TRUE(async_.absolve());
  EXPECT_EQ(manager_.suspect_bytes(kA), length(8));
  ASSERT_TRUE(async_.absolve(kA));
  EXPECT_EQ(manager_.suspect_bytes(kA), length(0));
}

/// An engine with a descriptor that counts how often it is polled.
class AnnouncingEngine final : public Engine {
 public:
  AnnouncingEngine() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~AnnouncingEngine() override { ::close(fd_); }
  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return inner_.capabilities(); }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override {
    return inner_.submit(jobs, ids);
  }
  CancelResult cancel(JobId id) override { return inner_.cancel(id); }
  std::size_t poll(std::span<Completion> out) override {
    ++polls;
    return inner_.poll(out);
  }
  [[nodiscard]] std::uint64_t progress() override { return inner_.progress(); }
  [[nodiscard]] bool reaches(MemorySpan memory) const override { return inner_.reaches(memory); }
  [[nodiscard]] int completion_fd() const noexcept override { return fd_; }
  [[nodiscard]] std::optional<Error> fault() const override { return inner_.fault(); }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return inner_.now(); }
  void end_all() {
    inner_.end_all();
    ASSERT_EQ(::eventfd_write(fd_, 1), 0);
  }
  [[nodiscard]] bool runs() { return !inner_.running().empty(); }

  int polls = 0;

 private:
  ManualEngine inner_;
  int fd_;
};

TEST(AsyncMemoryManagerWithADescriptor, PollsWhenTheEngineSaysSoAndNotBefore) {
  Memory pool(16 * 4096, std::byte{1});
  const MemorySpan pieces[] = {pool.all()};
  const auto backing = ForeignMemory::create(pieces).value();
  AnnouncingEngine engine;
  const auto manager = MemoryManager::create(*backing, engine).value();
  asio::io_context io;
  AsyncMemoryManager face(io.get_executor(), *manager);
  bool drained = false;
  face.async_drain([&](boost::system::error_code) { drained = true; });
  io.poll();
  ASSERT_TRUE(engine.runs());
  const int before = engine.polls;
  io.run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(engine.polls, before) << "nothing polls while the engine says nothing";
  for (int round = 0; round < 100 && !drained; ++round) {
    engine.end_all();
    io.run_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(drained);
  EXPECT_EQ(manager->extents().bytes(ExtentState::Clean), manager->extents().total());
}

/// The whole way with a real engine and its own thread.
TEST(AsyncMemoryManagerWithCpu, ManyVmsComeAndGo) {
  auto memory = FileMemory::create(ByteCount(4 << 20), 2);
  ASSERT_TRUE(memory);
  std::vector<MemorySpan> windows;
  for (const Brick& brick : (*memory)->bricks()) windows.push_back(brick.memory);
  auto engine = CpuEngine::create({}, windows);
  ASSERT_TRUE(engine);
  const auto manager = *MemoryManager::create(**memory, **engine);
  asio::io_context io;
  AsyncMemoryManager async(io.get_executor(), *manager);
  int finished = 0;
  for (std::uint64_t customer = 1; customer <= 8; ++customer) {
    asio::co_spawn(
        io,
        [&, customer]() -> asio::awaitable<void> {
          for (std::uint64_t round = 0; round < 20; ++round) {
            const VmId vm(customer * 100 + round);
            EXPECT_TRUE(async.create_vm({vm, CustomerId(customer), {}, {}, {}}));
            const Grant grant = co_await async.async_allocate(vm, ByteCount(1 << 20), asio::use_awaitable);
            for (const GrantedRange& range : grant.ranges) {
              EXPECT_EQ(first_not(range.memory, std::byte{0}), std::nullopt);
              std::fill(range.memory.begin(), range.memory.end(), static_cast<std::byte>(customer));
            }
            EXPECT_TRUE(async.terminate(vm));
          }
          ++finished;
        },
        asio::detached);
  }
  io.run_for(kPatience);
  EXPECT_EQ(finished, 8);
}

}  // namespace
}  // namespace sluice::test
