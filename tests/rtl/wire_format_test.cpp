// SPDX-License-Identifier: Apache-2.0
// Holds rtl/sluice_pkg.sv and driver/ring_format.hpp together, field by field and number by number.
#include <Vwire_format_probe.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <random>

#include "sluice/driver/engine.hpp"
#include "sluice/driver/ring_format.hpp"

namespace sluice::ring {
namespace {

TEST(WireFormat, DescriptorFieldsLieWhereTheEngineReadsThem) {
  VerilatedContext context;
  Vwire_format_probe probe(&context);
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    Descriptor descriptor;
    descriptor.address = random();
    descriptor.length_bytes = random();
    descriptor.pattern = random();
    descriptor.slot = static_cast<std::uint16_t>(random());
    descriptor.operation = static_cast<std::uint8_t>(random());
    descriptor.flags = static_cast<std::uint8_t>(random());
    descriptor.generation = static_cast<std::uint32_t>(random());
    for (std::uint64_t& word : descriptor.reserved) word = random();
    static_assert(sizeof(probe.descriptor_i) == sizeof descriptor);
    std::memcpy(&probe.descriptor_i, &descriptor, sizeof descriptor);
    probe.eval();
    EXPECT_EQ(probe.address_o, descriptor.address);
    EXPECT_EQ(probe.length_bytes_o, descriptor.length_bytes);
    EXPECT_EQ(probe.pattern_o, descriptor.pattern);
    EXPECT_EQ(probe.slot_o, descriptor.slot);
    EXPECT_EQ(probe.operation_o, descriptor.operation);
    EXPECT_EQ(probe.flags_o, descriptor.flags);
    EXPECT_EQ(probe.generation_o, descriptor.generation);
    EXPECT_EQ(std::memcmp(&probe.reserved_o, descriptor.reserved.data(), sizeof descriptor.reserved), 0);
  }
}

TEST(WireFormat, CompletionFieldsLieWhereTheDriverReadsThem) {
  VerilatedContext context;
  Vwire_format_probe probe(&context);
  std::mt19937_64 random(2);
  for (int round = 0; round < 200; ++round) {
    probe.bytes_zeroed_i = random() & ((1ULL << 48) - 1);
    probe.slot_i = static_cast<std::uint16_t>(random());
    probe.generation_i = static_cast<std::uint32_t>(random());
    probe.outcome_i = static_cast<std::uint8_t>(random());
    probe.cause_i = static_cast<std::uint8_t>(random());
    probe.phase_i = random() & 1;
    probe.eval();
    static_assert(sizeof(probe.completion_o) == sizeof(CompletionEntry));
    const auto entry = std::bit_cast<CompletionEntry>(probe.completion_o.m_storage);
    EXPECT_EQ(CompletionEntry::bytes_zeroed(entry.slot_and_bytes), probe.bytes_zeroed_i);
    EXPECT_EQ(CompletionEntry::slot(entry.slot_and_bytes), probe.slot_i);
    EXPECT_EQ(CompletionEntry::generation(entry.status), probe.generation_i);
    EXPECT_EQ(CompletionEntry::outcome(entry.status), probe.outcome_i);
    EXPECT_EQ(CompletionEntry::cause(entry.status), probe.cause_i);
    EXPECT_EQ(CompletionEntry::phase(entry.status), probe.phase_i != 0);
  }
}

TEST(WireFormat, NumbersAreTheSameOnBothSides) {
  const auto of = [](auto value) { return static_cast<std::uint64_t>(value); };
  const std::uint64_t expected[] = {kOpFill,
                                    kMaxLengthBytes,
                                    kIdValue,
                                    kVersionValue,
                                    of(Outcome::Zeroed),
                                    of(Outcome::Cancelled),
                                    of(Outcome::Failed),
                                    of(FailureCause::None),
                                    of(FailureCause::BadDescriptor),
                                    of(FailureCause::OutsideWindow),
                                    of(FailureCause::SlaveError),
                                    of(FailureCause::DecodeError),
                                    kRegCtrl,
                                    kRegGie,
                                    kRegIer,
                                    kRegIsr,
                                    kRegId,
                                    kRegVersion,
                                    kRegCapabilities,
                                    kRegCycles,
                                    kRegDataBeats,
                                    kRegJobs,
                                    kRegJobsCancelled,
                                    kRegQueues,
                                    kQueueStride,
                                    kQueueCtrl,
                                    kQueueStatus,
                                    kQueueRingLog2,
                                    kQueueSqTail,
                                    kQueueSqBase,
                                    kQueueCqBase,
                                    kQueueWindowBase,
                                    kQueueWindowLimit,
                                    kQueueSqHead,
                                    kQueueCqTail,
                                    kQueueCqHead,
                                    kQueueCancelGeneration,
                                    kQueueCancelSlot,
                                    sizeof(Descriptor),
                                    sizeof(CompletionEntry)};
  VerilatedContext context;
  Vwire_format_probe probe(&context);
  for (std::size_t index = 0; index <= std::size(expected); ++index) {
    probe.index_i = static_cast<std::uint8_t>(index);
    probe.eval();
    if (index == std::size(expected)) {
      EXPECT_EQ(probe.constant_o, ~0ULL) << "both tables end here";
    } else {
      EXPECT_EQ(probe.constant_o, expected[index]) << "number " << index;
    }
  }
}

}  // namespace
}  // namespace sluice::ring
