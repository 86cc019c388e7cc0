// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "sluice/engine/engine.hpp"

namespace sluice::test {

/// What an engine can do wrong, or late.
enum class EngineMisdeed : std::uint8_t {
  Delay,           ///< Harmless: completions come late.
  Reorder,         ///< Harmless: in another order.
  Lose,            ///< One never comes.
  Duplicate,       ///< One comes twice.
  TooMany,         ///< One counts more bytes than the job has.
  TooFew,          ///< One says Zeroed and counts less than the job has.
  ForeignJob,      ///< One is of a job that there never was.
  Error,           ///< One fails; the engine goes on.
  Stall,           ///< None comes any more, and the engine does not say so.
  Death,           ///< The engine says that it has failed, and what is in flight fails.
  UnknownEnd,      ///< One ends in a way that there is not.
  TakesTooMany,    ///< submit() says that it took more than it was given.
  ReturnsTooMany,  ///< poll() says that it wrote more than there is room for.
  Refuses,         ///< It takes nothing any more, as if it were busy.
  ThrowsInSubmit,
  ThrowsInPoll,
  ThrowsInFault,
};

inline constexpr EngineMisdeed kMisdeeds[] = {
    EngineMisdeed::Delay,          EngineMisdeed::Reorder, EngineMisdeed::Lose,           EngineMisdeed::Duplicate,
    EngineMisdeed::TooMany,        EngineMisdeed::TooFew,  EngineMisdeed::ForeignJob,     EngineMisdeed::Error,
    EngineMisdeed::Stall,          EngineMisdeed::Death,   EngineMisdeed::UnknownEnd,     EngineMisdeed::TakesTooMany,
    EngineMisdeed::ReturnsTooMany, EngineMisdeed::Refuses, EngineMisdeed::ThrowsInSubmit, EngineMisdeed::ThrowsInPoll,
    EngineMisdeed::ThrowsInFault};

/// Whether the memory of some job may be in doubt after it.
inline bool is_harmful(EngineMisdeed misdeed) {
  return misdeed != EngineMisdeed::Delay && misdeed != EngineMisdeed::Reorder;
}

inline std::string to_string(EngineMisdeed misdeed) {
  static constexpr const char* kNames[] = {
      "Delay",          "Reorder", "Lose",           "Duplicate",    "TooMany",      "TooFew",
      "ForeignJob",     "Error",   "Stall",          "Death",        "UnknownEnd",   "TakesTooMany",
      "ReturnsTooMany", "Refuses", "ThrowsInSubmit", "ThrowsInPoll", "ThrowsInFault"};
  return kNames[static_cast<std::size_t>(misdeed)];
}

/// Any engine, with one misdeed: harmless ones all the time, others at the nth completion. Repeatable by its seed.
class FaultyEngine final : public Engine {
 public:
  FaultyEngine(std::unique_ptr<Engine> engine, EngineMisdeed misdeed, std::uint64_t nth, std::uint64_t seed)
      : engine_(std::move(engine)),
        capabilities_(engine_->capabilities()),
        misdeed_(misdeed),
        nth_(nth),
        random_(seed) {
    capabilities_.concurrent_calls = false;
  }

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override {
    if (fault_) return *fault_;
    if (done_ && misdeed_ == EngineMisdeed::ThrowsInSubmit) throw std::runtime_error("submit() of a faulty engine");
    if (done_ && misdeed_ == EngineMisdeed::Refuses) return Error{DriverErrc::Busy, "busy for ever"};
    auto accepted = engine_->submit(jobs, ids);
    if (done_ && misdeed_ == EngineMisdeed::TakesTooMany) return jobs.size() + 7;
    for (std::size_t job = 0; accepted && job < *accepted; ++job) in_flight_.push_back({ids[job], jobs[job].cookie});
    return accepted;
  }
  CancelResult cancel(JobId id) override {
    for (const Completion& completion : held_) {
      if (completion.id == id) return CancelResult::AlreadyFinished;
    }
    return engine_->cancel(id);
  }
  [[nodiscard]] std::uint64_t progress() override { return engine_->progress(); }
  [[nodiscard]] bool reaches(MemorySpan memory) const override { return engine_->reaches(memory); }
  [[nodiscard]] std::optional<Error> fault() const override {
    if (done_ && misdeed_ == EngineMisdeed::ThrowsInFault) throw std::runtime_error("fault() of a faulty engine");
    return fault_ ? fault_ : engine_->fault();
  }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return engine_->now(); }

