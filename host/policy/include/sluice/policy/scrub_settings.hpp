// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "sluice/memory/fill.hpp"

namespace sluice::inline policy {

/// When memory is scrubbed that cannot be recycled.
enum class ScrubTiming : std::uint8_t {
  AfterRelease,  ///< What the VM gave back is scrubbed in the background, as soon as it can be.
  BeforeGrant,   ///< It is left until a claim needs it; what the VM is granted is scrubbed right before, clean or not.
  Both,          ///< What it gave back in the background, and what it is granted right before.
  Scheduled,     ///< As AfterRelease, but not before `delay` is over.
};

enum class FillMethod : std::uint8_t {
  Zeros,
  Ones,     ///< All bits.
  Pattern,  ///< ScrubSettings::pattern
  Random,   ///< Unpredictable bytes; of an engine that has no generator unpredictable 64 bits for each job, repeated.
  Erase,    ///< Zeros that are read back before the memory counts as clean.
};

/// How and when a VM's memory is scrubbed: what it gives back, and what is scrubbed for a claim of its own. Memory that
/// was scrubbed in the background before anybody claimed it is filled as the VM that gave it back had it.
struct ScrubSettings {
  ScrubTiming timing = ScrubTiming::AfterRelease;
  std::chrono::nanoseconds delay{0};  ///< Scheduled: from the release on.
  FillMethod method = FillMethod::Zeros;
  std::uint64_t pattern = 0;  ///< Pattern: byte (address mod 8) of it, little endian.
  bool operator==(const ScrubSettings&) const = default;
};

/// What a scrub by these settings fills memory with.
[[nodiscard]] Fill fill_of(const ScrubSettings& settings);

}  // namespace sluice::inline policy
