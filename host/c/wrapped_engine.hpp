// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/sluice.h"

namespace sluice::c {

/// An engine that the caller of the C interface owns. It is trusted with the memory and with nothing else: an answer
/// that cannot be true ends it. All its jobs fail then, their memory is quarantined, and fault() says what it said.
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
    std::uint64_t length;
  };
  static JobId name_of(std::uint64_t number) {
    return {static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32)};
  }
  template <class Call>
  auto call(const char* function, Call operation) const -> decltype(operation());
  void give_up(std::string why) const;
  [[nodiscard]] bool take(const sluice_completion& completion, Completion& out);

  sluice_engine_operations operations_;
  void* context_;
  EngineCapabilities capabilities_;
  std::vector<Running> running_;
  std::uint64_t next_ = 1ULL << 32;  ///< A generation is never 0.
  std::uint64_t ended_ = 0;
  mutable std::string given_up_;  ///< Why; fault(), which may throw too, sets it as well.
};

}  // namespace sluice::c
