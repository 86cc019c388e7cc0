// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sluice/engine/engine.hpp"

namespace sluice::inline engine {

/// What every submit() asks of its arguments. Errors: InvalidArgument.
[[nodiscard]] Result<void> check_room(std::span<const ScrubJob> jobs, std::span<const JobId> ids);

/// The memory that an engine may write, with the device's address of each piece.
class Windows {
 public:
  /// Errors: InvalidArgument for an empty or overlapping window.
  [[nodiscard]] Result<void> add(MemorySpan memory, Iova iova);

  /// The device's address of `memory`, which must lie in one window.
  [[nodiscard]] std::optional<Iova> find(MemorySpan memory) const;

  /// Errors: InvalidArgument (empty, longer than max_length), OutsideWindow; they name the job.
  [[nodiscard]] Result<void> check(std::span<const ScrubJob> jobs, ByteCount max_length) const;

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
