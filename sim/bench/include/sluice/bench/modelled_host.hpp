// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <stdexcept>

#include "sluice/engine/engine.hpp"
#include "sluice/memory/backing_memory.hpp"

namespace sluice::bench {

/// Writes nothing: every job is over when it is looked at. What remains is the cost of the books.
class NullEngine final : public Engine {
 public:
  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override {
    for (std::size_t index = 0; index < jobs.size(); ++index) {
      ids[index] = {0, ++next_};
      done_.push_back(
          {ids[index], jobs[index].cookie, Outcome::Zeroed, FailureCause::None, ByteCount(jobs[index].memory.size())});
    }
    return jobs.size();
  }
  CancelResult cancel(JobId) override { return CancelResult::AlreadyFinished; }
  std::size_t poll(std::span<Completion> out) override {
    const std::size_t count = std::min(out.size(), done_.size());
    std::copy_n(done_.begin(), count, out.begin());
    done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
  }
  [[nodiscard]] std::uint64_t progress() override { return 0; }
  [[nodiscard]] bool reaches(MemorySpan /*memory*/) const override { return true; }
  [[nodiscard]] std::optional<Error> fault() const override { return std::nullopt; }
  [[nodiscard]] std::chrono::nanoseconds now() const override {
    return std::chrono::steady_clock::now().time_since_epoch();
  }

 private:
  EngineCapabilities capabilities_{"null", 1024, ByteCount(1ULL << 40), false};
  std::deque<Completion> done_;
  std::uint32_t next_ = 0;
};

/// Addresses that nothing is behind, with an empty file for a ledger to know them by.
class ModelledMemory final : public BackingMemory {
 public:
  explicit ModelledMemory(ByteCount length) : file_(::memfd_create("modelled", MFD_CLOEXEC)) {
    void* const base = ::mmap(nullptr, length.value(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED || file_ < 0) {
      throw std::runtime_error(fmt::format("no room for {} bytes of addresses", length.value()));
    }
    brick_.memory = {static_cast<std::byte*>(base), length.value()};
    brick_.fd = file_;
  }
  ~ModelledMemory() override {
    ::munmap(brick_.memory.data(), brick_.memory.size());
    ::close(file_);
  }

  [[nodiscard]] std::span<const Brick> bricks() const override { return {&brick_, 1}; }
  [[nodiscard]] ByteCount length() const { return length_of(brick_.memory); }

 private:
  int file_;
  Brick brick_;
};

}  // namespace sluice::bench
