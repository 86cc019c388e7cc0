// SPDX-License-Identifier: Apache-2.0
#include "sluice/compose/failover_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sluice/engine/job_slots.hpp"
#include "sluice/engine/windows.hpp"

namespace sluice::inline compose {

FailoverEngine::FailoverEngine(std::vector<EngineCandidate> candidates, FailoverOptions options)
    : candidates_(std::move(candidates)), options_(std::move(options)) {}

Result<std::unique_ptr<FailoverEngine>> FailoverEngine::create(std::vector<EngineCandidate> candidates,
                                                               const FailoverOptions& options) {
  if (candidates.empty()) {
    return Error{DriverErrc::InvalidArgument, "no engine was named: give at least one, for example cpu"};
  }
  std::unique_ptr<FailoverEngine> self(new FailoverEngine(std::move(candidates), options));
  if (auto started = self->start_next({}, {}); !started) return started.error();
  const auto jobs = static_cast<std::uint32_t>(self->capabilities_.max_jobs_in_flight);
  self->slots_ = std::make_unique<JobSlots>(jobs);
  self->in_flight_.resize(jobs);
  return self;
}

FailoverEngine::~FailoverEngine() = default;

/// Makes the next engine that can be made. `from` and `reason`: who was given up and why, if somebody was.
Result<void> FailoverEngine::start_next(const std::string& from, const std::string& reason) {
  std::string left = from;
  std::string why = reason;
  const auto tell = [&](const std::string& to) {
    failovers_.push_back({left, to, why});
    if (options_.on_failover) options_.on_failover(failovers_.back());
  };
  std::optional<Error> last;
  while (next_candidate_ < candidates_.size()) {
    const EngineCandidate& candidate = candidates_[next_candidate_++];
    auto made = candidate.make();
    if (!left.empty()) tell(candidate.name);
    if (made) {
      const std::chrono::nanoseconds time = engines_.empty() ? (*made)->now() : now();
      if (!engines_.empty()) given_up_progress_ = progress();
      engines_.push_back(std::move(*made));
      clock_offset_ = time - current().now();
      const std::size_t jobs =
          slots_ == nullptr ? current().capabilities().max_jobs_in_flight : capabilities_.max_jobs_in_flight;
      capabilities_ = current().capabilities();
      capabilities_.max_jobs_in_flight = jobs;
      capabilities_.concurrent_calls = false;
      name_ = candidate.name;
      return {};
    }
    left = candidate.name;
    why = made.error().message;
    last = made.error();
  }
  if (!left.empty()) tell("");
  return last ? *last : Error{DriverErrc::EngineFailed, why};
}

std::chrono::nanoseconds FailoverEngine::now() const { return engines_.back()->now() + clock_offset_; }

Result<std::size_t> FailoverEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (!fault_ && current().fault()) collect();  // the next one takes these
  if (fault_) return *fault_;
  if (auto room = check_room(jobs, ids); !room) return room.error();
  const std::size_t count = std::min<std::size_t>(jobs.size(), slots_->free_count());
  if (count == 0) {
    return Error{DriverErrc::Busy,
                 fmt::format("all {} jobs are in use: collect completions first", slots_->capacity())};
  }
  given_.assign(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(count));
  inner_ids_.resize(count);
  for (std::size_t index = 0; index < count; ++index) {
    ids[index] = slots_->take(jobs[index]);
    given_[index].cookie = ids[index].slot;
  }
  if (slots_->held_count() == count + finished_.size()) last_end_ = now();  // nothing else was in flight
  const auto accepted = current().submit(given_, inner_ids_);
  const std::size_t taken = accepted ? *accepted : 0;
  for (std::size_t index = 0; index < count; ++index) {
    if (index < taken) {
      in_flight_[ids[index].slot] = {inner_ids_[index], ended_[static_cast<std::size_t>(jobs[index].urgency)]};
    } else {
      slots_->give_back(ids[index].slot);
    }
  }
  if (!accepted) return accepted.error();
  return taken;
}

CancelResult FailoverEngine::cancel(JobId id) {
  if (!slots_->holds(id)) return slots_->knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  InFlight& flight = in_flight_[id.slot];
  if (flight.finished) return CancelResult::AlreadyFinished;
  flight.cancelled = true;
  return current().cancel(flight.inner);
}

