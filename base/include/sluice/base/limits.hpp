// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// The largest and smallest values that options take. Each keeps the arithmetic behind it far from wrapping.
namespace sluice::inline base {

struct Limits {
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  [[nodiscard]] constexpr bool hold(std::uint64_t value) const { return value >= min && value <= max; }
};

namespace limits {
inline constexpr Limits kSeed{0, ~0ULL};                  // of any draw: every number is as good
inline constexpr Limits kOptionBytes{0, 1ULL << 40};      // lengths, rates a second: of one engine
inline constexpr Limits kLatencyCycles{0, 1'000'000};     // of a simulated bus
inline constexpr Limits kCpu{0, 65'535};                  // number of a CPU
inline constexpr Limits kBusBursts{1, ~0ULL};             // counted down only
inline constexpr Limits kPoolBytes{4096, 1ULL << 50};     // of one replay
inline constexpr Limits kBricks{1, 1024};                 // that a pool is made of
inline constexpr Limits kMemoryScale{1, 1ULL << 30};      // by which a trace's sizes are divided
inline constexpr Limits kScrubRate{1, 1ULL << 50};        // bytes a second
inline constexpr Limits kJobBytes{4096, 1ULL << 40};      // of one background job
inline constexpr Limits kVms{1, 100'000'000};             // of a trace
inline constexpr Limits kMaxVms{0, 100'000'000};          // of a trace; 0: all
inline constexpr Limits kCustomers{1, 1'000'000'000};     // of a trace
inline constexpr Limits kHours{0, 24 * 366 * 100};        // of a trace
inline constexpr Limits kEventsPerDay{0, 100'000};        // of one VM
inline constexpr Limits kTraceSeconds{0, 4'000'000'000};  // of a trace's clock, in nanoseconds well inside 64 bits
inline constexpr Limits kTraceBytes{0, 1ULL << 50};       // of one event of a trace
inline constexpr Limits kTraceId{0, ~0ULL >> 1};          // of a VM, customer, group or pool; 0: none
}  // namespace limits

}  // namespace sluice::inline base
