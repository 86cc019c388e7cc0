// SPDX-License-Identifier: Apache-2.0
#include "scrubber.hpp"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sluice/base/enforce.hpp"
#include "sluice/base/saturating.hpp"
#include "sluice/compose/read_back.hpp"

namespace sluice::inline manager {
namespace {

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

/// Whether it is the memory that failed, from the end of the prefix on, and nothing writes to it any more.
bool memory_is_bad(FailureCause cause) { return proves_prefix(cause) || cause == FailureCause::Mismatch; }

/// 64 bits that nobody can predict, never 0: the ledger knows that as zeros.
std::uint64_t unpredictable() {
  std::uint64_t bits = 0;
  while (bits == 0) {
    // As few bytes come whole or, before the machine's generator has been seeded and a signal comes, not at all.
    if (::getrandom(&bits, sizeof bits, 0) != sizeof bits) enforce(errno == EINTR, "the kernel has random numbers");
  }
  return bits;
}

}  // namespace

/// How the bytes of a failed job end, in the order of their places.
struct Scrubber::Parts {
  std::uint64_t clean = 0;
  std::uint64_t dirty = 0;  ///< At the end; what lies between is Quarantined.
};

Scrubber::Scrubber(std::unique_ptr<JobSplitter> engine, const BackingMemory& memory, ExtentTable& table,
                   Statistics& statistics, const ScrubberConfig& config)
    : engine_(std::move(engine)), memory_(memory), table_(table), statistics_(statistics), config_(config) {
  jobs_.resize(std::min<std::size_t>(config.max_jobs_in_flight, engine_->capabilities().max_jobs_in_flight));
  for (std::size_t cookie = jobs_.size(); cookie > 0; --cookie) {
    free_cookies_.push_back(static_cast<std::uint32_t>(cookie - 1));
  }
}

void Scrubber::request_urgent(Extent& extent, Fill fill) {
  asked_for_[&extent] = urgent_.insert(urgent_.end(), {&extent, fill, Urgency::Urgent});
}

void Scrubber::request_test(Extent& extent, std::uint64_t pattern) {
  const Fill fill{.pattern = pattern, .verify = true};
  asked_for_[&extent] = tests_.insert(tests_.end(), {&extent, fill, Urgency::Background, {}, true});
}

void Scrubber::withdraw(Extent& extent) {
  const auto found = asked_for_.find(&extent);
  if (found == asked_for_.end()) return;
  queue_of(*found->second).erase(found->second);
  asked_for_.erase(found);
}

void Scrubber::cancel(Extent& extent) {
  enforce(extent.state() == ExtentState::Scrubbing, "only a running scrub is cancelled");
  // Whatever the answer, the Completion tells what came of it.
  static_cast<void>(engine_->cancel(jobs_[cookie_of_.at(&extent)].id));
  table_.request_cancel(extent);
}

bool Scrubber::has_work() const { return in_flight_ > 0 || ((!asked_for_.empty() || background_is_due()) && !fault()); }

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
  for (Requests* const queue : {&urgent_, &tests_}) {
    if (queue->empty()) continue;
    const Request request = queue->front();
    asked_for_.erase(request.extent);
    queue->pop_front();
    return request;
  }
  if (!background_is_due()) return std::nullopt;
  Extent* const extent = table_.next_due()->extent;
  const ByteCount longest = longest_in_background(*extent);
  if (extent->length() > longest && table_.make_room(1)) table_.split(*extent, longest);
  const Request request{extent, table_.lineage(*extent).fill, Urgency::Background, rate_allows_};
  if (config_.background_rate > 0.0) {
    const double seconds = static_cast<double>(extent->length().value()) / config_.background_rate;
    rate_allows_ = add_saturating(std::max(rate_allows_, now()), nanoseconds_of(seconds));
  }
  return request;
}

void Scrubber::pump() {
  if (fault()) return;
  do {
    fill_batch();
  } while (!batch_.empty() && submit_batch());
}

/// Takes what fits.
void Scrubber::fill_batch() {
  batch_.clear();
  batch_jobs_.clear();
  while (!free_cookies_.empty()) {
    const auto request = next();
    if (!request) return;
    Extent& extent = *request->extent;
    const std::uint32_t cookie = free_cookies_.back();
    free_cookies_.pop_back();
    batch_.push_back(*request);
    jobs_[cookie] = job_of(*request, cookie);
    batch_jobs_.push_back(jobs_[cookie].given);
    cookie_of_[&extent] = cookie;
    ++in_flight_;
    if (jobs_[cookie].background) in_background_ += extent.length();
    table_.start_scrub(extent);
  }
}

/// What the engine cannot do is done as well as it can: a repeated pattern for random bytes, and reading back here.
Scrubber::Job Scrubber::job_of(const Request& request, std::uint32_t cookie) const {
  const Fill& fill = request.fill;
  const EngineCapabilities& engine = engine_->capabilities();
  Operation operation = Operation::Fill;
  if (fill.verify && engine.verifies) operation = Operation::FillVerify;
  if (fill.random && !fill.verify && engine.fills_random) operation = Operation::FillRandom;
  // Also where no pattern is written: clean memory of different content must not look alike.
  const std::uint64_t pattern = fill.random ? unpredictable() : fill.pattern;
  const ScrubJob given{table_.memory(*request.extent), pattern, request.urgency, cookie, operation};
  const bool background = request.urgency == Urgency::Background && !request.test;
  return {request.extent, {}, given, fill.verify && !reads_back(operation), background, request.test};
}

