// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/sluice.h"

namespace sluice::c {

/// An engine that the caller of the C interface owns. Believes what it says and lets through what it throws: it is
/// given to managers alone, whose JobSplitter keeps its longest job, and gives up one whose answers cannot be true.
class WrappedEngine final : public Engine {
 public:
  WrappedEngine(const sluice_engine_operations& operations, void* context);

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override;
  CancelResult cancel(JobId id) override;
  std::size_t poll(std::span<Completion> out) override;
  [[nodiscard]] std::uint64_t progress() override { return ended_; }
  [[nodiscard]] bool reaches(MemorySpan /*memory*/) const override { return true; }
  [[nodiscard]] std::optional<Error> fault() const override;
  [[nodiscard]] std::chrono::nanoseconds now() const override {
    return std::chrono::steady_clock::now().time_since_epoch();
  }

 private:
  struct Running {
    std::uint64_t number;
    std::uint64_t cookie;
  };
  [[nodiscard]] std::vector<Running>::iterator find(std::uint64_t number);
  [[nodiscard]] Completion take(const sluice_completion& completion);

  sluice_engine_operations operations_;
  void* context_;
  EngineCapabilities capabilities_;
  std::vector<Running> running_;
  std::uint64_t next_ = 1ULL << 32;  ///< A generation is never 0.
  std::uint64_t ended_ = 0;
};

}  // namespace sluice::c
