// SPDX-License-Identifier: Apache-2.0
// The ring driver on the engine's interrupt pin.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sluice/device/simulated_device.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "support/memory.hpp"

namespace sluice::inline device {
namespace {

/// The simulated engine, whose pin is wired to an eventfd. The tests poll only when it is readable.
class WiredDevice final : public Transport {
 public:
  explicit WiredDevice(SimulatedDevice& device) : device_(device) {}
  ~WiredDevice() override { ::close(fd_); }

  std::uint32_t read_register(std::uint32_t offset) override { return device_.read_register(offset); }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    device_.write_register(offset, value);
    look();
  }
  Result<DmaBuffer> allocate_ring(ByteCount length) override { return device_.allocate_ring(length); }
  Result<Iova> map(MemorySpan memory) override { return device_.map(memory); }
  void advance() override { run(64); }
  [[nodiscard]] int interrupt_fd() const override { return fd_; }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return device_.now(); }

  void run(std::uint64_t cycles) {
    for (std::uint64_t cycle = 0; cycle < cycles; ++cycle) {
      device_.run_cycles(1);
      look();
    }
  }

 private:
  /// The pin is a level.
  void look() const {
    if (device_.interrupt()) ::eventfd_write(fd_, 1);
  }

  SimulatedDevice& device_;
  int fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
};

class RingEngineOnInterrupts : public ::testing::Test {
 protected:
  void SetUp() override {
    device_ = std::move(SimulatedDevice::create({})).value();
    auto wired = std::make_unique<WiredDevice>(*device_);
    wired_ = wired.get();
    const MemorySpan windows[] = {memory_.all()};
    engine_ = std::move(RingEngine::create(std::move(wired), {}, windows)).value();
  }

  void submit(std::size_t count, Urgency urgency = Urgency::Background) {
    for (std::size_t index = 0; index < count; ++index) {
      const ScrubJob job{memory_.part(index * 4096, 4096), 0, urgency};
      JobId id;
      ASSERT_TRUE(engine_->submit({&job, 1}, {&id, 1}));
    }
  }
  [[nodiscard]] bool readable() const {
    pollfd descriptor{engine_->completion_fd(), POLLIN, 0};
    return ::poll(&descriptor, 1, 0) == 1;
  }

  test::Memory memory_{1 << 20, std::byte{0xA5}};
  std::unique_ptr<SimulatedDevice> device_;
  WiredDevice* wired_ = nullptr;
  std::unique_ptr<RingEngine> engine_;
};

TEST_F(RingEngineOnInterrupts, AreReadableWhenThereAreCompletionsAndNotBefore) {
  ASSERT_GE(engine_->completion_fd(), 0);
  std::array<Completion, 8> out;
  for (const Urgency urgency : {Urgency::Background, Urgency::Urgent, Urgency::Background}) {
    submit(3, urgency);
    EXPECT_FALSE(readable());
    wired_->run(2000);
    EXPECT_TRUE(readable());
    EXPECT_EQ(engine_->poll(out), 3U);
    EXPECT_FALSE(readable()) << "all is collected";
    wired_->run(2000);
    EXPECT_FALSE(readable());
  }
}

TEST_F(RingEngineOnInterrupts, StayReadableWhileCompletionsAreLeft) {
  submit(3);
  wired_->run(2000);
  Completion one;
  for (int collected = 0; collected < 3; ++collected) {
    EXPECT_TRUE(readable()) << collected;
    EXPECT_EQ(engine_->poll({&one, 1}), 1U);
  }
  EXPECT_FALSE(readable());
}

TEST_F(RingEngineOnInterrupts, NoneIsLostHoweverPollsAndCompletionsMeet) {
  std::array<Completion, 4> out;
  for (std::uint64_t pause = 1; pause < 120; ++pause) {
    submit(4);
    std::size_t collected = 0;
    for (std::uint64_t waited = 0; collected < 4; waited += pause) {
      ASSERT_LT(waited, 20'000U) << "an interrupt is lost at a pause of " << pause << " cycles";
      wired_->run(pause);
      if (readable()) collected += engine_->poll(out);
    }
  }
}

TEST_F(RingEngineOnInterrupts, AnEngineThatIsGoneLeavesThePinSilent) {
  submit(3);
  engine_.reset();
  device_->run_cycles(5000);
  EXPECT_FALSE(device_->interrupt());
}

}  // namespace
}  // namespace sluice::inline device
