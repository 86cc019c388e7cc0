// SPDX-License-Identifier: Apache-2.0
// A process is killed while its jobs are under way in the engine, and the next one takes the engine over.
#include <gtest/gtest.h>

#include "sluice/device/simulated_device.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "support/memory.hpp"
#include "support/patience.hpp"

namespace sluice::inline device {
namespace {

/// A device that outlives the process that drives it.
class Card final : public Transport {
 public:
  explicit Card(SimulatedDevice& device) : device_(device) {}
  std::uint32_t read_register(std::uint32_t offset) override { return device_.read_register(offset); }
  void write_register(std::uint32_t offset, std::uint32_t value) override { device_.write_register(offset, value); }
  Result<DmaBuffer> allocate_ring(ByteCount length) override { return device_.allocate_ring(length); }
  Result<Iova> map(MemorySpan memory) override { return device_.map(memory); }
  void advance() override { device_.advance(); }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return device_.now(); }

 private:
  SimulatedDevice& device_;
};

TEST(Restart, FindsAnEngineThatWritesNothingAnyMore) {
  for (const std::uint64_t cycles_before : {0ULL, 50ULL, 300ULL, 1000ULL, 5000ULL}) {
    SCOPED_TRACE(cycles_before);
    const auto device = SimulatedDevice::create({.timing = {.write_latency = {200, 400}}}).value();
    test::Memory old_memory(1 << 20, std::byte{1});
    const MemorySpan old_windows[] = {old_memory.all()};
    // What a killed process leaves: nobody says goodbye to the device. It stays reachable, so that nothing leaks.
    static std::vector<RingEngine*> killed;
    killed.push_back(RingEngine::create(std::make_unique<Card>(*device), {}, old_windows).value().release());
    std::vector<ScrubJob> jobs;
    for (std::size_t index = 0; index < 8; ++index) jobs.push_back({old_memory.part(index << 17, 1 << 17), 0});
    std::vector<JobId> ids(jobs.size());
    ASSERT_EQ(killed.back()->submit(jobs, ids).value(), jobs.size());
    device->run_cycles(cycles_before);

    test::Memory new_memory(1 << 20, std::byte{2});
    const MemorySpan new_windows[] = {new_memory.all()};
    const auto engine = RingEngine::create(std::make_unique<Card>(*device), {}, new_windows).value();
    old_memory.fill(std::byte{3});  // its next holder's data
    device->run_cycles(50'000);
    EXPECT_EQ(test::first_not(old_memory.all(), std::byte{3}), std::nullopt);

    const ScrubJob job{new_memory.all(), 0};
    JobId id;
    ASSERT_TRUE(engine->submit({&job, 1}, {&id, 1}));
    std::array<Completion, 1> completion;
    for (const test::Patience patience; engine->poll(completion) == 0 && !patience.over();) {
    }
    EXPECT_EQ(completion[0].outcome, Outcome::Zeroed);
    EXPECT_EQ(test::first_not(new_memory.all(), std::byte{0}), std::nullopt);
  }
}

}  // namespace
}  // namespace sluice::inline device
