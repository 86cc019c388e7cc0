// SPDX-License-Identifier: Apache-2.0
// The engine over a DMA channel, beyond the contract: on a channel of software whose statuses the test writes.
#include "sluice/dmadev/dmadev_engine.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <deque>

#include "support/memory.hpp"

namespace sluice {
namespace {

using test::first_not;
using test::first_not_pattern;
using test::Memory;

constexpr std::byte kUntouched{0xA5};
constexpr std::uint64_t kPattern = 0x0123456789ABCDEF;

/// What a test says to the channel, and sees of it.
struct Script {
  DmaLimits limits{"script", true, true, 64};
  std::deque<DmaStatus> statuses;  ///< Of the next operations; then Done.
  bool runs = true;
  std::size_t ends_too_many = 0;
  std::vector<MemorySpan> prepared;
  std::size_t fills = 0;
  std::size_t most_bytes_waiting = 0;
  bool halted = false;
  bool given_up = false;
  bool refuses = false;
  std::chrono::nanoseconds time{std::chrono::hours(-3)};
};

class ScriptedDma final : public DmaDevice {
 public:
  explicit ScriptedDma(Script& script) : script_(script) {}

  [[nodiscard]] const DmaLimits& limits() const override { return script_.limits; }
  [[nodiscard]] Result<void> map(MemorySpan /*memory*/) override { return {}; }
  [[nodiscard]] bool fill(std::uint64_t pattern, MemorySpan to) override {
    ++script_.fills;
    std::vector<std::byte> bytes(to.size());
    for (std::size_t index = 0; index < bytes.size(); ++index) {
      bytes[index] = static_cast<std::byte>(pattern >> (8 * (index % 8)));
    }
    return prepare(to, std::move(bytes), nullptr);
  }
  [[nodiscard]] bool copy(const std::byte* from, MemorySpan to) override { return prepare(to, {}, from); }
  void doorbell() override { started_ = jobs_.size(); }
  [[nodiscard]] bool halted() override { return script_.halted; }
  void give_up() override { script_.given_up = true; }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return script_.time; }

  std::size_t completed(std::span<DmaStatus> out) override {
    std::size_t count = 0;
    while (script_.runs && count < out.size() && started_ > 0) {
      DmaStatus status = DmaStatus::Done;
      if (!script_.statuses.empty()) {
        status = script_.statuses.front();
        script_.statuses.pop_front();
      }
      const Job& job = jobs_.front();
      // A copy reads its source now: whoever changed it too early is found out.
      if (status == DmaStatus::Done) std::memcpy(job.to.data(), job.from ? job.from : job.bytes.data(), job.to.size());
      waiting_ -= job.to.size();
      jobs_.pop_front();
      --started_;
      out[count++] = status;
    }
    while (script_.ends_too_many > 0 && count < out.size()) {
      --script_.ends_too_many;
      out[count++] = DmaStatus::Done;
    }
    return count;
  }

 private:
  struct Job {
    MemorySpan to;
    std::vector<std::byte> bytes;
    const std::byte* from;
  };
  bool prepare(MemorySpan to, std::vector<std::byte> bytes, const std::byte* from) {
    if (jobs_.size() == script_.limits.descriptors || script_.refuses) return false;
    script_.prepared.push_back(to);
    jobs_.push_back({to, std::move(bytes), from});
    waiting_ += to.size();
    script_.most_bytes_waiting = std::max(script_.most_bytes_waiting, waiting_);
    return true;
  }

