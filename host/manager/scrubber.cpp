// SPDX-License-Identifier: Apache-2.0
#include "scrubber.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "saturating.hpp"
#include "sluice/base/enforce.hpp"

namespace sluice::inline manager {
namespace {

/// What a completion says that cannot be true of its job; empty: nothing.
std::string contradiction(const Completion& completion, ByteCount length) {
  const std::string job = fmt::format("of a job of {} bytes it said ", length.value());
  switch (completion.outcome) {
    case Outcome::Zeroed:
      if (completion.bytes_zeroed == length) return "";
      return job + fmt::format("that all was zeroed, and that {} bytes were", completion.bytes_zeroed.value());
    case Outcome::Cancelled:
      if (completion.bytes_zeroed <= length) return "";
      return job + fmt::format("that {} bytes were zeroed", completion.bytes_zeroed.value());
    case Outcome::Failed:
      if (completion.bytes_zeroed <= length && completion.bytes_unaffected <= length - completion.bytes_zeroed) {
        return "";
      }
      return job + fmt::format("that {} bytes were zeroed and {} unaffected", completion.bytes_zeroed.value(),
                               completion.bytes_unaffected.value());
  }
  return job + fmt::format("outcome {}, which there is not", static_cast<unsigned>(completion.outcome));
}

/// Whether the engine still knows what it has written: the memory answered, and it was not the engine that failed.
bool proves_prefix(FailureCause cause) {
  switch (cause) {
    case FailureCause::SlaveError:
    case FailureCause::DecodeError:
      return true;
    case FailureCause::None:
    case FailureCause::BadDescriptor:
    case FailureCause::OutsideWindow:
    case FailureCause::Timeout:
    case FailureCause::EngineFault:
    case FailureCause::Mismatch:
      return false;
  }
  return false;
}

}  // namespace

Scrubber::Scrubber(Engine& engine, ExtentTable& table, Statistics& statistics, const ScrubberConfig& config)
    : engine_(engine, config.stall_timeout),
      table_(table),
      statistics_(statistics),
      config_(config),
      longest_job_(std::min(config.background_job_length, engine.capabilities().max_job_length)),
      random_(config.seed) {
  const std::size_t limit = std::min<std::size_t>(config.max_jobs_in_flight, engine.capabilities().max_jobs_in_flight);
  jobs_.resize(limit);
  for (std::size_t cookie = limit; cookie > 0; --cookie) {
    free_cookies_.push_back(static_cast<std::uint32_t>(cookie - 1));
  }
}

void Scrubber::request_urgent(Extent& extent, Fill fill) {
  urgent_of_[&extent] = urgent_.insert(urgent_.end(), {&extent, fill, Urgency::Urgent});
}

void Scrubber::withdraw(Extent& extent) {
  const auto found = urgent_of_.find(&extent);
  if (found == urgent_of_.end()) return;
  urgent_.erase(found->second);
  urgent_of_.erase(found);
}

void Scrubber::cancel(Extent& extent) {
  enforce(extent.state() == ExtentState::Scrubbing, "only a running scrub is cancelled");
  engine_.cancel(jobs_[cookie_of_.at(&extent)].id);
  table_.request_cancel(extent);
}

bool Scrubber::has_work() const { return in_flight_ > 0 || ((!urgent_.empty() || background_is_due()) && !fault()); }

/// Of the shared pool: free and clean, or free and being scrubbed.
ByteCount Scrubber::clean_and_coming() const {
  ByteCount bytes;
  for (std::uint32_t zone = 0; zone < table_.zones().size(); ++zone) {
    bytes += table_.clean_bytes({}, zone);
  }
  return bytes + in_background_;
}

/// When the next scrub in the background may start; nullopt: there is nothing to scrub.
std::optional<std::chrono::nanoseconds> Scrubber::background_due() const {
  if (!config_.background) return std::nullopt;
  const auto next = table_.next_due();
  if (!next) return std::nullopt;
  std::chrono::nanoseconds due = std::max(next->time, rate_allows_);
  const bool enough = config_.clean_target.value() != ~0ULL && clean_and_coming() >= config_.clean_target;
  if (enough && last_claim_) due = std::max(due, add_saturating(*last_claim_, config_.idle_after));
  return due;
}

bool Scrubber::background_is_due() const {
  const auto due = background_due();
  return due && (*due <= std::chrono::nanoseconds::zero() || *due <= now());
}

std::optional<std::chrono::nanoseconds> Scrubber::next_scheduled() const {
  if (fault()) return std::nullopt;
  const auto due = background_due();
  return due && *due > now() ? due : std::nullopt;
}

/// What to scrub next. Whatever waits for a claim comes first, in the order in which it was asked for.
std::optional<Scrubber::Request> Scrubber::next() {
  if (!urgent_.empty()) {
    const Request request = urgent_.front();
    urgent_of_.erase(request.extent);
    urgent_.pop_front();
    return request;
  }
  if (!background_is_due()) return std::nullopt;
  Extent* const extent = table_.next_due()->extent;
  const ByteCount longest = table_.whole_pages(*extent, longest_job_);
  if (extent->length() > longest && table_.make_room(1)) table_.split(*extent, longest);
  const Request request{extent, table_.lineage(*extent).fill, Urgency::Background, rate_allows_};
  if (config_.background_rate > 0.0) {
    const double seconds = static_cast<double>(extent->length().value()) / config_.background_rate;
    rate_allows_ = add_saturating(std::max(rate_allows_, now()), nanoseconds_of(seconds));
  }
  return request;
}

/// The engine did not take it: it waits again, as if cancelled before its start.
void Scrubber::take_back(const Request& request, std::uint32_t cookie) {
  Extent& extent = *request.extent;
  jobs_[cookie] = {};
  cookie_of_.erase(&extent);
  free_cookies_.push_back(cookie);
  --in_flight_;
  table_.scrub_cancelled(extent);
  if (request.urgency == Urgency::Urgent) {
    urgent_of_[&extent] = urgent_.insert(urgent_.begin(), request);
    return;
  }
  in_background_ -= extent.length();
  rate_allows_ = request.rate_allowed;
  table_.coalesce(extent);
}

void Scrubber::pump() {
  if (engine_.broken()) {
    quarantine_all();
    return;
  }
  if (free_cookies_.empty() || fault()) return;
  // All that fits goes in one batch: one doorbell.
  std::vector<Request> requests;
  std::vector<ScrubJob> jobs;
  while (!free_cookies_.empty()) {
    const auto request = next();
    if (!request) break;
    Extent& extent = *request->extent;
    const bool background = request->urgency == Urgency::Background;
    const std::uint32_t cookie = free_cookies_.back();
    free_cookies_.pop_back();
    const std::uint64_t pattern = request->fill.random ? random_() : request->fill.pattern;
    jobs.push_back({table_.memory(extent), pattern, request->urgency, cookie});
    requests.push_back(*request);
    jobs_[cookie] = {&extent, {}, pattern, background};
    cookie_of_[&extent] = cookie;
    ++in_flight_;
    if (background) in_background_ += extent.length();
    table_.start_scrub(extent);
  }
  if (jobs.empty()) return;
  std::vector<JobId> ids(jobs.size());
  const Result<std::size_t> accepted = engine_.submit(jobs, ids);
  if (engine_.broken()) {
    quarantine_all();
    return;
  }
  const std::size_t count = accepted ? *accepted : 0;
  for (std::size_t index = 0; index < count; ++index) jobs_[jobs[index].cookie].id = ids[index];
  for (std::size_t index = jobs.size(); index > count; --index) {
    take_back(requests[index - 1], static_cast<std::uint32_t>(jobs[index - 1].cookie));
  }
  statistics_.scrub_jobs += count;
  refused_ = count < jobs.size();
  advanced_ = advanced_ || count > 0;
  if (!accepted) fault_ = accepted.error();
}

void Scrubber::collect(ScrubListener& listener) {
  std::array<Completion, 32> completions;
  std::size_t count = completions.size();
  while (count == completions.size() && !engine_.broken() && in_flight_ > 0) {
    count = engine_.poll(completions);
    advanced_ = advanced_ || count > 0;
    for (std::size_t index = 0; index < count && !engine_.broken(); ++index) end_job(completions[index], listener);
  }
  engine_.watch(in_flight_ > 0 || refused_, std::exchange(advanced_, false));
  if (engine_.broken()) quarantine_all();
}

void Scrubber::end_job(const Completion& completion, ScrubListener& listener) {
  if (completion.cookie >= jobs_.size() || jobs_[completion.cookie].extent == nullptr) {
    engine_.distrust(fmt::format("completed job {} that it does not have", completion.cookie));
    return;
  }
  if (jobs_[completion.cookie].id != completion.id) {
    engine_.distrust(fmt::format("completed job {} under another name", completion.cookie));
    return;
  }
  if (auto lie = contradiction(completion, jobs_[completion.cookie].extent->length()); !lie.empty()) {
    engine_.distrust(lie);
    return;
  }
  const Job job = std::exchange(jobs_[completion.cookie], {});
  cookie_of_.erase(job.extent);
  free_cookies_.push_back(static_cast<std::uint32_t>(completion.cookie));
  --in_flight_;
  if (job.background) in_background_ -= job.extent->length();
  settle(completion, job, listener);
}

ByteCount Scrubber::stop(const Error& reason) {
  fault_ = reason;
  urgent_.clear();
  urgent_of_.clear();
  return quarantine_all();
}

/// Nobody knows what the engine still writes.
ByteCount Scrubber::quarantine_all() {
  ByteCount in_flight;
  for (std::size_t cookie = 0; cookie < jobs_.size(); ++cookie) {
    const Job job = std::exchange(jobs_[cookie], {});
    if (job.extent == nullptr) continue;
    in_flight += job.extent->length();
    table_.scrub_failed(*job.extent);
  }
  cookie_of_.clear();
  statistics_.quarantined += in_flight;
  in_flight_ = 0;
  in_background_ = {};
  return in_flight;
}

void Scrubber::settle(const Completion& completion, const Job& job, ScrubListener& listener) {
  Extent& extent = *job.extent;
  const bool was_cancelled = extent.state() == ExtentState::Cancelling;
  switch (completion.outcome) {
    case Outcome::Zeroed:
      statistics_.scrubbed += extent.length();
      if (was_cancelled) ++statistics_.cancels_too_late;
      table_.scrub_zeroed(extent, job.pattern);
      break;
    case Outcome::Cancelled:
      ++statistics_.scrubs_cancelled;
      statistics_.scrubbed_before_cancel += completion.bytes_zeroed;
      statistics_.saved_by_cancel += extent.length() - completion.bytes_zeroed;
      table_.scrub_cancelled(extent);
      break;
    case Outcome::Failed:
      settle_failed(completion, job, listener);
      return;
  }
  listener.let_go(extent);
}

/// What was written for certain is clean, what the failure does not concern is dirty as before, and at least one page
/// is quarantined: a scrub that fails for ever must end.
void Scrubber::settle_failed(const Completion& completion, const Job& job, ScrubListener& listener) {
  Extent& extent = *job.extent;
  ++statistics_.scrubs_failed;
  statistics_.scrubbed_before_cancel += completion.bytes_zeroed;
  listener.scrub_failed(extent);
  const std::uint64_t page = table_.whole_pages(extent, ByteCount(0)).value();
  const auto whole = [page](ByteCount length) { return length.value() / page * page; };
  std::uint64_t clean = proves_prefix(completion.cause) ? whole(completion.bytes_zeroed) : 0;
  std::uint64_t dirty = whole(completion.bytes_unaffected);
  if (clean + dirty == extent.length().value()) (dirty > 0 ? dirty : clean) -= page;
  if (!table_.make_room(2)) clean = dirty = 0;
  Extent* doubtful = &extent;
  if (clean > 0) {
    doubtful = &table_.cut_ended(extent, ByteCount(clean));
    table_.scrub_zeroed(extent, job.pattern);
    listener.let_go(extent);
  }
  if (dirty > 0) {
    Extent& rest = table_.cut_ended(*doubtful, doubtful->length() - ByteCount(dirty));
    table_.scrub_cancelled(rest);
    listener.let_go(rest);
  }
  statistics_.quarantined += doubtful->length();
  table_.scrub_failed(*doubtful);
  listener.let_go(*doubtful);
}

}  // namespace sluice::inline manager
