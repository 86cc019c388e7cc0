// SPDX-License-Identifier: Apache-2.0
#include "sluice/daemon/series.hpp"

#include <algorithm>

#include "sluice/memory/extent_table.hpp"

namespace sluice::inline daemon {

void Series::add(const Sample& sample) {
  const auto put = [&sample](std::deque<Sample>& samples, std::size_t most, std::chrono::milliseconds step) {
    if (!samples.empty() && sample.time < samples.back().time + step) return;
    samples.push_back(sample);
    if (samples.size() > most) samples.pop_front();
  };
  put(seconds_, kMostSeconds, std::chrono::milliseconds(1));
  put(minutes_, kMostMinutes, std::chrono::minutes(1));
}

std::optional<double> Series::scrub_rate() const {
  double best = 0.0;
  for (std::size_t at = 1; at < seconds_.size(); ++at) {
    const Sample& before = seconds_[at - 1];
    const Sample& now = seconds_[at];
    const double seconds = std::chrono::duration<double>(now.time - before.time).count();
    best = std::max(best, static_cast<double>(now.scrubbed - before.scrubbed) / seconds);
  }
  return best > 0.0 ? std::optional(best) : std::nullopt;
}

Sample sample_of(const MemoryManager& manager, std::chrono::milliseconds now) {
  Sample sample{.time = now};
  for (std::size_t state = 0; state < kExtentStates; ++state) {
    sample.bytes[state] = manager.extents().bytes(static_cast<ExtentState>(state)).value();
  }
  const Statistics& statistics = manager.statistics();
  for (const ByteCount bytes : statistics.recycled) sample.recycled += bytes.value();
  sample.granted = sample.recycled + statistics.granted_clean.value();
  for (const ByteCount bytes : statistics.scrubbed_for_claim) sample.granted += bytes.value();
  sample.scrubbed = statistics.scrubbed.value() + statistics.scrubbed_before_cancel.value();
  return sample;
}

}  // namespace sluice::inline daemon