  Script& script_;
  std::deque<Job> jobs_;
  std::size_t started_ = 0;
  std::size_t waiting_ = 0;
};

class DmadevEngineTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<DmadevEngine>> create(const DmadevOptions& options) {
    const MemorySpan windows[] = {memory_.all()};
    return DmadevEngine::create(std::make_unique<ScriptedDma>(script_), options, windows);
  }
  std::unique_ptr<DmadevEngine> make(DmadevOptions options = {}) {
    options.chunk = ByteCount(4096);
    options.in_flight = ByteCount(16'384);
    auto engine = create(options);
    EXPECT_TRUE(engine) << engine.error().message;
    return std::move(*engine);
  }
  JobId submit(DmadevEngine& engine, const ScrubJob& job) {
    JobId id;
    const auto accepted = engine.submit({&job, 1}, {&id, 1});
    EXPECT_TRUE(accepted) << accepted.error().message;
    return id;
  }
  std::vector<Completion> collect(DmadevEngine& engine, std::size_t count) {
    std::vector<Completion> all;
    std::array<Completion, 8> some;
    for (int attempt = 0; attempt < 1000 && all.size() < count; ++attempt) {
      script_.time += std::chrono::milliseconds(1);
      const std::size_t got = engine.poll(some);
      all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(got));
    }
    EXPECT_EQ(all.size(), count);
    return all;
  }

  Script script_;
  Memory memory_{1 << 20, kUntouched};
};

TEST_F(DmadevEngineTest, FillsWithTheDeviceWhereItCanWhateverTheAlignment) {
  auto engine = make();
  for (const std::size_t offset : {0U, 1U, 3U, 7U}) {
    const MemorySpan target = memory_.part(4096 + offset, 10'001);
    submit(*engine, {target, kPattern});
    EXPECT_EQ(collect(*engine, 1).at(0).outcome, Outcome::Zeroed);
    EXPECT_EQ(first_not_pattern(target, kPattern), std::nullopt) << offset;
  }
  EXPECT_EQ(script_.fills, 12U);
}

TEST_F(DmadevEngineTest, CopiesPatternsThatFollowEachOtherFromAPageThatStaysAsLongAsItIsRead) {
  script_.limits.fills = false;
  auto engine = make();
  std::vector<ScrubJob> jobs;
  for (std::size_t index = 0; index < 12; ++index) {
    jobs.push_back({memory_.part(index * 20'000 + index, 9'000 + index), index % 3 == 0 ? 0 : kPattern * index});
  }
  for (const ScrubJob& job : jobs) submit(*engine, job);
  collect(*engine, jobs.size());
  for (const ScrubJob& job : jobs) EXPECT_EQ(first_not_pattern(job.memory, job.pattern), std::nullopt);
  EXPECT_EQ(script_.fills, 0U);
}

TEST_F(DmadevEngineTest, CopiesWhenItsOptionsSaySoAndNotOnADeviceThatCannot) {
  auto engine = make({.copy = true});
  submit(*engine, {memory_.part(0, 4096)});
  collect(*engine, 1);
  EXPECT_EQ(script_.fills, 0U);
  EXPECT_EQ(first_not(memory_.part(0, 4096), std::byte{0}), std::nullopt);
  for (const auto& [fills, copies, copy] : {std::tuple{false, false, false}, std::tuple{true, false, true}}) {
    script_.limits.fills = fills;
    script_.limits.copies = copies;
    const auto refused = create({.copy = copy});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, DriverErrc::DeviceMissing);
    EXPECT_NE(refused.error().message.find("script cannot"), std::string::npos) << refused.error().message;
  }
}

