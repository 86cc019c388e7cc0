// SPDX-License-Identifier: Apache-2.0
// The ring driver against a device that is a script: what a real one must never do.
#include "sluice/ring/ring_engine.hpp"

#include <gtest/gtest.h>

#include <array>
#include <stdexcept>

#include "scripted_transport.hpp"

namespace sluice {
namespace {

using test::Memory;
using test::ScriptedTransport;

class RingEngineOnScript : public ::testing::Test {
 protected:
  Result<std::unique_ptr<RingEngine>> create(RingOptions options = {}) {
    const MemorySpan windows[] = {memory_.all()};
    return RingEngine::create(std::make_unique<ScriptedTransport>(script_), options, windows);
  }

  /// Submits one job of 4 KiB and polls until it completes.
  Completion run_one(RingEngine& engine, Operation operation = Operation::Fill) {
    const ScrubJob job{memory_.part(0, 4096), 0, Urgency::Background, 42, operation};
    JobId id;
    EXPECT_TRUE(engine.submit({&job, 1}, {&id, 1}));
    EXPECT_EQ(id, (JobId{0, 1}));
    std::array<Completion, 4> completions;
    for (int attempt = 0; attempt < 1000; ++attempt) {
      if (engine.poll(completions) == 1) return completions[0];
    }
    ADD_FAILURE() << "no completion";
    return {};
  }

  void expect_protocol_fault(const std::function<void(ScriptedTransport::Script&)>& device) {
    script_.on_advance = device;
    auto engine = create();
    ASSERT_TRUE(engine);
    const Completion completion = run_one(**engine);
    EXPECT_EQ(completion.outcome, Outcome::Failed);
    EXPECT_EQ(completion.cause, FailureCause::EngineFault);
    EXPECT_EQ(completion.bytes_zeroed, ByteCount(0));
    EXPECT_EQ(completion.cookie, 42U);
    ASSERT_TRUE((*engine)->fault());
    EXPECT_NE((*engine)->fault()->message.find("quarantined"), std::string::npos);
  }

