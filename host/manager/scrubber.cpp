// SPDX-License-Identifier: Apache-2.0
#include "sluice/manager/scrubber.hpp"

#include <algorithm>
#include <utility>

#include "sluice/base/enforce.hpp"

namespace sluice::inline manager {

Scrubber::Scrubber(Engine& engine, ExtentTable& table, Statistics& statistics, const ScrubberConfig& config)
    : engine_(engine), table_(table), statistics_(statistics), config_(config), random_(config.seed) {
  const std::size_t limit = std::min<std::size_t>(config.max_jobs_in_flight, engine.capabilities().max_jobs_in_flight);
  jobs_.resize(limit);
  for (std::size_t cookie = limit; cookie > 0; --cookie) {
    free_cookies_.push_back(static_cast<std::uint32_t>(cookie - 1));
  }
}

void Scrubber::request_urgent(Extent& extent, Fill fill) {
  // 0 is no ticket; the count goes round after 2^32 requests.
  if (first_ticket_ + static_cast<std::uint32_t>(urgent_.size()) == 0) urgent_.push_back({nullptr, {}, {}});
  table_.set_ticket(extent, first_ticket_ + static_cast<std::uint32_t>(urgent_.size()));
  urgent_.push_back({&extent, fill, Urgency::Urgent});
  ++urgent_waiting_;
}

void Scrubber::withdraw(Extent& extent) {
  const std::uint32_t ticket = table_.ticket(extent);
  if (ticket == 0) return;
  urgent_[ticket - first_ticket_].extent = nullptr;
  table_.set_ticket(extent, 0);
  --urgent_waiting_;
}

void Scrubber::cancel(const Extent& extent) {
  enforce(extent.state() == ExtentState::Scrubbing, "only a running scrub is cancelled");
  Job& job = jobs_[table_.cookie(extent)];
  // Whatever the answer, the Completion tells what came of it.
  static_cast<void>(engine_.cancel(job.id));
  table_.request_cancel(*job.extent);
}

bool Scrubber::has_work() const {
  const bool queued = urgent_waiting_ > 0 || background_is_due();
  return in_flight_ > 0 || (queued && !stopped_ && !engine_.fault());
}

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
  if (config_.clean_target.value() != ~0ULL && clean_and_coming() >= config_.clean_target) {
    due = std::max(due, last_claim_ + config_.idle_after);
  }
  return due;
}

bool Scrubber::background_is_due() const {
  const auto due = background_due();
  return due && (*due <= std::chrono::nanoseconds::zero() || *due <= now());
}

std::optional<std::chrono::nanoseconds> Scrubber::next_scheduled() const {
  const auto due = background_due();
  return due && *due > now() ? due : std::nullopt;
}

