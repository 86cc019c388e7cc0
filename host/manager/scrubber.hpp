// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <list>
#include <optional>
#include <random>
#include <unordered_map>
#include <vector>

#include "sluice/manager/scrubber_config.hpp"
#include "sluice/manager/statistics.hpp"
#include "sluice/memory/extent_table.hpp"
#include "watched_engine.hpp"

namespace sluice::inline manager {

/// Whoever must know what became of a scrub. It may coalesce the extent and ask for more scrubs.
class ScrubListener {
 public:
  ScrubListener() = default;
  ScrubListener(const ScrubListener&) = delete;
  ScrubListener& operator=(const ScrubListener&) = delete;
  virtual ~ScrubListener() = default;

  /// Its scrub has failed: no claim has it any more when this returns. It is cut then, and all pieces are let go.
  virtual void scrub_failed(Extent& extent) = 0;
  /// No engine works on it any more.
  virtual void let_go(Extent& extent) = 0;
};

/// Turns Dirty extents into scrub jobs, urgent ones first, and completions into states of extents. Free Dirty extents
/// of the shared pool are its background queue: the oldest is next. Memory of dedicated pools waits for its pool.
///
/// Only Busy is tried again. Any other refusal is a fault: what is in flight goes on, nothing more is submitted. An
/// engine that says what cannot be is given up: what is in flight is Quarantined.
class Scrubber {
 public:
  Scrubber(Engine& engine, ExtentTable& table, Statistics& statistics, const ScrubberConfig& config);

  /// Scrubs a claimed Dirty or Clean extent as soon as the engine takes it.
  void request_urgent(Extent& extent, Fill fill);
  /// Forgets a request for a claimed extent whose job has not been submitted.
  void withdraw(Extent& extent);
  /// Asks a Scrubbing extent's job to stop.
  void cancel(Extent& extent);
  /// Somebody claims memory now: the host is not idle.
  void note_claim() { last_claim_ = now(); }

  /// Submits what the engine takes.
  void pump();
  /// Applies the completions that are there.
  void collect(ScrubListener& listener);

  /// Takes no more work.
  void close(const Error& reason) { fault_ = reason; }
  /// Quarantines what is in flight and takes no more work. Returns the bytes that were in flight.
  ByteCount stop(const Error& reason);

  [[nodiscard]] int completion_fd() const noexcept { return engine_.completion_fd(); }
  [[nodiscard]] std::size_t jobs_in_flight() const { return in_flight_; }
  /// Something is in flight, or could be.
  [[nodiscard]] bool has_work() const;
  /// When the first scrub in the background is due that is not yet: it is scheduled, its rate says so, or the host will
  /// be idle then; by now().
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_scheduled() const;
  [[nodiscard]] std::chrono::nanoseconds now() const { return config_.clock ? config_.clock() : engine_.now(); }
  /// Why nothing can be scrubbed any more.
  [[nodiscard]] std::optional<Error> fault() const { return fault_ ? fault_ : engine_.fault(); }

 private:
  struct Request {
    Extent* extent;
    Fill fill;
    Urgency urgency;
    std::chrono::nanoseconds rate_allowed{0};  ///< Background: rate_allows_ before it.
  };
  struct Job {
    Extent* extent = nullptr;  ///< nullptr: the cookie is free.
    JobId id;
    std::uint64_t pattern = 0;
    bool background = false;
  };
  [[nodiscard]] std::optional<Request> next();
  void take_back(const Request& request, std::uint32_t cookie);
  [[nodiscard]] std::optional<std::chrono::nanoseconds> background_due() const;
  [[nodiscard]] bool background_is_due() const;
  [[nodiscard]] ByteCount clean_and_coming() const;
  void end_job(const Completion& completion, ScrubListener& listener);
  void settle(const Completion& completion, const Job& job, ScrubListener& listener);
  void settle_failed(const Completion& completion, const Job& job, ScrubListener& listener);
  ByteCount quarantine_all();

  mutable WatchedEngine engine_;
  ExtentTable& table_;
  Statistics& statistics_;
  ScrubberConfig config_;
  ByteCount longest_job_;
  std::list<Request> urgent_;
  std::unordered_map<const Extent*, std::list<Request>::iterator> urgent_of_;
  std::vector<Job> jobs_;  ///< by cookie
  std::unordered_map<const Extent*, std::uint32_t> cookie_of_;
  std::vector<std::uint32_t> free_cookies_;
  std::mt19937_64 random_;
  std::optional<std::chrono::nanoseconds> last_claim_;
  std::chrono::nanoseconds rate_allows_{0};  ///< The next scrub in the background.
  std::size_t in_flight_ = 0;
  ByteCount in_background_;  ///< In flight for nobody when it was submitted.
  bool refused_ = false;     ///< The engine was too busy for the last jobs.
  bool advanced_ = false;    ///< The engine has accepted or ended jobs since it was last looked at.
  std::optional<Error> fault_;
};

}  // namespace sluice::inline manager
