// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/windows.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::inline engine {
namespace {

std::string describe(MemorySpan memory) {
  return fmt::format("[{}, +{} bytes)", static_cast<const void*>(memory.data()), memory.size());
}

Error outside(std::size_t job, MemorySpan memory) {
  return {DriverErrc::OutsideWindow,
          fmt::format("job {} at {} lies outside the engine's windows: create the engine with windows that hold it",
                      job, describe(memory))};
}

}  // namespace

Result<void> check_room(std::span<const ScrubJob> jobs, std::span<const JobId> ids) {
  if (!jobs.empty() && ids.size() >= jobs.size()) return {};
  return Error{DriverErrc::InvalidArgument,
               fmt::format("{} jobs with room for {} names: give at least one job, and room for all their names",
                           jobs.size(), ids.size())};
}

Result<void> check_jobs(std::span<const ScrubJob> jobs, const EngineCapabilities& engine, ByteCount longest) {
  for (std::size_t index = 0; index < jobs.size(); ++index) {
    const MemorySpan memory = jobs[index].memory;
    if (memory.empty() || length_of(memory) > longest) {
      return Error{DriverErrc::InvalidArgument, fmt::format("job {} has a length of {} bytes: give 1 to {} bytes",
                                                            index, memory.size(), longest.value())};
    }
    if (!offers(engine, jobs[index].operation)) {
      return Error{DriverErrc::InvalidArgument,
                   fmt::format("job {} is to {}, which {} cannot: give it to another engine, cpu for example", index,
                               jobs[index].operation == Operation::FillRandom ? "fill with random bytes" : "verify",
                               engine.name)};
    }
  }
  return {};
}

Result<void> check_reach(std::span<const ScrubJob> jobs, const Engine& engine) {
  for (std::size_t index = 0; index < jobs.size(); ++index) {
    if (!engine.reaches(jobs[index].memory)) return outside(index, jobs[index].memory);
  }
  return {};
}

Error all_in_use(std::size_t jobs) {
  return {DriverErrc::Busy, fmt::format("all {} jobs are in use: collect completions first", jobs)};
}

Result<void> Windows::add(MemorySpan memory, Iova iova) {
  if (memory.empty()) {
    return Error{DriverErrc::InvalidArgument, "a window of 0 bytes was given: leave it out, or give it a length"};
  }
  const auto next = std::partition_point(windows_.begin(), windows_.end(),
                                         [&](const Window& window) { return window.memory.data() < memory.data(); });
  const bool hits_next = next != windows_.end() && next->memory.data() < memory.data() + memory.size();
  const bool hits_previous = next != windows_.begin() && [&] {
    const MemorySpan previous = std::prev(next)->memory;
    return previous.data() + previous.size() > memory.data();
  }();
  if (hits_next || hits_previous) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("window {} overlaps another one: give each byte once", describe(memory))};
  }
  windows_.insert(next, {memory, iova});
  return {};
}

const Windows::Window* Windows::holder(MemorySpan memory) const {
  const auto after = std::partition_point(windows_.begin(), windows_.end(),
                                          [&](const Window& window) { return window.memory.data() <= memory.data(); });
  if (after == windows_.begin() || !std::prev(after)->holds(memory)) return nullptr;
  return &*std::prev(after);
}

std::optional<Iova> Windows::find(MemorySpan memory) const {
  const Window* const window = holder(memory);
  if (window == nullptr) return std::nullopt;
  return window->iova + ByteCount(static_cast<std::size_t>(memory.data() - window->memory.data()));
}

Result<void> Windows::check(std::span<const ScrubJob> jobs, const EngineCapabilities& engine) const {
  if (auto checked = check_jobs(jobs, engine, engine.max_job_length); !checked) return checked;
  const Window* window = nullptr;  // of the job before, most often of this one too
  for (std::size_t index = 0; index < jobs.size(); ++index) {
    const MemorySpan memory = jobs[index].memory;
    if (window == nullptr || !window->holds(memory)) window = holder(memory);
    if (window == nullptr) return outside(index, memory);
  }
  return {};
}

}  // namespace sluice::inline engine
