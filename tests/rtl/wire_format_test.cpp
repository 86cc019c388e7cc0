// SPDX-License-Identifier: Apache-2.0
// What tools/ring_format.py made for the two sides, compared field by field.
#include <Vwire_format_probe.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <random>

#include "sluice/engine/engine.hpp"
#include "sluice/ring/ring_format.hpp"

namespace sluice::inline ring {
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
    EXPECT_EQ(entry.bytes_zeroed(), probe.bytes_zeroed_i);
    EXPECT_EQ(entry.slot(), probe.slot_i);
    EXPECT_EQ(entry.generation(), probe.generation_i);
    EXPECT_EQ(entry.outcome(), probe.outcome_i);
    EXPECT_EQ(entry.cause(), probe.cause_i);
    EXPECT_EQ(entry.phase(), probe.phase_i != 0);
  }
}

TEST(WireFormat, CausesAndOutcomesAreThoseOfTheEngineInterface) {
  EXPECT_EQ(kOutcomeZeroed, static_cast<std::uint8_t>(Outcome::Zeroed));
  EXPECT_EQ(kOutcomeCancelled, static_cast<std::uint8_t>(Outcome::Cancelled));
  EXPECT_EQ(kOutcomeFailed, static_cast<std::uint8_t>(Outcome::Failed));
  EXPECT_EQ(kCauseNone, static_cast<std::uint8_t>(FailureCause::None));
  EXPECT_EQ(kCauseBadDescriptor, static_cast<std::uint8_t>(FailureCause::BadDescriptor));
  EXPECT_EQ(kCauseOutsideWindow, static_cast<std::uint8_t>(FailureCause::OutsideWindow));
  EXPECT_EQ(kCauseSlaveError, static_cast<std::uint8_t>(FailureCause::SlaveError));
  EXPECT_EQ(kCauseDecodeError, static_cast<std::uint8_t>(FailureCause::DecodeError));
  EXPECT_EQ(kCauseTimeout, static_cast<std::uint8_t>(FailureCause::Timeout));
  EXPECT_EQ(kCauseMismatch, static_cast<std::uint8_t>(FailureCause::Mismatch));
}

}  // namespace
}  // namespace sluice::inline ring
