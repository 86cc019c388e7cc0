// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "sluice/base/units.hpp"
#include "sluice/policy/recycle_policy.hpp"

namespace sluice::inline manager {

/// What the manager has done since it was made, or since its last reset_statistics().
struct Statistics {
  /// Handed over without a scrub, for each reason.
  std::array<ByteCount, kReasons> recycled{};
  /// Handed over after an urgent scrub for this claim, for each reason why a scrub was needed.
  std::array<ByteCount, kReasons> scrubbed_for_claim{};
  /// Handed over clean, without a wait.
  ByteCount granted_clean;

  ByteCount scrubbed;                ///< By jobs that ran to their end.
  ByteCount scrubbed_before_cancel;  ///< By jobs that were cancelled or failed.
  ByteCount saved_by_cancel;         ///< What cancelled jobs did not write any more.
  ByteCount taken_from_queue;        ///< Recycled before its background scrub had started.
  std::uint64_t scrub_jobs = 0;
  std::uint64_t scrubs_cancelled = 0;
  std::uint64_t cancels_too_late = 0;  ///< The job ended before the cancel reached it.
  std::uint64_t scrubs_failed = 0;
  ByteCount quarantined;

  [[nodiscard]] ByteCount recycled_for(Reason reason) const { return recycled[static_cast<std::size_t>(reason)]; }
};

}  // namespace sluice::inline manager