  Memory memory_{64 << 10};
  ScriptedTransport::Script script_;
};

TEST_F(RingEngineOnScript, TakesAGoodCompletion) {
  script_.on_advance = [](auto& device) { device.post(0, 0, 1, 1, 0, 4096); };
  auto engine = create();
  ASSERT_TRUE(engine);
  const Completion completion = run_one(**engine);
  EXPECT_EQ(completion.outcome, Outcome::Zeroed);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(4096));
  EXPECT_EQ(script_.registers[ring::kQueueBase + ring::kQueueCqHead], 1U);
}

TEST_F(RingEngineOnScript, WritesTheDescriptorThatTheFormatSays) {
  const std::pair<Operation, std::uint8_t> operations[] = {{Operation::Fill, ring::kOpFill},
                                                           {Operation::Verify, ring::kOpVerify},
                                                           {Operation::FillVerify, ring::kOpFillVerify}};
  for (const auto& [operation, code] : operations) {
    script_.rings.clear();
    auto engine = create({.ring_entries = 8, .stall_timeout = std::chrono::milliseconds(4)});
    ASSERT_TRUE(engine);
    const ScrubJob job{memory_.part(100, 77), 0xABCD, Urgency::Background, 1, operation};
    JobId id;
    ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
    ring::Descriptor descriptor;
    std::memcpy(&descriptor, script_.rings.at(0)->all().data(), sizeof descriptor);
    EXPECT_EQ(descriptor.address, reinterpret_cast<std::uintptr_t>(job.memory.data()));
    EXPECT_EQ(descriptor.length_bytes, 77U);
    EXPECT_EQ(descriptor.pattern, 0xABCDU);
    EXPECT_EQ(descriptor.operation, code);
    EXPECT_EQ(descriptor.slot, id.slot);
    EXPECT_EQ(descriptor.generation, id.generation);
    EXPECT_EQ(script_.registers[ring::kQueueBase + ring::kQueueSqTail], 1U);
  }
}

TEST_F(RingEngineOnScript, AMismatchIsTheEndOfAVerifyAndOfNothingElse) {
  script_.on_advance = [](auto& device) { device.post(0, 0, 1, ring::kOutcomeFailed, ring::kCauseMismatch, 99); };
  for (const Operation operation : {Operation::Fill, Operation::Verify, Operation::FillVerify}) {
    script_.rings.clear();
    auto engine = create();
    ASSERT_TRUE(engine);
    const Completion completion = run_one(**engine, operation);
    EXPECT_EQ(completion.outcome, Outcome::Failed);
    const bool fill = operation == Operation::Fill;
    EXPECT_EQ(completion.cause, fill ? FailureCause::EngineFault : FailureCause::Mismatch);
    EXPECT_EQ(completion.bytes_zeroed, ByteCount(fill ? 0 : 99));
    EXPECT_EQ((*engine)->fault().has_value(), fill);
  }
}

TEST_F(RingEngineOnScript, CanBeDestroyedWhenItsDeviceThrows) {
  auto engine = create();
  ASSERT_TRUE(engine);
  const ScrubJob job{memory_.part(0, 4096), 0, Urgency::Background, 1};
  JobId id;
  ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
  script_.on_advance = [](auto& /*device*/) { throw std::runtime_error("a rule of the bus was broken"); };
  std::array<Completion, 4> completions;
  EXPECT_THROW((*engine)->poll(completions), std::runtime_error);
  engine->reset();
}

TEST_F(RingEngineOnScript, CompletionOfAnUnknownSlotIsAFault) {
  expect_protocol_fault([](auto& device) { device.post(0, 9, 1, 1, 0, 4096); });
}
TEST_F(RingEngineOnScript, CompletionOfAnotherGenerationIsAFault) {
  expect_protocol_fault([](auto& device) { device.post(0, 0, 2, 1, 0, 4096); });
}
TEST_F(RingEngineOnScript, CompletionWithMoreBytesThanTheJobIsAFault) {
  expect_protocol_fault([](auto& device) { device.post(0, 0, 1, 2, 0, 4097); });
}
TEST_F(RingEngineOnScript, ZeroedWithFewerBytesThanTheJobIsAFault) {
  expect_protocol_fault([](auto& device) { device.post(0, 0, 1, 1, 0, 4095); });
}
TEST_F(RingEngineOnScript, UnknownOutcomeIsAFault) {
  expect_protocol_fault([](auto& device) { device.post(0, 0, 1, 7, 0, 0); });
}
TEST_F(RingEngineOnScript, FailureWithoutACauseIsAFault) {
  expect_protocol_fault([](auto& device) { device.post(0, 0, 1, 3, 0, 0); });
}
TEST_F(RingEngineOnScript, FaultThatTheDeviceReportsFailsItsJobs) {
  expect_protocol_fault(
      [](auto& device) { device.registers[ring::kQueueBase + ring::kQueueStatus] = ring::kStatusFetchFault; });
}

TEST_F(RingEngineOnScript, SecondCompletionOfAJobIsAFault) {
  script_.on_advance = [](auto& device) {
    device.post(0, 0, 1, 1, 0, 4096);
    device.post(1, 0, 1, 1, 0, 4096);
  };
  auto engine = create();
  ASSERT_TRUE(engine);
  const ScrubJob job{memory_.part(0, 4096)};
  JobId id;
  ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
  std::array<Completion, 4> completions;
  EXPECT_EQ((*engine)->poll(completions), 1U);
  EXPECT_TRUE((*engine)->fault());
  EXPECT_EQ((*engine)->poll(completions), 0U) << "the job has had its completion";
}

TEST_F(RingEngineOnScript, AQuarantinedQueueEndsAllItsJobsAndTheOtherTakesOver) {
  script_.registers[ring::kRegCapabilities] = 0x00080206;  // two queues
  auto engine = create();
  ASSERT_TRUE(engine);
  const ScrubJob jobs[] = {{memory_.part(0, 4096)}, {memory_.part(4096, 4096)}};
  std::array<JobId, 2> ids;
  ASSERT_TRUE((*engine)->submit(jobs, ids));
  // The device has fetched only the first when its watchdog fires.
  script_.post(0, 0, 1, ring::kOutcomeFailed, ring::kCauseTimeout, 0);
  script_.registers[ring::kQueueBase + ring::kQueueSqHead] = 1;
  std::array<Completion, 4> completions;
  ASSERT_EQ((*engine)->poll(completions), 2U);
  for (const std::size_t job : {0U, 1U}) {
    EXPECT_EQ(completions.at(job).id, ids.at(job));
    EXPECT_EQ(completions.at(job).cause, FailureCause::Timeout);
    EXPECT_EQ(completions.at(job).bytes_zeroed, ByteCount(0));
  }
  EXPECT_FALSE((*engine)->fault()) << "the other queue works";
  ASSERT_TRUE((*engine)->submit({jobs, 1}, ids));
  EXPECT_EQ(script_.registers[ring::kQueueBase + ring::kQueueSqTail], 2U) << "no more for the quarantined one";
  EXPECT_EQ(script_.registers[ring::kQueueBase + ring::kQueueStride + ring::kQueueSqTail], 1U);
}

TEST_F(RingEngineOnScript, SilenceFailsJobsWhileBeatsKeepThemAlive) {
  int calls = 0;
  script_.on_advance = [&](auto& device) {
    if (++calls < 100) ++device.registers[ring::kRegWriteBeats];
  };
  auto engine = create({.ring_entries = 8, .stall_timeout = std::chrono::milliseconds(10)});
  ASSERT_TRUE(engine);
  const Completion completion = run_one(**engine);
  EXPECT_EQ(completion.cause, FailureCause::Timeout);
  EXPECT_GE(calls, 100);
  EXPECT_LE(calls, 120);
}

TEST_F(RingEngineOnScript, AJobAfterALongIdleHasAllOfItsTime) {
  script_.time = std::chrono::hours(1000);
  auto engine = create({.ring_entries = 8, .stall_timeout = std::chrono::milliseconds(12)});
  ASSERT_TRUE(engine);
  std::array<Completion, 1> completion;
  for (int again = 0; again < 2; ++again) {
    for (int look = 0; look < 100; ++look) {
      script_.time += std::chrono::hours(1);
      EXPECT_EQ((*engine)->poll(completion), 0U);
    }
    EXPECT_FALSE((*engine)->fault());
    const ScrubJob job{memory_.part(0, 4096)};
    JobId id;
    ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
    int milliseconds = 0;
    script_.on_advance = [&](auto& device) {
      if (++milliseconds == 11 && again == 0) device.post(0, 0, 1, ring::kOutcomeZeroed, 0, 4096);
    };
    while ((*engine)->poll(completion) == 0 && milliseconds < 100) {
    }
    EXPECT_EQ(completion[0].outcome, again == 0 ? Outcome::Zeroed : Outcome::Failed);
    EXPECT_GE(milliseconds, again == 0 ? 11 : 12);
    EXPECT_LE(milliseconds, 15) << "and no more";
  }
  EXPECT_EQ(completion[0].cause, FailureCause::Timeout);
}

TEST_F(RingEngineOnScript, ProgressGoesOnWhereItsLowerWordGoesRound) {
  auto engine = create();
  ASSERT_TRUE(engine);
  script_.registers[ring::kRegWriteBeats] = 0xFFFFFFFF;
  script_.registers[ring::kRegReadBeats] = 0xFFFFFFFF;
  const std::uint64_t before = (*engine)->progress();
  script_.registers[ring::kRegWriteBeats] = 0;
  script_.registers[ring::kRegWriteBeats + 4] = 1;
  EXPECT_EQ((*engine)->progress(), before + 1);
  script_.registers[ring::kRegReadBeats] = 0;
  script_.registers[ring::kRegReadBeats + 4] = 1;
  EXPECT_EQ((*engine)->progress(), before + 2);
}

TEST_F(RingEngineOnScript, AnUrgentCompletionIsCollectedFirst) {
  script_.registers[ring::kRegCapabilities] = 0x00080206;  // two queues
  auto engine = create();
  ASSERT_TRUE(engine);
  const ScrubJob jobs[] = {{memory_.part(0, 4096), 0, Urgency::Background},
                           {memory_.part(4096, 4096), 0, Urgency::Urgent}};
  std::array<JobId, 2> ids;
  ASSERT_TRUE((*engine)->submit(jobs, ids));
  script_.post(0, 0, 1, ring::kOutcomeZeroed, 0, 4096);
  std::swap(script_.rings.at(1), script_.rings.at(3));  // the other queue's completions
  script_.post(0, 1, 1, ring::kOutcomeZeroed, 0, 4096);
  std::swap(script_.rings.at(1), script_.rings.at(3));
  Completion one;
  for (const std::size_t job : {1U, 0U}) {
    ASSERT_EQ((*engine)->poll({&one, 1}), 1U);
    EXPECT_EQ(one.id, ids.at(job));
  }
  EXPECT_EQ(script_.registers[ring::kQueueBase + ring::kQueueSqTail], 1U);
  EXPECT_EQ(script_.registers[ring::kQueueBase + ring::kQueueStride + ring::kQueueSqTail], 1U);
}

TEST_F(RingEngineOnScript, RefusesADeviceThatIsNotOurs) {
  script_.registers[ring::kRegId] = 0xDEADBEEF;
  const auto engine = create();
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, DriverErrc::DeviceMissing);
  EXPECT_NE(engine.error().message.find("0xdeadbeef"), std::string::npos);
}

