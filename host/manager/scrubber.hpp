// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sluice/compose/job_splitter.hpp"
#include "sluice/manager/scrubber_config.hpp"
#include "sluice/manager/statistics.hpp"
#include "sluice/memory/extent_table.hpp"

namespace sluice::inline manager {

/// Whoever must know what became of a scrub. It may coalesce the extent and ask for more scrubs.
class ScrubListener {
 public:
  ScrubListener() = default;
  ScrubListener(const ScrubListener&) = delete;
  ScrubListener& operator=(const ScrubListener&) = delete;
  virtual ~ScrubListener() = default;

  /// Its scrub has failed: no claim has it any more when this returns, but for a test. It is cut then, and all pieces
  /// are let go.
  virtual void scrub_failed(Extent& extent) = 0;
  /// The same, and no engine will ever take it: a claim that needs it ends with this.
  virtual void scrub_refused(Extent& extent, const Error& why) = 0;
  /// No engine works on it any more.
  virtual void let_go(Extent& extent) = 0;
  /// The same, after a test: all of it held this pattern.
  virtual void pattern_held(Extent& extent, std::uint64_t pattern) = 0;
};

/// Turns Dirty extents into scrub jobs, urgent ones first, and completions into states of extents. Free Dirty extents
/// of the shared pool are its background queue: the oldest is next. Memory of dedicated pools waits for its pool.
///
/// An extent has one state, so it is cut into jobs as long as the host wants to wait for one of them. What an engine
/// can take, in which order, and whether it is to be believed, is JobSplitter's business.
///
/// Suspect memory is tested by the same jobs, when nothing is urgent. A pattern other than zeros leaves it Dirty and
/// nobody's. Where a page does not hold a pattern, or takes no stores, that page is Quarantined, and the rest is not.
///
/// A refusal of one job quarantines its memory, which would be refused for ever. When the engine has failed, what it
/// had is Quarantined and nothing more is submitted: fault().
///
/// Where the engine cannot verify, collect() reads memory back that is to be verified, which takes as long as reading
/// it does. Memory that does not hold what was written is Quarantined. So is what a persistent medium did not take:
/// collect() waits for BackingMemory::make_durable() before memory counts as Clean.
class Scrubber {
 public:
  Scrubber(std::unique_ptr<JobSplitter> engine, const BackingMemory& memory, ExtentTable& table, Statistics& statistics,
           const ScrubberConfig& config);

  /// Scrubs a claimed Dirty or Clean extent as soon as the engine takes it.
  void request_urgent(Extent& extent, Fill fill);
  /// Fills a claimed Dirty or Clean extent with a pattern and reads that back.
  void request_test(Extent& extent, std::uint64_t pattern);
  /// Forgets a request for a claimed extent whose job has not been submitted.
  void withdraw(Extent& extent);
  /// Asks a Scrubbing extent's job to stop.
  void cancel(Extent& extent);
  /// Somebody claims memory now: the host is not idle.
  void note_claim() { last_claim_ = now(); }

  /// Submits what the engine takes.
  void pump();
  /// Applies the completions that are there, and the refusals.
  void collect(ScrubListener& listener);
  /// The engine has refused jobs that collect() has not seen yet.
  [[nodiscard]] bool has_refusals() const { return !refused_.empty(); }

  /// Takes no more work.
  void close(const Error& reason) { stopped_ = reason; }
  /// Quarantines what is in flight and takes no more work. Returns the bytes that were in flight.
  ByteCount stop(const Error& reason);

  [[nodiscard]] int completion_fd() const noexcept { return engine_->completion_fd(); }
  [[nodiscard]] std::size_t jobs_in_flight() const { return in_flight_; }
  /// Something is in flight, or could be.
  [[nodiscard]] bool has_work() const;
  /// When the first scrub in the background is due that is not yet: it is scheduled, its rate says so, or the host will
  /// be idle then; by now().
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_scheduled() const;
  [[nodiscard]] std::chrono::nanoseconds now() const { return config_.clock ? config_.clock() : engine_->now(); }
  /// Why nothing can be scrubbed any more.
  [[nodiscard]] std::optional<Error> fault() const { return stopped_ ? stopped_ : engine_->fault(); }
  [[nodiscard]] const std::optional<Error>& last_refusal() const { return last_refusal_; }
  /// The longest extent that is scrubbed or tested while nobody waits for it, of such pages.
  [[nodiscard]] ByteCount longest_in_background(const Extent& extent) const {
    return table_.whole_pages(extent, config_.background_job_length);
  }

 private:
  struct Request {
    Extent* extent;
    Fill fill;
    Urgency urgency;
    std::chrono::nanoseconds rate_allowed{0};  ///< Background: rate_allows_ before it.
    bool test = false;
  };
  struct Job {
    Extent* extent = nullptr;  ///< nullptr: the cookie is free.
    JobId id;
    ScrubJob given;          ///< To the engine.
    bool read_back = false;  ///< By the scrubber, since the engine cannot verify.
    bool background = false;
    bool test = false;
    [[nodiscard]] bool verified() const { return read_back || reads_back(given.operation); }
  };
  struct Refused {
    std::uint32_t cookie;
    Error why;
  };
  using Requests = std::list<Request>;
  [[nodiscard]] Requests& queue_of(const Request& request) { return request.test ? tests_ : urgent_; }
  [[nodiscard]] std::optional<Request> next();
  void fill_batch();
  [[nodiscard]] Job job_of(const Request& request, std::uint32_t cookie) const;
  [[nodiscard]] bool submit_batch();
  void take_back(std::size_t from);
  [[nodiscard]] std::optional<std::chrono::nanoseconds> background_due() const;
  [[nodiscard]] bool background_is_due() const;
  [[nodiscard]] ByteCount clean_and_coming() const;
  [[nodiscard]] Job end_job(std::uint32_t cookie);
  void settle(const Completion& completion, const Job& job, ScrubListener& listener);
  void settle_written(const Job& job, ScrubListener& listener);
  void settle_failed(const Completion& completion, const Job& job, ScrubListener& listener);
  void settle_refused(const Error& why, ByteCount zeroed, const Job& job, ScrubListener& listener);
  [[nodiscard]] std::optional<Error> refusal(const Completion& completion) const;
  struct Parts;
  [[nodiscard]] bool make_durable(const Extent& extent);
  void scrub_zeroed(Extent& extent, const Job& job);
  void scrub_failed(Extent& extent);
  void end_in_parts(const Job& job, const Parts& parts, ScrubListener& listener);

  std::unique_ptr<JobSplitter> engine_;
  const BackingMemory& memory_;
  ExtentTable& table_;
  Statistics& statistics_;
  ScrubberConfig config_;
  Requests urgent_;
  Requests tests_;                                                   ///< After those.
  std::unordered_map<const Extent*, Requests::iterator> asked_for_;  ///< In either.
  std::vector<Job> jobs_;                                            ///< by cookie
  std::unordered_map<const Extent*, std::uint32_t> cookie_of_;
  std::vector<std::uint32_t> free_cookies_;
  std::vector<Request> batch_;  ///< Goes to the engine at once: one doorbell.
  std::vector<ScrubJob> batch_jobs_;
  std::vector<Refused> refused_;
  std::optional<std::chrono::nanoseconds> last_claim_;
  std::chrono::nanoseconds rate_allows_{0};  ///< The next scrub in the background.
  std::size_t in_flight_ = 0;
  ByteCount in_background_;  ///< In flight for nobody when it was submitted.
  std::optional<Error> stopped_;
  std::optional<Error> last_refusal_;
};

}  // namespace sluice::inline manager
