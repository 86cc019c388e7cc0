// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/manager/statistics.hpp"
#include "sluice/memory/extent_table.hpp"

namespace sluice::inline manager {

struct ScrubberConfig {
  std::uint32_t max_jobs_in_flight = 32;         ///< At most what the engine takes.
  ByteCount background_job_length{64ULL << 20};  ///< Longer extents are scrubbed in pieces.
  bool background = true;                        ///< Scrub free memory that nobody has asked for yet.
  /// In the background only until so much of the shared pool is clean, and the rest when nobody has claimed memory for
  /// `idle_after`.
  ByteCount clean_target{~0ULL};
  std::chrono::nanoseconds idle_after{std::chrono::seconds(1)};
  double background_rate = 0.0;                     ///< bytes/s, at most, in the background; 0: as the engine can.
  std::uint64_t seed = 1;                           ///< Of FillMethod::Random.
  std::function<std::chrono::nanoseconds()> clock;  ///< For all of these; empty: Engine::now().
};

/// Turns Dirty extents into scrub jobs, urgent ones first, and completions into states of extents. Free Dirty extents
/// of the shared pool are its background queue: the oldest is next. Memory of dedicated pools waits for its pool.
class Scrubber {
 public:
  Scrubber(Engine& engine, ExtentTable& table, Statistics& statistics, const ScrubberConfig& config);

  /// Scrubs an earmarked Dirty or Clean extent as soon as the engine takes it.
  void request_urgent(Extent& extent, Fill fill);
  /// Forgets a request for an earmarked extent whose job has not been submitted.
  void withdraw(Extent& extent);
  /// Asks a Scrubbing extent's job to stop.
  void cancel(const Extent& extent);
  /// Somebody claims memory now: the host is not idle.
  void note_claim() { last_claim_ = now(); }

  /// Submits what the engine takes.
  void pump();
  /// Applies the completions that are there and tells of each extent that an engine has let go of. What is told may
  /// coalesce the extent and ask for more scrubs.
  void collect(const std::function<void(Extent&)>& let_go);

  /// Quarantines what is in flight and takes no more work. Returns the bytes that were in flight.
  ByteCount stop();

  [[nodiscard]] int completion_fd() const noexcept { return engine_.completion_fd(); }
  [[nodiscard]] std::size_t jobs_in_flight() const { return in_flight_; }
  /// Something is in flight, or could be.
  [[nodiscard]] bool has_work() const;
  /// When the first scrub in the background is due that is not yet: it is scheduled, its rate says so, or the host will
  /// be idle then; by now().
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_scheduled() const;
  [[nodiscard]] std::chrono::nanoseconds now() const { return config_.clock ? config_.clock() : engine_.now(); }
  /// Nothing can be scrubbed any more.
  [[nodiscard]] std::optional<Error> fault() const { return engine_.fault(); }

 private:
  struct Request {
    Extent* extent;  ///< nullptr: it was withdrawn.
    Fill fill;
    Urgency urgency;
  };
  struct Job {
    Extent* extent = nullptr;  ///< nullptr: the cookie is free.
    JobId id;
    std::uint64_t pattern = 0;
    bool background = false;
  };
  [[nodiscard]] std::optional<Request> next();
  void put_back(const Request& request);
  [[nodiscard]] std::optional<std::chrono::nanoseconds> background_due() const;
  [[nodiscard]] bool background_is_due() const;
  [[nodiscard]] ByteCount clean_and_coming() const;
  [[nodiscard]] std::chrono::nanoseconds time_for(ByteCount length) const;
  void settle(const Completion& completion, const Job& job);

  Engine& engine_;
  ExtentTable& table_;
  Statistics& statistics_;
  ScrubberConfig config_;
  std::deque<Request> urgent_;
  std::uint32_t first_ticket_ = 1U << 31;  ///< Of urgent_.front(); those behind it count on.
  std::size_t urgent_waiting_ = 0;         ///< Not withdrawn.
  std::vector<Job> jobs_;                  ///< by cookie
  std::vector<std::uint32_t> free_cookies_;
  std::mt19937_64 random_;
  std::chrono::nanoseconds last_claim_{std::chrono::nanoseconds::min() / 2};
  std::chrono::nanoseconds rate_allows_{0};  ///< The next scrub in the background.
  std::size_t in_flight_ = 0;
  ByteCount in_background_;  ///< In flight for nobody when it was submitted.
  bool stopped_ = false;
};

}  // namespace sluice::inline manager