TEST_F(RingEngineOnScript, RefusesAnotherMajorVersion) {
  script_.registers[ring::kRegVersion] = 0x00020000;
  EXPECT_FALSE(create());
}

TEST_F(RingEngineOnScript, RefusesADeviceThatDoesNotTakeItsSetUp) {
  script_.forgets_writes = true;
  const auto engine = create();
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, DriverErrc::DeviceMissing);
}

TEST_F(RingEngineOnScript, RefusesADeviceThatDoesNotComeToRest) {
  script_.never_rests = true;
  const auto engine = create();
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, DriverErrc::EngineFailed);
  EXPECT_NE(engine.error().message.find("within 10 ms"), std::string::npos);
}

TEST_F(RingEngineOnScript, RefusesRingSizesThatTheDeviceDoesNotHave) {
  for (const std::uint32_t entries : {0U, 1U, 3U, 512U}) {
    const auto engine = create({.ring_entries = entries, .stall_timeout = std::chrono::milliseconds(1)});
    ASSERT_FALSE(engine);
    EXPECT_EQ(engine.error().code, DriverErrc::InvalidArgument);
    EXPECT_NE(engine.error().message.find(std::to_string(entries)), std::string::npos);
    EXPECT_NE(engine.error().message.find("2 to 256"), std::string::npos);
  }
}

TEST_F(RingEngineOnScript, RefusesOverlappingWindows) {
  const MemorySpan windows[] = {memory_.part(0, 8192), memory_.part(4096, 8192)};
  const auto engine = RingEngine::create(std::make_unique<ScriptedTransport>(script_), {}, windows);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, DriverErrc::InvalidArgument);
}

}  // namespace
}  // namespace sluice