TEST_F(DmadevEngineTest, TellsEachStatusByItsCauseWithTheExactPrefix) {
  const std::pair<DmaStatus, FailureCause> known[] = {{DmaStatus::BadOperation, FailureCause::BadDescriptor},
                                                      {DmaStatus::BadAddress, FailureCause::DecodeError},
                                                      {DmaStatus::AccessFailed, FailureCause::SlaveError},
                                                      {DmaStatus::DeviceFailed, FailureCause::EngineFault}};
  for (const auto& [status, cause] : known) {
    memory_.fill(kUntouched);
    auto engine = make();
    script_.statuses = {DmaStatus::Done, DmaStatus::Done, status, DmaStatus::NotAttempted};
    const MemorySpan target = memory_.part(0, 40'000);
    submit(*engine, {target, kPattern});
    const Completion completion = collect(*engine, 1).at(0);
    EXPECT_EQ(completion.outcome, Outcome::Failed);
    EXPECT_EQ(completion.cause, cause);
    EXPECT_EQ(completion.bytes_zeroed, ByteCount(8192));
    EXPECT_EQ(first_not_pattern(target.first(8192), kPattern), std::nullopt);
    EXPECT_EQ(first_not(target.subspan(8192), kUntouched), std::nullopt);
    EXPECT_FALSE(engine->fault());
  }
}

TEST_F(DmadevEngineTest, GivesAgainWhatWasNotAttemptedAfterTheErrorOfAnotherJob) {
  auto engine = make();
  const MemorySpan first = memory_.part(0, 8192);
  const MemorySpan second = memory_.part(100'000, 30'000);
  script_.statuses = {DmaStatus::Done, DmaStatus::AccessFailed, DmaStatus::NotAttempted, DmaStatus::NotAttempted,
                      // The device goes on; then it stops once more, in the middle.
                      DmaStatus::Done, DmaStatus::Done, DmaStatus::NotAttempted, DmaStatus::Done};
  submit(*engine, {first, kPattern, Urgency::Background, 1});
  submit(*engine, {second, kPattern, Urgency::Background, 2});
  for (const Completion& completion : collect(*engine, 2)) {
    EXPECT_EQ(completion.outcome, completion.cookie == 1 ? Outcome::Failed : Outcome::Zeroed);
    EXPECT_EQ(completion.bytes_zeroed, ByteCount(completion.cookie == 1 ? 4096 : 30'000));
  }
  EXPECT_EQ(first_not_pattern(second, kPattern), std::nullopt);
}

TEST_F(DmadevEngineTest, BringsInAMissingPageOnceAndThenGivesUp) {
  for (const bool comes : {true, false}) {
    memory_.fill(kUntouched);
    auto engine = make();
    script_.statuses = {DmaStatus::Done, DmaStatus::PageFault, DmaStatus::Done, DmaStatus::Done};
    if (!comes) script_.statuses.push_back(DmaStatus::PageFault);
    const MemorySpan target = memory_.part(0, 40'000);
    submit(*engine, {target, kPattern});
    const Completion completion = collect(*engine, 1).at(0);
    EXPECT_EQ(completion.outcome, comes ? Outcome::Zeroed : Outcome::Failed);
    EXPECT_EQ(completion.cause, comes ? FailureCause::None : FailureCause::SlaveError);
    EXPECT_EQ(completion.bytes_zeroed, ByteCount(comes ? 40'000 : 4096));
    EXPECT_EQ(first_not_pattern(target.first(completion.bytes_zeroed.value()), kPattern), std::nullopt);
  }
}

TEST_F(DmadevEngineTest, NoOperationCrossesAPageOfADeviceWithPhysicalAddresses) {
  script_.limits.boundary = 2048;
  auto engine = make();
  const MemorySpan target = memory_.part(1000, 20'000);
  submit(*engine, {target, kPattern});
  EXPECT_EQ(collect(*engine, 1).at(0).outcome, Outcome::Zeroed);
  EXPECT_EQ(first_not_pattern(target, kPattern), std::nullopt);
  for (const MemorySpan operation : script_.prepared) {
    const auto address = reinterpret_cast<std::uintptr_t>(operation.data());
    EXPECT_EQ(address / 2048, (address + operation.size() - 1) / 2048);
  }
  script_.limits.fills = false;
  const auto refused = create({});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("physical addresses"), std::string::npos);
}

TEST_F(DmadevEngineTest, ADeviceThatSaysItHasHaltedIsAFaultLongBeforeItsTimeout) {
  auto engine = make({.stall_timeout = std::chrono::hours(1)});
  script_.runs = false;
  submit(*engine, {memory_.part(0, 8192)});
  EXPECT_FALSE(engine->fault());
  script_.halted = true;
  const Completion completion = collect(*engine, 1).at(0);
  EXPECT_EQ(completion.outcome, Outcome::Failed);
  EXPECT_EQ(completion.cause, FailureCause::EngineFault);
  ASSERT_TRUE(engine->fault());
  EXPECT_NE(engine->fault()->message.find("stopped at an error"), std::string::npos);
  EXPECT_TRUE(script_.given_up);
}

TEST_F(DmadevEngineTest, KeepsNoMoreInFlightThanItMaySoThatACancelIsQuick) {
  auto engine = make();
  script_.runs = false;
  const JobId id = submit(*engine, {memory_.part(0, 400'000), kPattern});
  submit(*engine, {memory_.part(500'000, 8192), kPattern, Urgency::Urgent, 2});
  std::array<Completion, 4> some;
  EXPECT_EQ(engine->poll(some), 0U);
  EXPECT_EQ(script_.prepared.size(), 4U);
  engine->cancel(id);
  script_.runs = true;
  for (const Completion& completion : collect(*engine, 2)) {
    EXPECT_EQ(completion.outcome, completion.cookie == 2 ? Outcome::Zeroed : Outcome::Cancelled);
    EXPECT_EQ(completion.bytes_zeroed, ByteCount(completion.cookie == 2 ? 8192 : 16'384));
  }
  EXPECT_EQ(script_.most_bytes_waiting, 16'384U);
  EXPECT_EQ(first_not(memory_.part(16'384, 383'616), kUntouched), std::nullopt);
}

TEST_F(DmadevEngineTest, GivesUrgentJobsFirst) {
  auto engine = make();
  script_.runs = false;
  submit(*engine, {memory_.part(0, 100'000), 0, Urgency::Background, 1});
  submit(*engine, {memory_.part(200'000, 100'000), 0, Urgency::Background, 2});
  submit(*engine, {memory_.part(400'000, 20'000), 0, Urgency::Urgent, 3});
  script_.runs = true;
  EXPECT_EQ(collect(*engine, 3).at(0).cookie, 3U);
}

TEST_F(DmadevEngineTest, MoreEndsThanOperationsAreAFault) {
  auto engine = make();
  script_.runs = false;
  submit(*engine, {memory_.part(0, 4096), 0, Urgency::Background, 1});
  script_.ends_too_many = 2;
  const Completion completion = collect(*engine, 1).at(0);
  EXPECT_EQ(completion.outcome, Outcome::Failed);
  EXPECT_EQ(completion.cause, FailureCause::EngineFault);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(0));
  ASSERT_TRUE(engine->fault());
  EXPECT_TRUE(script_.given_up);
}

TEST_F(DmadevEngineTest, RefusesOptionsThatCannotWork) {
  const ByteCount huge(~0ULL);
  const std::pair<DmadevOptions, const char*> refusals[] = {
      {{.max_jobs = 0}, "jobs in flight of 0: give 1 to 65536"},
      {{.max_jobs = 70'000}, "jobs in flight of 70000"},
      {{.chunk = ByteCount(100)}, "of 100: give 4096 to 4294967295"},
      {{.chunk = ByteCount(8ULL << 30), .in_flight = ByteCount(8ULL << 30)}, "of 8589934592: give 4096 to 4294967295"},
      {{.chunk = ByteCount(4ULL << 30), .in_flight = ByteCount(4ULL << 30)}, "of 4294967296: give"},
      {{.chunk = huge, .in_flight = huge}, "of 18446744073709551615: give"},
      {{.in_flight = huge}, "bytes in flight of 18446744073709551615: give"},
      {{.chunk = ByteCount(1 << 20), .in_flight = ByteCount(4096)}, "bytes in flight of 4096: give 1048576 to"}};
  for (const auto& [options, message] : refusals) {
    const auto refused = create(options);
    ASSERT_FALSE(refused) << message;
    EXPECT_EQ(refused.error().code, DriverErrc::InvalidArgument);
    EXPECT_NE(refused.error().message.find(message), std::string::npos) << refused.error().message;
  }
  script_.limits.longest = 65'536;
  EXPECT_FALSE(create({.chunk = ByteCount(65'537)}));
  EXPECT_TRUE(create({.chunk = ByteCount(65'536)}));
}

TEST_F(DmadevEngineTest, ADeviceThatTakesNothingIsAFaultThoughNothingIsInFlight) {
  for (const bool halted : {true, false}) {
    auto engine = make({.stall_timeout = std::chrono::milliseconds(200)});
    script_.refuses = true;
    script_.halted = halted;
    submit(*engine, {memory_.part(0, 8192), 0, Urgency::Background, 1});
    const Completion completion = collect(*engine, 1).at(0);
    EXPECT_EQ(completion.outcome, Outcome::Failed);
    EXPECT_EQ(completion.cause, halted ? FailureCause::EngineFault : FailureCause::Timeout);
    EXPECT_EQ(completion.bytes_unaffected, ByteCount(8192)) << "nothing of it was given";
    EXPECT_TRUE(engine->fault());
    script_.refuses = false;
  }
}

TEST_F(DmadevEngineTest, AnIdleDeviceIsHealthyAndItsTimeBeginsWithItsNextJob) {
  auto engine = make({.stall_timeout = std::chrono::milliseconds(200)});
  std::array<Completion, 4> some;
  for (int round = 0; round < 3; ++round) {
    for (int hour = 0; hour < 10; ++hour) {
      script_.time += std::chrono::hours(1);
      EXPECT_EQ(engine->poll(some), 0U);
    }
    script_.runs = false;
    submit(*engine, {memory_.part(0, 8192)});
    for (int millisecond = 0; millisecond < 190; ++millisecond) {
      script_.time += std::chrono::milliseconds(1);
      EXPECT_EQ(engine->poll(some), 0U);
    }
    EXPECT_FALSE(engine->fault());
    script_.runs = true;
    EXPECT_EQ(collect(*engine, 1).at(0).outcome, Outcome::Zeroed);
  }
}

TEST_F(DmadevEngineTest, ADeviceThatWorksSlowlyIsKept) {
  auto engine = make({.stall_timeout = std::chrono::milliseconds(200)});
  script_.runs = false;
  submit(*engine, {memory_.part(0, 400'000)});
  std::array<Completion, 4> some;
  std::size_t ended = 0;
  for (int step = 0; step < 400 && ended == 0; ++step) {
    for (int look = 0; look < 18; ++look) {
      script_.time += std::chrono::milliseconds(10);
      ended += engine->poll(some);
    }
    script_.runs = true;
    ended += engine->poll(some);
    script_.runs = false;
  }
  EXPECT_FALSE(engine->fault());
  EXPECT_EQ(ended, 1U);
}

TEST_F(DmadevEngineTest, AfterItsDeviceFailedItAnswersEverything) {
  auto engine = make();
  script_.runs = false;
  const JobId id = submit(*engine, {memory_.part(0, 400'000), 0, Urgency::Background, 1});
  const JobId second = submit(*engine, {memory_.part(500'000, 4096), 0, Urgency::Background, 2});
  script_.halted = true;
  const std::vector<Completion> ended = collect(*engine, 2);
  EXPECT_EQ(ended.at(0).bytes_unaffected, ByteCount(400'000 - 16'384));
  EXPECT_EQ(ended.at(1).bytes_unaffected, ByteCount(4096));
  for (const JobId past : {id, second}) EXPECT_EQ(engine->cancel(past), CancelResult::AlreadyFinished);
  EXPECT_EQ(engine->cancel({5, 5}), CancelResult::UnknownJob);
  const ScrubJob more{memory_.part(0, 4096)};
  JobId none;
  EXPECT_EQ(engine->submit({&more, 1}, {&none, 1}).error().code, DriverErrc::EngineFailed);
  EXPECT_EQ(engine->progress(), engine->progress());
  EXPECT_TRUE(engine->reaches(memory_.all()));
  std::array<Completion, 4> some;
  EXPECT_EQ(engine->poll(some), 0U);
  script_.runs = true;
  EXPECT_EQ(engine->poll(some), 0U) << "what the device says later is not heard";
}

TEST_F(DmadevEngineTest, AnOperationThatFailsPutsNothingInDoubtThatWasNeverGiven) {
  auto engine = make();
  script_.statuses = {DmaStatus::Done, DmaStatus::AccessFailed, DmaStatus::NotAttempted, DmaStatus::NotAttempted};
  submit(*engine, {memory_.part(0, 400'000), kPattern});
  const Completion completion = collect(*engine, 1).at(0);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(4096));
  EXPECT_EQ(completion.bytes_unaffected, ByteCount(400'000 - 16'384));
  EXPECT_EQ(first_not(memory_.part(16'384, 383'616), kUntouched), std::nullopt);
}

}  // namespace
}  // namespace sluice
