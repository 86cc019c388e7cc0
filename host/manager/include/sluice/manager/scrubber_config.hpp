// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "sluice/base/units.hpp"

namespace sluice::inline manager {

struct ScrubberConfig {
  std::uint32_t max_jobs_in_flight = 32;         ///< At most what the engine takes.
  ByteCount background_job_length{64ULL << 20};  ///< Longer extents are cut: each part is Clean as soon as it can be.
  bool background = true;                        ///< Scrub free memory that nobody has asked for yet.
  /// In the background only until so much of the shared pool is clean, and the rest when nobody has claimed memory for
  /// `idle_after`.
  ByteCount clean_target{~0ULL};
  std::chrono::nanoseconds idle_after{std::chrono::seconds(1)};
  double background_rate = 0.0;                     ///< bytes/s, at most, in the background; 0: as the engine can.
  std::function<std::chrono::nanoseconds()> clock;  ///< For all of these; empty: Engine::now().
  /// An engine that has jobs, or refuses them as Busy, and makes no progress for so long by its own clock is given up.
  /// Longer than that of a FailoverEngine, which knows another engine.
  std::chrono::nanoseconds stall_timeout{std::chrono::seconds(120)};
};

}  // namespace sluice::inline manager
