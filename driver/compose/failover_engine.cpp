// SPDX-License-Identifier: Apache-2.0
#include "sluice/compose/failover_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>

#include "checked_engine.hpp"
#include "sluice/engine/job_slots.hpp"
#include "sluice/engine/windows.hpp"

namespace sluice::inline compose {
namespace {

Result<std::unique_ptr<Engine>> make(const EngineCandidate& candidate) {
  const auto refuse = [](const char* what) {
    return Error{DriverErrc::EngineFailed, fmt::format("making it threw: {}", what)};
  };
  try {
    auto made = candidate.make();
    if (made && *made == nullptr) return Error{DriverErrc::EngineFailed, "making it gave no engine"};
    return made;
  } catch (const std::exception& error) {
    return refuse(error.what());
  } catch (...) {
    return refuse("something unknown");
  }
}

}  // namespace

FailoverEngine::FailoverEngine(std::vector<EngineCandidate> candidates, FailoverOptions options)
    : candidates_(std::move(candidates)), options_(std::move(options)), events_(options_.stall_timeout / 4) {}

Result<std::unique_ptr<FailoverEngine>> FailoverEngine::create(std::vector<EngineCandidate> candidates,
                                                               const FailoverOptions& options) {
  if (candidates.empty()) {
    return Error{DriverErrc::InvalidArgument, "no engine was named: give at least one, for example cpu"};
  }
  std::unique_ptr<FailoverEngine> self(new FailoverEngine(std::move(candidates), options));
  if (auto started = self->start_next({}, {}); !started) return started.error();
  return self;
}

FailoverEngine::~FailoverEngine() = default;

void FailoverEngine::report(const std::string& from, const std::string& to, const std::string& why) {
  failovers_.push_back({from, to, why});
  if (options_.on_failover) options_.on_failover(failovers_.back());
}

/// Makes the next engine that can be made. `from` and `why`: who was given up and why, if somebody was.
Result<void> FailoverEngine::start_next(std::string from, std::string why) {
  Error last{DriverErrc::EngineFailed, why};
  while (next_candidate_ < candidates_.size()) {
    const EngineCandidate& candidate = candidates_[next_candidate_++];
    auto made = make(candidate);
    if (!from.empty()) report(from, candidate.name, why);
    if (made) {
      adopt(candidate, std::move(*made));
      return {};
    }
    last = made.error();
    from = candidate.name;
    why = last.message;
  }
  if (!from.empty()) report(from, "", why);
  return last;
}

void FailoverEngine::adopt(const EngineCandidate& candidate, std::unique_ptr<Engine> engine) {
  const bool first = engines_.empty();
  const std::chrono::nanoseconds time = first ? std::chrono::nanoseconds(0) : now();
  if (!first) {
    given_up_progress_ = progress() + 1;  // that one takes over is progress, too
    events_.leave(engines_.back()->completion_fd());
  }
  engines_.push_back(std::make_unique<CheckedEngine>(std::move(engine), options_.stall_timeout));
  CheckedEngine& next = *engines_.back();
  if (first) {
    slots_ = std::make_unique<JobSlots>(next.max_jobs());
    inner_ids_.resize(next.max_jobs());
    finished_.resize(next.max_jobs());
  } else {
    clock_offset_ = time - next.now();
  }
  capabilities_ = next.capabilities();
  capabilities_.max_jobs_in_flight = slots_->capacity();
  capabilities_.concurrent_calls = false;
  name_ = candidate.name;
  follows_ = events_.follow(next.completion_fd());
}

std::chrono::nanoseconds FailoverEngine::now() const {
  last_now_ = std::max(last_now_, engines_.back()->now() + clock_offset_);
  return last_now_;
}

Engine& FailoverEngine::current() { return engines_.back()->engine(); }

std::uint64_t FailoverEngine::progress() { return given_up_progress_ + engines_.back()->progress(); }

bool FailoverEngine::reaches(MemorySpan memory) const { return engines_.back()->reaches(memory); }

int FailoverEngine::completion_fd() const noexcept {
  return follows_ && engines_.back()->completion_fd() >= 0 ? events_.fd() : -1;
}

Result<std::size_t> FailoverEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (auto room = check_room(jobs, ids); !room) return room.error();
  leave_failed();
  while (!fault_) {
    const std::size_t count = std::min<std::size_t>(jobs.size(), slots_->free_count());
    if (count == 0) {
      notify();
      return all_in_use(slots_->capacity());
    }
    given_.assign(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(count));
    names_.resize(count);
    for (std::size_t index = 0; index < count; ++index) {
      ids[index] = slots_->take(jobs[index]);
      given_[index].cookie = ids[index].slot;
    }
    const auto accepted = engines_.back()->submit(given_, names_);
    const std::size_t taken = accepted ? *accepted : 0;
    for (std::size_t index = 0; index < taken; ++index) inner_ids_[ids[index].slot] = names_[index];
    for (std::size_t index = count; index > taken; --index) slots_->give_back(ids[index - 1].slot);
    if (accepted || !engines_.back()->fault()) {
      notify();
      return accepted;
    }
    leave_failed();  // and the next one takes these
  }
  return *fault_;
}

CancelResult FailoverEngine::cancel(JobId id) {
  if (!slots_->holds(id)) return slots_->knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  if (finished_[id.slot]) return CancelResult::AlreadyFinished;
  const CancelResult result = engines_.back()->cancel(inner_ids_[id.slot]);
  notify();
  return result;
}

std::size_t FailoverEngine::poll(std::span<Completion> out) {
  events_.looked();
  collect();
  leave_failed();
  std::size_t count = 0;
  while (count < out.size() && !completions_.empty()) {
    out[count] = completions_.front();
    completions_.pop_front();
    finished_[out[count].id.slot] = false;
    slots_->give_back(out[count].id.slot);
    ++count;
  }
  notify();
  return count;
}

void FailoverEngine::collect() {
  std::array<Completion, 32> some;
  for (std::size_t got = some.size(); got == some.size();) {
    got = engines_.back()->poll(some);
    for (Completion completion : std::span(some).first(got)) {
      const auto slot = static_cast<std::uint32_t>(completion.cookie);
      completion.id = slots_->id(slot);
      completion.cookie = slots_->job(slot).cookie;
      finished_[slot] = true;
      completions_.push_back(completion);
    }
  }
}

/// Ends what an engine that has failed has in flight, and goes on to the next.
void FailoverEngine::leave_failed() {
  while (!fault_) {
    const auto failed = engines_.back()->fault();
    if (!failed) return;
    while (!engines_.back()->idle()) collect();
    if (start_next(name_, failed->message)) continue;
    fault_ = Error{DriverErrc::EngineFailed, fmt::format("no engine is left: {}; the memory in flight must stay "
                                                         "quarantined",
                                                         failed->message)};
  }
}

/// Whoever sleeps on the descriptor must also wake up for what was collected already, for an engine that throws, and
/// for one that wants to be polled.
void FailoverEngine::notify() {
  if (engines_.back()->given_up()) events_.leave(engines_.back()->completion_fd());
  const bool polled = completion_fd() < 0 && slots_->held_count() > 0;
  events_.set_readable(polled || !completions_.empty() || engines_.back()->has_own_news());
}

}  // namespace sluice::inline compose