/// By the rate in the background.
std::chrono::nanoseconds Scrubber::time_for(ByteCount length) const {
  const double seconds = static_cast<double>(length.value()) / config_.background_rate;
  return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

/// What to scrub next. Whatever waits for a claim comes first, in the order in which it was asked for.
std::optional<Scrubber::Request> Scrubber::next() {
  while (!urgent_.empty()) {
    const Request request = urgent_.front();
    urgent_.pop_front();
    ++first_ticket_;
    if (request.extent == nullptr) continue;
    --urgent_waiting_;
    table_.set_ticket(*request.extent, 0);
    return request;
  }
  if (!background_is_due()) return std::nullopt;
  Extent* const extent = table_.next_due()->extent;
  const ByteCount longest = table_.whole_pages(*extent, config_.background_job_length);
  if (extent->length() > longest && table_.make_room(1)) table_.split(*extent, longest);
  if (config_.background_rate > 0.0) rate_allows_ = std::max(rate_allows_, now()) + time_for(extent->length());
  return Request{extent, table_.lineage(*extent).fill, Urgency::Background};
}

/// The engine did not take it: it waits again, as if cancelled before its start.
void Scrubber::put_back(const Request& request) {
  if (request.urgency == Urgency::Background) {
    if (config_.background_rate > 0.0) rate_allows_ -= time_for(request.extent->length());
    return;
  }
  urgent_.push_front(request);
  --first_ticket_;
  table_.set_ticket(*request.extent, first_ticket_);
  ++urgent_waiting_;
}

void Scrubber::pump() {
  if (stopped_ || free_cookies_.empty() || engine_.fault()) return;
  // All that fits goes in one batch: one doorbell.
  std::vector<Request> requests;
  std::vector<ScrubJob> jobs;
  while (jobs.size() < free_cookies_.size()) {
    const auto request = next();
    if (!request) break;
    const std::uint32_t cookie = free_cookies_[free_cookies_.size() - 1 - jobs.size()];
    const std::uint64_t pattern = request->fill.random ? random_() : request->fill.pattern;
    jobs.push_back({table_.memory(*request->extent), pattern, request->urgency, cookie});
    requests.push_back(*request);
    if (request->urgency == Urgency::Background) in_background_ += request->extent->length();
    table_.start_scrub(*request->extent, cookie);
  }
  if (jobs.empty()) return;
  std::vector<JobId> ids(jobs.size());
  const Result<std::size_t> accepted = engine_.submit(jobs, ids);
  const std::size_t count = accepted ? *accepted : 0;
  for (std::size_t index = 0; index < count; ++index) {
    jobs_[jobs[index].cookie] = {requests[index].extent, ids[index], jobs[index].pattern,
                                 requests[index].urgency == Urgency::Background};
    free_cookies_.pop_back();
  }
  in_flight_ += count;
  statistics_.scrub_jobs += count;
  for (std::size_t index = jobs.size(); index > count; --index) {
    const Request& request = requests[index - 1];
    if (request.urgency == Urgency::Background) in_background_ -= request.extent->length();
    table_.scrub_cancelled(*request.extent);
    put_back(request);
  }
}

void Scrubber::collect(const std::function<void(Extent&)>& let_go) {
  std::array<Completion, 32> completions;
  std::size_t count = completions.size();
  while (count == completions.size() && !stopped_) {
    count = engine_.poll(completions);
    for (std::size_t index = 0; index < count; ++index) {
      const Completion& completion = completions[index];
      enforce(completion.cookie < jobs_.size() && jobs_[completion.cookie].extent != nullptr,
              "every job gets exactly one completion");
      const Job job = std::exchange(jobs_[completion.cookie], {});
      enforce(job.id == completion.id, "a completion belongs to the job that was submitted");
      free_cookies_.push_back(static_cast<std::uint32_t>(completion.cookie));
      --in_flight_;
      if (job.background) in_background_ -= job.extent->length();
      settle(completion, job);
      let_go(*job.extent);
    }
  }
}

ByteCount Scrubber::stop() {
  ByteCount in_flight;
  for (Job& job : jobs_) {
    if (job.extent == nullptr) continue;
    in_flight += job.extent->length();
    table_.scrub_failed(*job.extent);
    job = {};
  }
  statistics_.quarantined += in_flight;
  in_flight_ = 0;
  in_background_ = {};
  stopped_ = true;
  return in_flight;
}

void Scrubber::settle(const Completion& completion, const Job& job) {
  Extent& extent = *job.extent;
  const bool was_cancelled = extent.state() == ExtentState::Cancelling;
  switch (completion.outcome) {
    case Outcome::Zeroed:
      enforce(completion.bytes_zeroed == extent.length(), "Zeroed means every byte");
      statistics_.scrubbed += extent.length();
      if (was_cancelled) ++statistics_.cancels_too_late;
      table_.scrub_zeroed(extent, job.pattern);
      return;
    case Outcome::Cancelled:
      ++statistics_.scrubs_cancelled;
      statistics_.scrubbed_before_cancel += completion.bytes_zeroed;
      statistics_.saved_by_cancel += extent.length() - completion.bytes_zeroed;
      table_.scrub_cancelled(extent);
      return;
    case Outcome::Failed:
      ++statistics_.scrubs_failed;
      statistics_.scrubbed_before_cancel += completion.bytes_zeroed;
      statistics_.quarantined += extent.length();
      table_.scrub_failed(extent);
      return;
  }
}

}  // namespace sluice::inline manager