  std::size_t poll(std::span<Completion> out) override {
    Completion completion;
    while (engine_->poll({&completion, 1}) != 0) receive(completion);
    ++polls_;
    if (done_ && misdeed_ == EngineMisdeed::ReturnsTooMany) return out.size() + 1;
    std::size_t count = 0;
    while (count < out.size() && !held_.empty() && !stalled_) {
      if (misdeed_ == EngineMisdeed::Delay && polls_ % 7 != 0) break;
      auto next = held_.begin();
      if (misdeed_ == EngineMisdeed::Reorder) next += static_cast<std::ptrdiff_t>(random_() % held_.size());
      out[count++] = *next;
      held_.erase(next);
    }
    return count;
  }

 private:
  struct InFlight {
    JobId id;
    std::uint64_t cookie;
  };

  void receive(Completion completion) {
    if (fault_) return;  // reported already
    std::erase_if(in_flight_, [&](const InFlight& flight) { return flight.id == completion.id; });
    if (++seen_ == nth_) {
      done_ = true;
      switch (misdeed_) {
        case EngineMisdeed::Delay:
        case EngineMisdeed::Reorder:
        case EngineMisdeed::TakesTooMany:
        case EngineMisdeed::ReturnsTooMany:
        case EngineMisdeed::Refuses:
        case EngineMisdeed::ThrowsInSubmit:
        case EngineMisdeed::ThrowsInFault:
          break;
        case EngineMisdeed::ThrowsInPoll:
          throw std::runtime_error("poll() of a faulty engine");
        case EngineMisdeed::UnknownEnd:
          completion.outcome = static_cast<Outcome>(77);
          break;
        case EngineMisdeed::Lose:
          return;
        case EngineMisdeed::Duplicate:
          held_.push_back(completion);
          break;
        case EngineMisdeed::TooMany:
          completion.bytes_zeroed += ByteCount(1ULL << 41);
          break;
        case EngineMisdeed::TooFew:
          completion.outcome = Outcome::Zeroed;
          completion.cause = FailureCause::None;
          completion.bytes_zeroed = ByteCount(0);
          break;
        case EngineMisdeed::ForeignJob:
          held_.push_back({{completion.id.slot, completion.id.generation + 1'000'000},
                           completion.cookie + 1'000'000,
                           Outcome::Zeroed,
                           FailureCause::None,
                           ByteCount(4096)});
          break;
        case EngineMisdeed::Error:
          completion.outcome = Outcome::Failed;
          completion.cause = FailureCause::SlaveError;
          completion.bytes_zeroed = ByteCount(0);
          break;
        case EngineMisdeed::Stall:
          stalled_ = true;
          break;
        case EngineMisdeed::Death:
          fault_ = Error{DriverErrc::EngineFailed, "the device is gone"};
          held_.push_back({completion.id, completion.cookie, Outcome::Failed, FailureCause::EngineFault, ByteCount(0)});
          for (const InFlight& flight : in_flight_) {
            held_.push_back({flight.id, flight.cookie, Outcome::Failed, FailureCause::EngineFault, ByteCount(0)});
          }
          return;
      }
    }
    held_.push_back(completion);
  }

  std::unique_ptr<Engine> engine_;
  EngineCapabilities capabilities_;
  EngineMisdeed misdeed_;
  std::uint64_t nth_;
  std::mt19937_64 random_;
  std::vector<InFlight> in_flight_;
  std::deque<Completion> held_;
  std::optional<Error> fault_;
  std::uint64_t seen_ = 0;
  std::uint64_t polls_ = 0;
  bool stalled_ = false;
  bool done_ = false;  // the misdeed
};

}  // namespace sluice::test
