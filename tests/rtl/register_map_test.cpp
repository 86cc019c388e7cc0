// SPDX-License-Identifier: Apache-2.0
// The register map where it has holes: addresses without a register, and bits without a meaning.
#include <gtest/gtest.h>

#include <set>

#include "raw_engine.hpp"

namespace sluice::test {
namespace {

constexpr std::uint32_t kMapBytes = 4096;

/// Every word that is a register or a counter in this build.
std::set<std::uint32_t> words_of(const RtlBuild& build) {
  std::set<std::uint32_t> words;
  const auto add = [&](std::uint32_t from, std::uint32_t to) {
    for (std::uint32_t word = from; word <= to; word += 4) words.insert(word);
  };
  add(ring::kRegCtrl, ring::kRegRefused);
  add(ring::kRegCycles, ring::kRegRefusals + 4);
  for (std::uint32_t q = 0; q < build.queues; ++q) {
    const std::uint32_t counters = ring::kQueueCounterBase + q * ring::kQueueCounterStride;
    add(counters + ring::kQueueCounterJobs, counters + ring::kQueueCounterStallRing + 4);
    const std::uint32_t registers = ring::kQueueBase + q * ring::kQueueStride;
    add(registers + ring::kQueueCtrl, registers + ring::kQueueCause);
  }
  return words;
}

TEST(ScrubRegisterMap, ReadsZeroAndRefusesWritesWhereThereIsNoRegister) {
  for (const RtlBuild& build : rtl_builds()) {
    if (build.unsafe) continue;
    SCOPED_TRACE(build.name);
    RawEngine engine({.build = build.name});
    engine.start();
    for (std::size_t q = 0; q < build.queues; ++q) engine.run(engine.fill(0, 256, 0), q);
    engine.device().run_cycles(600);
    const std::set<std::uint32_t> words = words_of(build);
    EXPECT_EQ(engine.queue_counter(ring::kQueueCounterJobs, build.queues - 1), 1U) << "the last queue has its counters";
    const std::uint64_t refused = engine.engine_counter(ring::kRegRefusals);
    std::uint32_t holes = 0;
    for (std::uint32_t word = 0; word < kMapBytes; word += 4) {
      if (words.contains(word)) continue;
      ++holes;
      ASSERT_NE(engine.read_engine(ring::kRegId), 0U) << "so that what was read before cannot pass for a 0";
      EXPECT_EQ(engine.read_engine(word), 0U) << std::hex << word;
      EXPECT_FALSE(engine.write_engine(word, ~0U)) << std::hex << word;
    }
    engine.device().run_cycles(600);
    EXPECT_EQ(engine.engine_counter(ring::kRegRefusals), refused + holes) << "a write is refused once, a read never";
    EXPECT_EQ(engine.run(engine.fill(0, 256, 1)).outcome, ring::kOutcomeZeroed) << "it has changed nothing";
  }
}

/// A register whose bits without a meaning are given, as an address in the map.
struct Reserved {
  std::uint32_t address;
  std::uint32_t bits;
};

std::uint32_t of_queue(std::uint32_t queue_register) { return ring::kQueueBase + queue_register; }

TEST(ScrubRegisterMap, IgnoresBitsWithoutAMeaning) {
  for (const RtlBuild& build : rtl_builds()) {
    SCOPED_TRACE(build.name);
    RawEngine engine({.build = build.name});
    const std::uint32_t queues = (1U << build.queues) - 1;
    const Reserved ignored[] = {
        {ring::kRegGie, ~1U},
        {ring::kRegIer, ~(queues | 1U << 31)},
        {ring::kRegIsr, ~(1U << 31)},
        {of_queue(ring::kQueueLock), ~1U},
        {of_queue(ring::kQueueQos), ~0xFF03U},
        {of_queue(ring::kQueueRate), ~0xFFFFFFU},
        {of_queue(ring::kQueueCause), ~0xFU},
    };
    for (const Reserved& one : ignored) {
      for (std::uint32_t bit = 0; bit < 32; ++bit) {
        if ((one.bits >> bit & 1) == 0) continue;
        EXPECT_TRUE(engine.write_engine(one.address, 1U << bit)) << std::hex << one.address << ", bit " << bit;
        EXPECT_EQ(engine.read_engine(one.address), 0U) << std::hex << one.address << ", bit " << bit;
      }
    }
    EXPECT_TRUE(engine.write(ring::kQueueWindowBase, 0x3000)) << "no bit but 0 locks the window";
  }
}

TEST(ScrubRegisterMap, RefusesBitsWithoutAMeaningWhereTheyWouldMatter) {
  for (const RtlBuild& build : rtl_builds()) {
    SCOPED_TRACE(build.name);
    RawEngine engine({.build = build.name});
    const auto above = static_cast<std::uint32_t>(~(~0ULL >> (64 - build.addr_width)) >> 32);
    const std::uint32_t high_half = 0xFFFF'0000;
    const Reserved refused[] = {
        {ring::kRegCtrl, ~3U},
        {of_queue(ring::kQueueCtrl), ~3U},
        {of_queue(ring::kQueueRingLog2), ~0xFU},
        {of_queue(ring::kQueueSqBase), 0xFFF},
        {of_queue(ring::kQueueCqBase), 0xFFF},
        {of_queue(ring::kQueueSqBase) + 4, above},
        {of_queue(ring::kQueueCqBase) + 4, above},
        {of_queue(ring::kQueueWindowBase) + 4, above},
        {of_queue(ring::kQueueWindowLimit) + 4, above},
        {of_queue(ring::kQueueSqTail), high_half},
        {of_queue(ring::kQueueCqHead), high_half},
        {of_queue(ring::kQueueCancelSlot), ~(build.slots - 1)},
    };
    const auto expect_refused = [&] {
      for (const Reserved& one : refused) {
        const std::uint32_t before = engine.read_engine(one.address);
        for (std::uint32_t bit = 0; bit < 32; ++bit) {
          if ((one.bits >> bit & 1) == 0) continue;
          EXPECT_FALSE(engine.write_engine(one.address, before | 1U << bit)) << std::hex << one.address << " " << bit;
        }
        EXPECT_EQ(engine.read_engine(one.address), before) << std::hex << one.address;
      }
    };
    expect_refused();
    engine.start();
    expect_refused();
  }
}

}  // namespace
}  // namespace sluice::test
