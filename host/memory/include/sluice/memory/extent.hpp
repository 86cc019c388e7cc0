// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sluice/base/units.hpp"

namespace sluice::inline memory {

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

/// A contiguous, page-aligned run of host memory: the unit of ownership and of scrubbing. ExtentTable knows its memory
/// and its lineage. There may be very many: 32 bytes each.
class Extent {
 public:
  [[nodiscard]] ExtentState state() const { return static_cast<ExtentState>(state_); }
  [[nodiscard]] ByteCount length() const { return ByteCount(pages_ << 12); }
  /// In the pool: bricks one after the other. Orders extents the same way in every run. bytes
  [[nodiscard]] std::uint64_t offset() const { return page_ << 12; }
  [[nodiscard]] bool is_claimed() const { return claimed_ != 0; }

 private:
  friend class ExtentTable;
  friend class ExtentSlab;
  friend class CleanBins;

  std::uint64_t page_ : 36 = 0;
  std::uint64_t lineage_ : 28 = 0;
  std::uint64_t pages_ : 36 = 0;
  std::uint64_t state_ : 3 = static_cast<std::uint64_t>(ExtentState::Dirty);
  std::uint64_t claimed_ : 1 = 0;
  std::uint64_t value_ = 0;  ///< Clean: the pattern in it; Dirty, Scrubbing, Cancelling: when it was released.
  // Not claimed: its neighbours in the list that it is in.
  std::uint32_t previous_ = 0;
  std::uint32_t next_ = 0;
};
static_assert(sizeof(Extent) == 32);

}  // namespace sluice::inline memory