std::size_t FailoverEngine::poll(std::span<Completion> out) {
  if (!fault_) {
    collect();
    if (!fault_) watch();
  }
  std::size_t count = 0;
  while (count < out.size() && !finished_.empty()) {
    out[count++] = finished_.front();
    slots_->give_back(finished_.front().id.slot);
    finished_.pop_front();
  }
  return count;
}

void FailoverEngine::collect() {
  std::array<Completion, 32> some;
  for (std::size_t got = some.size(); got == some.size();) {
    got = current().poll(some);
    for (const Completion& completion : std::span(some).first(got)) {
      if (const std::string why = impossible(completion); !why.empty()) {
        give_up(FailureCause::EngineFault, why);
        return;
      }
      const auto slot = static_cast<std::uint32_t>(completion.cookie);
      Completion ours = completion;
      ours.id = slots_->id(slot);
      ours.cookie = slots_->job(slot).cookie;
      in_flight_[slot].finished = true;
      ++ended_[static_cast<std::size_t>(slots_->job(slot).urgency)];
      last_end_ = now();
      finished_.push_back(ours);
    }
  }
  if (const auto fault = current().fault()) give_up(FailureCause::EngineFault, fault->message);
}

std::string FailoverEngine::impossible(const Completion& completion) const {
  const bool known =
      completion.cookie < slots_->capacity() && slots_->held(static_cast<std::uint32_t>(completion.cookie));
  if (!known) return fmt::format("it completed a job that it does not have (cookie {})", completion.cookie);
  const auto slot = static_cast<std::uint32_t>(completion.cookie);
  const InFlight& flight = in_flight_[slot];
  if (flight.finished || flight.inner != completion.id) return "it completed a job twice";
  const ByteCount length = length_of(slots_->job(slot).memory);
  const bool whole = completion.bytes_zeroed == length;
  const bool failed = completion.outcome == Outcome::Failed;
  if (completion.bytes_zeroed > length || (completion.outcome == Outcome::Zeroed && !whole) ||
      failed == (completion.cause == FailureCause::None)) {
    return fmt::format("it says {} with {} of {} bytes and cause {}", to_string(completion.outcome),
                       completion.bytes_zeroed.value(), length.value(), to_string(completion.cause));
  }
  if (completion.outcome == Outcome::Cancelled && !flight.cancelled) return "it cancelled a job that nobody cancelled";
  return {};
}

/// Notices an engine that has stopped, and jobs that it has lost: those that many later ones of their urgency overtook.
void FailoverEngine::watch() {
  if (slots_->held_count() == finished_.size()) return;
  const std::chrono::nanoseconds time = now();
  if (time - last_end_ >= options_.stall_timeout) {
    give_up(FailureCause::Timeout,
            fmt::format("it has ended no job for {} ms with {} in flight", (time - last_end_).count() / 1'000'000,
                        slots_->held_count() - finished_.size()));
    return;
  }
  if (time - last_look_ < options_.stall_timeout / 16) return;
  last_look_ = time;
  const std::uint64_t too_many = 4ULL * slots_->capacity();  // engines may reorder what they hold at once
  for (std::uint32_t slot = 0; slot < slots_->capacity(); ++slot) {
    if (!slots_->held(slot) || in_flight_[slot].finished) continue;
    const std::uint64_t later = ended_[static_cast<std::size_t>(slots_->job(slot).urgency)] - in_flight_[slot].before;
    if (later <= too_many) continue;
    give_up(FailureCause::EngineFault, fmt::format("it has lost a job: {} others of its urgency ended since", later));
    return;
  }
}

/// What the engine has in flight fails: it may still write there.
void FailoverEngine::give_up(FailureCause cause, const std::string& reason) {
  for (std::uint32_t slot = 0; slot < slots_->capacity(); ++slot) {
    if (!slots_->held(slot) || in_flight_[slot].finished) continue;
    in_flight_[slot].finished = true;
    finished_.push_back({slots_->id(slot), slots_->job(slot).cookie, Outcome::Failed, cause, ByteCount(0)});
  }
  if (auto next = start_next(name_, reason); !next) {
    fault_ = Error{DriverErrc::EngineFailed,
                   fmt::format("no engine is left: {}; the memory in flight must stay quarantined", reason)};
  }
}

}  // namespace sluice::inline compose
