// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

namespace sluice::test {

/// When a job was cancelled, as the bus shows it.
enum class CancelPhase : std::uint8_t {
  Never,
  BeforeDescriptor,  ///< the engine had not been told of the job
  Waiting,           ///< no burst of it had been issued
  Issuing,           ///< some had
  Answering,         ///< all had; its completion was not there
  After,             ///< its completion was there
};

/// What is wrong with a job or its memory.
enum class JobFault : std::uint8_t {
  None,
  SlaveError,
  DecodeError,
  Mismatch,
  OutsideWindow,
  BadDescriptor,
  Timeout,
};

enum class JobKind : std::uint8_t { Fill, Verify, FillVerify, FillList, VerifyList, FillVerifyList, Fence, Noop };
inline constexpr std::size_t kJobKinds = 8;

[[nodiscard]] bool touches_memory(JobKind kind);
[[nodiscard]] bool is_list(JobKind kind);
[[nodiscard]] bool reads(JobKind kind);
[[nodiscard]] bool writes(JobKind kind);
/// Verify compares what was there before; a fill-then-verify finds its own bytes.
[[nodiscard]] bool can_mismatch(JobKind kind);

/// One thing that must have happened: a job of this kind with this fault cancelled in this phase.
struct CoverPoint {
  CancelPhase phase;
  JobKind kind;
  JobFault fault;
  auto operator<=>(const CoverPoint&) const = default;
};

/// All points that can happen. Left out, because they cannot: faults of memory in jobs that touch none; differing
/// bytes where nothing is compared; bursts of plain jobs that are refused before their first.
[[nodiscard]] std::set<CoverPoint> all_cover_points();
[[nodiscard]] std::string to_string(const CoverPoint& point);

}  // namespace sluice::test
