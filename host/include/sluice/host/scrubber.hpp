// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "sluice/driver/engine.hpp"
#include "sluice/host/extent_table.hpp"
#include "sluice/host/statistics.hpp"

namespace sluice {

struct ScrubberConfig {
  std::uint32_t max_jobs_in_flight = 32;            ///< At most what the engine takes.
  ByteCount background_job_length{64ULL << 20};     ///< Longer extents are scrubbed in pieces.
  bool background = true;                           ///< Scrub free memory that nobody has asked for yet.
  std::uint64_t seed = 1;                           ///< Of FillMethod::Random.
  std::function<std::chrono::nanoseconds()> clock;  ///< For scheduled scrubs; empty: Engine::now().
};

/// Turns Dirty extents into scrub jobs, urgent ones first, and completions into states of extents. Free Dirty extents
/// of the shared pool are its background queue: the oldest is next. Memory of dedicated pools waits for its pool.
class Scrubber {
 public:
  Scrubber(Engine& engine, ExtentTable& table, Statistics& statistics, const ScrubberConfig& config);

  /// Scrubs an earmarked Dirty or Clean extent as soon as the engine takes it.
  void request_urgent(Extent& extent, Fill fill);
  /// Forgets a request whose job has not been submitted.
  void withdraw(Extent& extent);
  /// Asks a Scrubbing extent's job to stop.
  void cancel(Extent& extent);

  /// Submits what the engine takes.
  void pump();
  /// Applies the completions that are there and tells of each extent that an engine has let go of. What is told may
  /// coalesce the extent and ask for more scrubs.
  void collect(const std::function<void(Extent&)>& let_go);

  /// Quarantines what is in flight and takes no more work. Returns the bytes that were in flight.
  ByteCount stop();

  [[nodiscard]] std::size_t jobs_in_flight() const { return in_flight_; }
  /// Something is in flight, or could be.
  [[nodiscard]] bool has_work() const;
  /// When the first scheduled scrub is due that is not yet; by now().
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_scheduled() const;
  [[nodiscard]] std::chrono::nanoseconds now() const { return config_.clock ? config_.clock() : engine_.now(); }
  /// Nothing can be scrubbed any more.
  [[nodiscard]] std::optional<Error> fault() const { return engine_.fault(); }

 private:
  struct Request {
    Extent* extent;
    Fill fill;
    Urgency urgency;
  };
  [[nodiscard]] std::optional<Request> next();
  [[nodiscard]] bool background_is_due() const;
  void settle(const Completion& completion, Extent& extent);

  Engine& engine_;
  ExtentTable& table_;
  Statistics& statistics_;
  ScrubberConfig config_;
  std::deque<Request> urgent_;
  std::vector<Extent*> extent_of_cookie_;
  std::vector<std::uint64_t> free_cookies_;
  std::mt19937_64 random_;
  std::size_t in_flight_ = 0;
  bool stopped_ = false;
};

}  // namespace sluice
