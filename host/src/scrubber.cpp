// SPDX-License-Identifier: Apache-2.0
#include "sluice/host/scrubber.hpp"

#include <algorithm>

#include "enforce.hpp"

namespace sluice {

Scrubber::Scrubber(Engine& engine, ExtentTable& table, Statistics& statistics, const ScrubberConfig& config)
    : engine_(engine), table_(table), statistics_(statistics), config_(config), random_(config.seed) {
  const std::size_t limit = std::min<std::size_t>(config.max_jobs_in_flight, engine.capabilities().max_jobs_in_flight);
  extent_of_cookie_.resize(limit);
  for (std::size_t cookie = limit; cookie > 0; --cookie) free_cookies_.push_back(cookie - 1);
}

void Scrubber::request_urgent(Extent& extent, Fill fill) { urgent_.push_back({&extent, fill, Urgency::Urgent}); }

void Scrubber::withdraw(Extent& extent) {
  std::erase_if(urgent_, [&](const Request& request) { return request.extent == &extent; });
}

void Scrubber::cancel(Extent& extent) {
  enforce(extent.state == ExtentState::Scrubbing, "only a running scrub is cancelled");
  // Whatever the answer, the Completion tells what came of it.
  static_cast<void>(engine_.cancel(extent.job));
  table_.transition(extent, ExtentEvent::RequestCancel);
}

bool Scrubber::has_work() const {
  const bool queued = !urgent_.empty() || background_is_due();
  return in_flight_ > 0 || (queued && !stopped_ && !engine_.fault());
}

bool Scrubber::background_is_due() const {
  if (!config_.background || table_.background().empty()) return false;
  const std::chrono::nanoseconds due = table_.background().begin()->first.first;
  return due == std::chrono::nanoseconds::zero() || due <= now();
}

std::optional<std::chrono::nanoseconds> Scrubber::next_scheduled() const {
  if (!config_.background || table_.background().empty() || background_is_due()) return std::nullopt;
  return table_.background().begin()->first.first;
}

/// What to scrub next.
std::optional<Scrubber::Request> Scrubber::next() {
  if (!urgent_.empty()) {
    const Request request = urgent_.front();
    urgent_.pop_front();
    return request;
  }
  if (!background_is_due()) return std::nullopt;
  Extent* const extent = table_.background().begin()->second;
  if (extent->length() > config_.background_job_length) table_.split(*extent, config_.background_job_length);
  return Request{extent, extent->fill, Urgency::Background};
}

void Scrubber::pump() {
  if (stopped_ || engine_.fault()) return;
  // All that fits goes in one batch: one doorbell.
  std::vector<Request> requests;
  std::vector<ScrubJob> jobs;
  while (jobs.size() < free_cookies_.size()) {
    const auto request = next();
    if (!request) break;
    const std::uint64_t cookie = free_cookies_[free_cookies_.size() - 1 - jobs.size()];
    const std::uint64_t pattern = request->fill.random ? random_() : request->fill.pattern;
    jobs.push_back({request->extent->memory, pattern, request->urgency, cookie});
    requests.push_back(*request);
    table_.transition(*request->extent, ExtentEvent::StartScrub);
  }
  if (jobs.empty()) return;
  std::vector<JobId> ids(jobs.size());
  const Result<std::size_t> accepted = engine_.submit(jobs, ids);
  const std::size_t count = accepted ? *accepted : 0;
  for (std::size_t index = 0; index < count; ++index) {
    Extent* const extent = requests[index].extent;
    extent->job = ids[index];
    extent->fill = {jobs[index].pattern, requests[index].fill.random};
    extent_of_cookie_[jobs[index].cookie] = extent;
    free_cookies_.pop_back();
  }
  in_flight_ += count;
  statistics_.scrub_jobs += count;
  // What the engine did not take waits again, as if cancelled before its start.
  for (std::size_t index = jobs.size(); index > count; --index) {
    const Request& request = requests[index - 1];
    table_.transition(*request.extent, ExtentEvent::ScrubCancelled);
    if (request.urgency == Urgency::Urgent) urgent_.push_front(request);
  }
}

void Scrubber::collect(const std::function<void(Extent&)>& let_go) {
  std::array<Completion, 32> completions;
  std::size_t count = completions.size();
  while (count == completions.size() && !stopped_) {
    count = engine_.poll(completions);
    for (std::size_t index = 0; index < count; ++index) {
      const Completion& completion = completions[index];
      enforce(completion.cookie < extent_of_cookie_.size() && extent_of_cookie_[completion.cookie] != nullptr,
              "every job gets exactly one completion");
      Extent& extent = *extent_of_cookie_[completion.cookie];
      enforce(extent.job == completion.id, "a completion belongs to the job that was submitted");
      extent_of_cookie_[completion.cookie] = nullptr;
      free_cookies_.push_back(completion.cookie);
      --in_flight_;
      settle(completion, extent);
      let_go(extent);
    }
  }
}

ByteCount Scrubber::stop() {
  ByteCount in_flight;
  for (Extent*& extent : extent_of_cookie_) {
    if (extent == nullptr) continue;
    in_flight += extent->length();
    table_.transition(*extent, ExtentEvent::ScrubFailed);
    extent = nullptr;
  }
  statistics_.quarantined += in_flight;
  in_flight_ = 0;
  stopped_ = true;
  return in_flight;
}

void Scrubber::settle(const Completion& completion, Extent& extent) {
  const bool was_cancelled = extent.state == ExtentState::Cancelling;
  switch (completion.outcome) {
    case Outcome::Zeroed:
      enforce(completion.bytes_zeroed == extent.length(), "Zeroed means every byte");
      statistics_.scrubbed += extent.length();
      if (was_cancelled) ++statistics_.cancels_too_late;
      table_.transition(extent, ExtentEvent::ScrubZeroed, [](Extent& changed) { changed.job = {}; });
      return;
    case Outcome::Cancelled:
      ++statistics_.scrubs_cancelled;
      statistics_.scrubbed_before_cancel += completion.bytes_zeroed;
      statistics_.saved_by_cancel += extent.length() - completion.bytes_zeroed;
      table_.transition(extent, ExtentEvent::ScrubCancelled, [](Extent& changed) { changed.job = {}; });
      return;
    case Outcome::Failed:
      ++statistics_.scrubs_failed;
      statistics_.scrubbed_before_cancel += completion.bytes_zeroed;
      statistics_.quarantined += extent.length();
      table_.transition(extent, ExtentEvent::ScrubFailed, [](Extent& changed) { changed.job = {}; });
      return;
  }
}

}  // namespace sluice
