// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sluice/engine/engine.hpp"

namespace sluice::inline engine {

/// What every submit() asks of its arguments. Errors: InvalidArgument.
[[nodiscard]] Result<void> check_room(std::span<const ScrubJob> jobs, std::span<const JobId> ids);

/// That an engine can do such jobs of up to `longest` bytes, wherever their memory is. Errors: InvalidArgument; they
/// name the job.
[[nodiscard]] Result<void> check_jobs(std::span<const ScrubJob> jobs, const EngineCapabilities& engine,
                                      ByteCount longest);

/// That an engine made of others reaches the memory of such jobs. Errors: OutsideWindow; they name the job.
[[nodiscard]] Result<void> check_reach(std::span<const ScrubJob> jobs, const Engine& engine);

/// Busy, for submit() when all `jobs` places are taken.
[[nodiscard]] Error all_in_use(std::size_t jobs);

/// The memory that an engine may write, with the device's address of each piece.
class Windows {
 public:
  /// Errors: InvalidArgument for an empty or overlapping window.
  [[nodiscard]] Result<void> add(MemorySpan memory, Iova iova);

  /// The device's address of `memory`, which must lie in one window.
  [[nodiscard]] std::optional<Iova> find(MemorySpan memory) const;

  /// As check_jobs() for the engine's longest job, and that each lies in a window. Errors: InvalidArgument,
  /// OutsideWindow; they name the job.
  [[nodiscard]] Result<void> check(std::span<const ScrubJob> jobs, const EngineCapabilities& engine) const;

 private:
  struct Window {
    MemorySpan memory;
    Iova iova;
    [[nodiscard]] bool holds(MemorySpan part) const {
      return part.data() >= memory.data() && part.size() <= memory.size() &&
             static_cast<std::size_t>(part.data() - memory.data()) <= memory.size() - part.size();
    }
  };
  [[nodiscard]] const Window* holder(MemorySpan memory) const;

  std::vector<Window> windows_;  // by address
};

}  // namespace sluice::inline engine
