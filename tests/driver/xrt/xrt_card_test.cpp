// SPDX-License-Identifier: Apache-2.0
// What the contract does not ask of the engine behind XRT: where its memory comes from, and that its device may die.
#include "sluice/xrt/xrt_card.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "sluice/compose/failover_engine.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/engine/engine_registry.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "sluice/xrt/xrt_emulation.hpp"
#include "support/memory.hpp"
#include "support/patience.hpp"
#include "support/program.hpp"

namespace sluice {
namespace {

using test::first_not;
using ::testing::HasSubstr;

constexpr ByteCount kLength{1 << 20};

class XrtCardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto emulation = XrtEmulation::start({SLUICE_XRT_DEVICE, {}});
    ASSERT_TRUE(emulation) << emulation.error().message;
    emulation_ = std::move(*emulation);
    XrtOptions options;
    options.xclbin = emulation_->xclbin();
    options.alive = [this] { return emulation_->alive(); };
    auto card = XrtCard::open(options);
    ASSERT_TRUE(card) << card.error().message;
    card_ = std::move(*card);
    auto memory = card_->allocate(kLength);
    ASSERT_TRUE(memory) << memory.error().message;
    memory_ = memory->memory;
    std::fill(memory_.begin(), memory_.end(), std::byte{0xA5});
  }

  [[nodiscard]] Result<std::unique_ptr<Engine>> make(MemorySpan window) {
    RingOptions ring;
    ring.stall_timeout = std::chrono::milliseconds(1000);
    auto engine = RingEngine::create(std::make_unique<XrtTransport>(*card_), ring, {&window, 1});
    if (!engine) return engine.error();
    return std::unique_ptr<Engine>(std::move(*engine));
  }

  void kill_device() {
    ::kill(emulation_->process(), SIGKILL);
    EXPECT_TRUE(test::comes_true([&] { return !emulation_->alive(); }));
  }

  static std::vector<Completion> collect(Engine& engine, std::size_t count) {
    std::vector<Completion> all;
    for (test::Patience patience; all.size() < count && !patience.over();) {
      Completion one;
      if (engine.poll({&one, 1}) == 0) continue;
      all.push_back(one);
      patience.renew();
    }
    EXPECT_EQ(all.size(), count);
    return all;
  }

  std::unique_ptr<XrtEmulation> emulation_;
  std::unique_ptr<XrtCard> card_;
  MemorySpan memory_;
};

TEST_F(XrtCardTest, DeathOfTheDeviceFailsEverythingInFlightWithNoByte) {
  emulation_->command("hold");
  auto engine = make(memory_);
  ASSERT_TRUE(engine) << engine.error().message;
  const ScrubJob jobs[] = {{memory_.first(4096)}, {memory_.subspan(4096)}};
  JobId ids[2];
  ASSERT_EQ(*(*engine)->submit(jobs, ids), 2U);
  kill_device();
  for (const Completion& completion : collect(**engine, 2)) {
    EXPECT_EQ(completion.outcome, Outcome::Failed);
    EXPECT_EQ(completion.cause, FailureCause::EngineFault);
    EXPECT_EQ(completion.bytes_zeroed, ByteCount(0));
  }
  ASSERT_TRUE((*engine)->fault());
  EXPECT_THAT((*engine)->fault()->message, HasSubstr("the device is gone"));
  EXPECT_EQ((*engine)->submit(jobs, ids).error().code, DriverErrc::EngineFailed);
  EXPECT_EQ(card_->allocate(ByteCount(4096)).error().code, DriverErrc::NoResources);
}

TEST_F(XrtCardTest, ADeviceThatIsStoppedCountsAsDead) {
  emulation_->command("hold");
  auto engine = make(memory_);
  ASSERT_TRUE(engine) << engine.error().message;
  const ScrubJob job{memory_};
  JobId id;
  ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
  ::kill(emulation_->process(), SIGSTOP);
  siginfo_t stopped{};
  ::waitid(P_PID, static_cast<id_t>(emulation_->process()), &stopped, WSTOPPED | WNOWAIT);
  const bool alive = emulation_->alive();
  if (alive) ::kill(emulation_->process(), SIGCONT);  // or XRT waits for it for ever
  ASSERT_FALSE(alive);
  const Completion completion = collect(**engine, 1).at(0);
  EXPECT_EQ(completion.outcome, Outcome::Failed);
  EXPECT_EQ(completion.cause, FailureCause::EngineFault);
  ASSERT_TRUE((*engine)->fault());
  EXPECT_THAT((*engine)->fault()->message, HasSubstr("the device is gone"));
}

