// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include "sluice/base/units.hpp"

namespace sluice::inline manager {

/// Memory that was scrubbed, or that a scrub has left in doubt.
struct ScrubRecord {
  MemorySpan memory;
  std::string_view engine;
  std::uint64_t pattern = 0;  ///< That it is filled with; of a random fill, nothing.
  bool verified = false;      ///< All of it was read back.
  bool failed = false;        ///< It is Quarantined.
};

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
  /// Called for each, before anybody is granted the memory; it does not call the manager. Empty: nobody is told.
  std::function<void(const ScrubRecord&)> on_scrubbed;
};

}  // namespace sluice::inline manager
