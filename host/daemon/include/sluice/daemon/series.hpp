// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/extent.hpp"

namespace sluice::inline daemon {

/// A host at one time.
struct Sample {
  std::chrono::milliseconds time{0};  ///< Since 1970.
  std::array<std::uint64_t, kExtentStates> bytes{};
  std::uint64_t recycled = 0;  ///< Granted as it was, since sluiced started. bytes
  std::uint64_t granted = 0;   ///< Granted in any way, since then. bytes
  std::uint64_t scrubbed = 0;  ///< Since then. bytes
};

/// What the host was like in the last minutes and hours: samples a second for ten minutes, and a minute for a day. Not
/// thread-safe.
class Series {
 public:
  enum class Step : std::uint8_t { Second, Minute };
  static constexpr std::size_t kMostSeconds = 600;
  static constexpr std::size_t kMostMinutes = 1440;

  /// Once a second, or less often. What is not later than the sample before is not taken.
  void add(const Sample& sample);
  /// Oldest first.
  [[nodiscard]] const std::deque<Sample>& samples(Step step) const {
    return step == Step::Second ? seconds_ : minutes_;
  }
  /// The speed of scrubs, as fast as it was in any second that is kept. bytes a second; nullopt: there were none.
  [[nodiscard]] std::optional<double> scrub_rate() const;

 private:
  std::deque<Sample> seconds_;
  std::deque<Sample> minutes_;
};

/// A host now.
[[nodiscard]] Sample sample_of(const MemoryManager& manager, std::chrono::milliseconds now);

}  // namespace sluice::inline daemon