/// True: the engine may take more.
bool Scrubber::submit_batch() {
  const auto refuses = [](const auto& answer) { return !answer && answer.error().code != DriverErrc::Busy; };
  std::vector<JobId> ids(batch_.size());
  auto accepted = engine_->submit(batch_jobs_, ids);
  if (refuses(accepted) && batch_.size() > 1 && !fault()) {
    take_back(1);  // which job it means shows when they come alone
    accepted = engine_->submit(batch_jobs_, ids);
  }
  if (refuses(accepted) && !fault()) {
    refused_.push_back({static_cast<std::uint32_t>(batch_jobs_[0].cookie), accepted.error()});
    return true;
  }
  const std::size_t count = accepted ? *accepted : 0;
  const bool more = count > 0 && count == batch_.size();
  take_back(count);
  for (std::size_t index = 0; index < count; ++index) jobs_[batch_jobs_[index].cookie].id = ids[index];
  statistics_.scrub_jobs += count;
  return more;
}

/// The engine did not take these: they wait again, as if cancelled before their start.
void Scrubber::take_back(std::size_t from) {
  for (; batch_.size() > from; batch_.pop_back(), batch_jobs_.pop_back()) {
    const Request& request = batch_.back();
    Extent& extent = *request.extent;
    static_cast<void>(end_job(static_cast<std::uint32_t>(batch_jobs_.back().cookie)));
    table_.scrub_cancelled(extent);
    if (request.urgency == Urgency::Urgent || request.test) {
      Requests& queue = queue_of(request);
      asked_for_[&extent] = queue.insert(queue.begin(), request);
    } else {
      rate_allows_ = request.rate_allowed;
      table_.coalesce(extent);
    }
  }
}

void Scrubber::collect(ScrubListener& listener) {
  for (const Refused& refused : std::exchange(refused_, {})) {
    ++statistics_.scrubs_failed;
    settle_refused(refused.why, ByteCount(0), end_job(refused.cookie), listener);
  }
  std::array<Completion, 32> completions;
  for (std::size_t count = completions.size(); count == completions.size();) {
    count = engine_->poll(completions);
    for (const Completion& completion : std::span(completions).first(count)) {
      settle(completion, end_job(static_cast<std::uint32_t>(completion.cookie)), listener);
    }
  }
}

/// The cookie is free again.
Scrubber::Job Scrubber::end_job(std::uint32_t cookie) {
  const Job job = std::exchange(jobs_[cookie], {});
  cookie_of_.erase(job.extent);
  free_cookies_.push_back(cookie);
  --in_flight_;
  if (job.background) in_background_ -= job.extent->length();
  return job;
}

ByteCount Scrubber::stop(const Error& reason) {
  stopped_ = reason;
  urgent_.clear();
  tests_.clear();
  asked_for_.clear();
  refused_.clear();
  ByteCount in_flight;
  // Nobody knows what the engine still writes.
  for (std::size_t cookie = 0; cookie < jobs_.size(); ++cookie) {
    if (jobs_[cookie].extent == nullptr) continue;
    Extent& extent = *end_job(static_cast<std::uint32_t>(cookie)).extent;
    in_flight += extent.length();
    scrub_failed(extent);
  }
  statistics_.quarantined += in_flight;
  return in_flight;
}

