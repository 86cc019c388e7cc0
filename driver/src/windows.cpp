// SPDX-License-Identifier: Apache-2.0
#include "windows.hpp"

#include <fmt/format.h>

namespace sluice {
namespace {

std::string describe(MemorySpan memory) {
  return fmt::format("[{}, +{} bytes)", static_cast<const void*>(memory.data()), memory.size());
}

}  // namespace

Result<void> check_room(std::span<const ScrubJob> jobs, std::span<const JobId> ids) {
  if (!jobs.empty() && ids.size() >= jobs.size()) return {};
  return Error{DriverErrc::InvalidArgument,
               fmt::format("{} jobs with room for {} names: give at least one job, and room for all their names",
                           jobs.size(), ids.size())};
}

Result<void> Windows::add(MemorySpan memory, Iova iova) {
  if (memory.empty()) {
    return Error{DriverErrc::InvalidArgument, "a window of 0 bytes was given: leave it out, or give it a length"};
  }
  auto next = windows_.lower_bound(memory.data());
  const bool hits_next = next != windows_.end() && next->first < memory.data() + memory.size();
  const bool hits_previous = next != windows_.begin() && [&] {
    const MemorySpan previous = std::prev(next)->second.memory;
    return previous.data() + previous.size() > memory.data();
  }();
  if (hits_next || hits_previous) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("window {} overlaps another one: give each byte once", describe(memory))};
  }
  windows_.emplace(memory.data(), Window{memory, iova});
  return {};
}

std::optional<Iova> Windows::find(MemorySpan memory) const {
  auto after = windows_.upper_bound(memory.data());
  if (after == windows_.begin()) return std::nullopt;
  const Window& window = std::prev(after)->second;
  const auto offset = static_cast<std::size_t>(memory.data() - window.memory.data());
  if (offset > window.memory.size() || memory.size() > window.memory.size() - offset) return std::nullopt;
  return window.iova + ByteCount(offset);
}

Result<void> Windows::check(std::span<const ScrubJob> jobs, ByteCount max_length) const {
  for (std::size_t index = 0; index < jobs.size(); ++index) {
    const MemorySpan memory = jobs[index].memory;
    if (memory.empty() || length_of(memory) > max_length) {
      return Error{DriverErrc::InvalidArgument, fmt::format("job {} has a length of {} bytes: give 1 to {} bytes",
                                                            index, memory.size(), max_length.value())};
    }
    if (!find(memory)) {
      return Error{DriverErrc::OutsideWindow,
                   fmt::format("job {} at {} lies outside the engine's windows: create the engine with a window that "
                               "holds it",
                               index, describe(memory))};
    }
  }
  return {};
}

}  // namespace sluice
