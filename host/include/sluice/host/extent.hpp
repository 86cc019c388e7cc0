// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sluice/driver/engine.hpp"
#include "sluice/host/ids.hpp"
#include "sluice/host/owner.hpp"

namespace sluice {

enum class ExtentState : std::uint8_t {
  Owned,        ///< A VM holds it.
  Reserved,     ///< Held for its VM while that reboots.
  Dirty,        ///< Free, with its last owner's data.
  Scrubbing,    ///< An engine writes it.
  Cancelling,   ///< An engine was asked to stop and has not answered yet.
  Clean,        ///< Free and zeroed.
  Quarantined,  ///< An engine failed on it: never granted again.
};
inline constexpr std::size_t kExtentStates = 7;

enum class ExtentEvent : std::uint8_t {
  Grant,           ///< to a VM
  Reserve,         ///< its VM reboots
  Release,         ///< its VM gave it back or ended
  StartScrub,      ///< a job was accepted by an engine
  RequestCancel,   ///< the job was asked to stop
  ScrubZeroed,     ///< Completion: Zeroed
  ScrubCancelled,  ///< Completion: Cancelled
  ScrubFailed,     ///< Completion: Failed
};
inline constexpr std::size_t kExtentEvents = 8;

[[nodiscard]] std::string_view to_string(ExtentState state);
[[nodiscard]] std::string_view to_string(ExtentEvent event);

/// The one transition function. nullopt: the event cannot happen in this state. Whether a Dirty extent may be granted
/// is RecyclePolicy's to say; MemoryManager enforces it.
[[nodiscard]] std::optional<ExtentState> next_state(ExtentState state, ExtentEvent event);

inline constexpr std::chrono::nanoseconds kOnlyForClaims = std::chrono::nanoseconds::max();

/// A contiguous, page-aligned run of host memory: the unit of ownership and of scrubbing.
struct Extent {
  std::uint64_t offset = 0;  ///< In the pool: bricks one after the other. Orders extents the same way in every run.
  MemorySpan memory;
  std::uint32_t brick = 0;
  ExtentState state = ExtentState::Dirty;
  Owner owner;
  VmId holder;                    ///< Owned, Reserved
  DedicatedPoolId pool;           ///< The pool it belongs to; unset: the shared pool.
  ClaimId earmark;                ///< A claim that waits for it.
  JobId job;                      ///< Scrubbing, Cancelling
  std::uint64_t dirty_since = 0;  ///< Order of release: the oldest is scrubbed first.
  Fill fill;                      ///< Clean: what is in it. Dirty: what its next scrub in the background fills it with.
  std::chrono::nanoseconds scrub_at{0};  ///< Dirty: not in the background before; kOnlyForClaims: never.

  [[nodiscard]] ByteCount length() const { return length_of(memory); }
};

}  // namespace sluice