void Scrubber::settle(const Completion& completion, const Job& job, ScrubListener& listener) {
  Extent& extent = *job.extent;
  const bool was_cancelled = extent.state() == ExtentState::Cancelling;
  if (completion.outcome == Outcome::Zeroed && job.read_back) {
    const std::size_t equal = read_back(job.given.memory, job.given.pattern);
    if (equal < job.given.memory.size()) {
      settle_failed({job.id, completion.cookie, Outcome::Failed, FailureCause::Mismatch, ByteCount(equal), {}}, job,
                    listener);
      return;
    }
  }
  if (completion.outcome == Outcome::Zeroed && !make_durable(extent)) {
    ++statistics_.scrubs_failed;
    listener.scrub_failed(extent);
    end_in_parts(job, {}, listener);
    return;
  }
  switch (completion.outcome) {
    case Outcome::Zeroed:
      statistics_.scrubbed += extent.length();
      if (was_cancelled) ++statistics_.cancels_too_late;
      settle_written(job, listener);
      return;
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

/// A test may have filled it with what nobody expects in clean memory. Nothing of anybody's is left in it either.
void Scrubber::settle_written(const Job& job, ScrubListener& listener) {
  Extent& extent = *job.extent;
  if (job.test && job.given.pattern != 0) {
    table_.scrub_cancelled(extent);
    table_.set_owner(extent, {});
  } else {
    scrub_zeroed(extent, job);
  }
  if (job.test) {
    listener.pattern_held(extent, job.given.pattern);
  } else {
    listener.let_go(extent);
  }
}

/// What was written for certain is clean, or dirty where it was to be verified as well; what the failure does not
/// concern is dirty as before. After a failover to an engine that cannot do such jobs the next one is made for that.
void Scrubber::settle_failed(const Completion& completion, const Job& job, ScrubListener& listener) {
  Extent& extent = *job.extent;
  ++statistics_.scrubs_failed;
  statistics_.scrubbed_before_cancel += completion.bytes_zeroed;
  const bool outdated =
      completion.cause == FailureCause::BadDescriptor && !offers(engine_->capabilities(), job.given.operation);
  if (const auto why = outdated ? std::nullopt : refusal(completion)) {
    settle_refused(*why, proves_prefix(completion.cause) ? completion.bytes_zeroed : ByteCount(0), job, listener);
    return;
  }
  listener.scrub_failed(extent);
  const std::uint64_t page = table_.whole_pages(extent, ByteCount(0)).value();
  Parts parts;
  if (outdated || proves_prefix(completion.cause)) parts.clean = completion.bytes_zeroed.value() / page * page;
  parts.dirty = completion.bytes_unaffected.value() / page * page;
  if (job.test && memory_is_bad(completion.cause)) {
    parts.clean = std::min(completion.bytes_zeroed.value(), extent.length().value() - 1) / page * page;
    parts.dirty = extent.length().value() - parts.clean - page;
  }
  // A scrub that fails for ever must end. When nothing is tried again, what was never given stays as it was.
  if (parts.clean + parts.dirty == extent.length().value() && !outdated && !fault()) {
    (parts.dirty > 0 ? parts.dirty : parts.clean) -= page;
  }
  end_in_parts(job, parts, listener);
}

/// Why the engine will never do this job; nullopt: it failed otherwise, or the engine has.
std::optional<Error> Scrubber::refusal(const Completion& completion) const {
  if (fault()) return std::nullopt;
  if (auto why = engine_->refusal(completion.id)) return why;
  if (completion.cause != FailureCause::BadDescriptor && completion.cause != FailureCause::OutsideWindow) {
    return std::nullopt;
  }
  return Error{DriverErrc::InvalidArgument, to_string(completion.cause)};
}

/// It was not written, and it would be refused again and again: it leaves service, and its claim learns why.
void Scrubber::settle_refused(const Error& why, ByteCount zeroed, const Job& job, ScrubListener& listener) {
  last_refusal_ = Error{why.code, fmt::format("engine {} refused it: {}", engine_->capabilities().name, why.message)};
  listener.scrub_refused(*job.extent, *last_refusal_);
  const std::uint64_t page = table_.whole_pages(*job.extent, ByteCount(0)).value();
  end_in_parts(job, {zeroed.value() / page * page, 0}, listener);
}

/// Only then is it clean: or a power cut would bring back what was there before.
bool Scrubber::make_durable(const Extent& extent) {
  if (table_.brick(extent).medium == Medium::Volatile) return true;
  return memory_.make_durable(table_.memory(extent)).has_value();
}

void Scrubber::scrub_zeroed(Extent& extent, const Job& job) {
  if (config_.on_scrubbed) {
    config_.on_scrubbed(
        {table_.memory(extent), engine_->capabilities().name, job.given.pattern, job.verified(), false});
  }
  table_.scrub_zeroed(extent, job.given.pattern);
}

void Scrubber::scrub_failed(Extent& extent) {
  if (config_.on_scrubbed) {
    config_.on_scrubbed({table_.memory(extent), engine_->capabilities().name, 0, false, true});
  }
  table_.scrub_failed(extent);
}

void Scrubber::end_in_parts(const Job& job, const Parts& parts, ScrubListener& listener) {
  const bool may_cut = table_.make_room(2).has_value();
  const std::uint64_t clean = may_cut ? parts.clean : 0;
  const std::uint64_t dirty = may_cut || parts.dirty == job.extent->length().value() ? parts.dirty : 0;
  Extent* rest = job.extent;
  const auto end_part = [&](std::uint64_t bytes, auto end) {
    if (bytes == 0) return;
    Extent& part = *rest;
    if (part.length() > ByteCount(bytes)) rest = &table_.cut_ended(part, ByteCount(bytes));
    end(part);
    listener.let_go(part);
  };
  const std::uint64_t doubtful = job.extent->length().value() - clean - dirty;
  end_part(clean, [&](Extent& part) {
    if (job.verified()) {
      table_.scrub_cancelled(part);
    } else if (make_durable(part)) {
      scrub_zeroed(part, job);
    } else {
      statistics_.quarantined += part.length();
      scrub_failed(part);
    }
  });
  end_part(doubtful, [&](Extent& part) { scrub_failed(part); });
  end_part(dirty, [&](Extent& part) { table_.scrub_cancelled(part); });
  statistics_.quarantined += ByteCount(doubtful);
}

}  // namespace sluice::inline manager