TEST_F(XrtCardTest, AfterTheDeathOfTheDeviceTheCpuScrubsTheSameMemory) {
  const auto on_card = [this] { return make(memory_); };
  const auto on_cpu = [this]() -> Result<std::unique_ptr<Engine>> {
    auto engine = CpuEngine::create({}, {&memory_, 1});
    if (!engine) return engine.error();
    return std::unique_ptr<Engine>(std::move(*engine));
  };
  auto engine = FailoverEngine::create({{"xrt", on_card}, {"cpu", on_cpu}}, {});
  ASSERT_TRUE(engine) << engine.error().message;
  const ScrubJob job{memory_};
  JobId id;
  ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
  EXPECT_EQ(collect(**engine, 1)[0].outcome, Outcome::Zeroed);
  EXPECT_EQ(first_not(memory_, std::byte{0}), std::nullopt);

  std::fill(memory_.begin(), memory_.end(), std::byte{0xA5});
  emulation_->command("hold");
  ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
  kill_device();
  EXPECT_EQ(collect(**engine, 1)[0].outcome, Outcome::Failed);
  ASSERT_TRUE((*engine)->submit({&job, 1}, {&id, 1}));
  EXPECT_EQ(collect(**engine, 1)[0].outcome, Outcome::Zeroed);
  EXPECT_EQ(first_not(memory_, std::byte{0}), std::nullopt);
  ASSERT_EQ((*engine)->failovers().size(), 1U);
  EXPECT_THAT((*engine)->failovers()[0].reason, HasSubstr("the device is gone"));
}

TEST_F(XrtCardTest, MemoryThatXrtHasNotAllocatedIsRefusedWithTheWayToIt) {
  const test::Memory foreign(4096);
  const auto engine = make(foreign.all());
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, DriverErrc::InvalidArgument);
  EXPECT_THAT(engine.error().message, HasSubstr("EngineRegistry::allocate"));
}

TEST_F(XrtCardTest, TheNextEngineHasTheRingsOfTheLastZeroed) {
  const auto ring = [this] {
    XrtTransport transport(*card_);
    const DmaBuffer buffer = *transport.allocate_ring(ByteCount(100));
    EXPECT_EQ(buffer.memory.size(), 4096U) << "whole pages";
    EXPECT_EQ(first_not(buffer.memory, std::byte{0}), std::nullopt);
    std::fill(buffer.memory.begin(), buffer.memory.end(), std::byte{0xFF});
    return buffer.memory.data();
  };
  EXPECT_EQ(ring(), ring());
  const DmaBuffer kept = *card_->allocate(ByteCount(100));
  EXPECT_NE(card_->allocate(ByteCount(100))->memory.data(), kept.memory.data());
}

TEST(XrtCard, WithoutAnXclbinSaysWhatXrtSays) {
  XrtOptions options;
  options.xclbin = "/no/such/file.xclbin";
  const auto card = XrtCard::open(options);
  ASSERT_FALSE(card);
  EXPECT_EQ(card.error().code, DriverErrc::DeviceMissing);
  EXPECT_THAT(card.error().message, HasSubstr("/no/such/file.xclbin"));
}

TEST(XrtEmulationTest, WithoutItsProgramSaysWhichOneIsMissing) {
  const auto emulation = XrtEmulation::start({"/no/such/device", {}});
  ASSERT_FALSE(emulation);
  EXPECT_THAT(emulation.error().message, HasSubstr("/no/such/device"));
}

TEST(XrtDeviceProgram, RefusesWhatItCannotDoAndSaysWhy) {
  const std::string program = SLUICE_XRT_DEVICE;
  const std::string folder = std::filesystem::path(::testing::TempDir()) / "sluice-xrt-device-test";
  std::filesystem::remove_all(folder);
  test::Outcome outcome = test::run_program("env -u EMULATION_SOCKETID " + program + " serve");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("EMULATION_SOCKETID"));
  outcome =
      test::run_program("env EMULATION_SOCKETID=1 USER=" + std::string(100, 'u') + " " + program + " serve --control");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("is longer than 107 bytes"));
  EXPECT_THAT(outcome.output, ::testing::Not(HasSubstr("ready")));
  outcome = test::run_program(program + " prepare " + folder + " --library /no/such/library.so");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("/no/such/library.so"));
  EXPECT_FALSE(std::filesystem::exists(folder));
  std::ofstream(folder) << "a file";
  outcome = test::run_program(program + " prepare " + folder);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("cannot write"));
  std::filesystem::remove_all(folder);
  outcome = test::run_program(program + " prepare " + folder);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("XCL_EMULATION_MODE=hw_emu"));
  EXPECT_TRUE(std::filesystem::exists(folder + "/scrub.xclbin"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace sluice
