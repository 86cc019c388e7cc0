// SPDX-License-Identifier: Apache-2.0
#include "checked_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "sluice/engine/windows.hpp"

namespace sluice::inline compose {
namespace {

constexpr std::size_t kMostJobs = 65'536;  // an engine may say that it has no limit

std::uint32_t slots_for(const Engine& engine) {
  return static_cast<std::uint32_t>(std::clamp<std::size_t>(engine.capabilities().max_jobs_in_flight, 1, kMostJobs));
}

}  // namespace

CheckedEngine::CheckedEngine(Engine& engine, std::chrono::nanoseconds stall_timeout)
    : engine_(engine),
      slots_(slots_for(engine)),
      in_flight_(slots_.capacity()),
      stall_timeout_(stall_timeout),
      watch_(stall_timeout) {}

CheckedEngine::CheckedEngine(std::unique_ptr<Engine> engine, std::chrono::nanoseconds stall_timeout)
    : CheckedEngine(*engine, stall_timeout) {
  owned_ = std::move(engine);
}

/// An engine that was given up is not asked any more.
template <class Function>
void CheckedEngine::ask(const char* what, Function function) const {
  if (given_up_) return;
  try {
    function();
  } catch (const std::exception& error) {
    give_up(FailureCause::EngineFault, fmt::format("its {}() threw: {}", what, error.what()));
  } catch (...) {
    give_up(FailureCause::EngineFault, fmt::format("its {}() threw something unknown", what));
  }
}

void CheckedEngine::give_up(FailureCause cause, const std::string& why) const {
  if (given_up_) return;
  cause_ = cause;
  given_up_ = Error{DriverErrc::EngineFailed, fmt::format("engine {} was given up: {}", capabilities().name, why)};
}

std::optional<Error> CheckedEngine::fault() const {
  std::optional<Error> fault;
  ask("fault", [&] { fault = engine_.fault(); });
  return given_up_ ? given_up_ : fault;
}

std::chrono::nanoseconds CheckedEngine::now() const {
  try {
    time_ = engine_.now();
  } catch (...) {
    give_up(FailureCause::EngineFault, "its now() threw");
  }
  return time_;
}

bool CheckedEngine::reaches(MemorySpan memory) const {
  bool reached = false;
  ask("reaches", [&] { reached = engine_.reaches(memory); });
  return reached;
}

std::uint64_t CheckedEngine::progress() {
  ask("progress", [&] { progress_ = engine_.progress(); });
  return progress_ + completed_;
}

Result<std::size_t> CheckedEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (auto room = check_room(jobs, ids); !room) return room.error();
  if (given_up_) return *given_up_;
  const std::size_t count = std::min<std::size_t>(jobs.size(), slots_.free_count());
  if (count == 0) return all_in_use(slots_.capacity());
  given_.assign(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(count));
  for (std::size_t index = 0; index < count; ++index) {
    ids[index] = slots_.take(jobs[index]);
    given_[index].cookie = ids[index].slot;
  }
  names_.assign(count, JobId{});
  Result<std::size_t> accepted = count;
  ask("submit", [&] { accepted = engine_.submit(given_, names_); });
  if (accepted && (*accepted == 0 || *accepted > count)) {
    give_up(FailureCause::EngineFault, fmt::format("it says that it took {} of {} jobs", *accepted, count));
  }
  if (!accepted && accepted.error().code == DriverErrc::EngineFailed && !fault()) {
    give_up(FailureCause::EngineFault, fmt::format("it says that it has failed: {}", accepted.error().message));
  }
  // Whoever threw or lied may have taken all of them.
  if (given_up_) accepted = count;
  const std::size_t taken = accepted ? *accepted : 0;
  for (std::size_t index = 0; index < taken; ++index) in_flight_[ids[index].slot] = {names_[index], false};
  for (std::size_t index = count; index > taken; --index) slots_.give_back(ids[index - 1].slot);
  const bool refused = !accepted && accepted.error().code == DriverErrc::Busy && slots_.held_count() == 0;
  if (refuses_ && !refused) watch_ = StallWatch(stall_timeout_);
  refuses_ = refused;
  if (refused) watch();
  if (refused && given_up_) return *given_up_;
  return accepted;
}

CancelResult CheckedEngine::cancel(JobId id) {
  if (!slots_.holds(id)) return slots_.knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  if (given_up_) return CancelResult::AlreadyFinished;
  CancelResult result = CancelResult::Requested;
  ask("cancel", [&] { result = engine_.cancel(in_flight_[id.slot].inner); });
  if (result == CancelResult::AlreadyFinished) return result;
  // It has the job, so it must know it: whatever else it says, its Completion is the truth.
  in_flight_[id.slot].cancelled = true;
  return CancelResult::Requested;
}

std::size_t CheckedEngine::poll(std::span<Completion> out) {
  std::size_t count = 0;
  std::size_t got = 0;
  if (!idle()) {
    ask("poll", [&] { got = engine_.poll(out); });
  } else {
    // It may say something about jobs that it does not have, which is a lie; and some engines work only here.
    Completion none;
    ask("poll", [&] { got = engine_.poll(std::span(&none, 1)); });
    if (got != 0) give_up(FailureCause::EngineFault, "it completed a job while it had none");
    got = 0;
  }
  if (got > out.size()) {
    give_up(FailureCause::EngineFault, fmt::format("it returned {} completions for {}", got, out.size()));
  } else {
    count = take(out.first(got));
  }
  if (!given_up_ && count < out.size() && !idle()) {
    if (auto failed = fault(); failed && count == 0) give_up(FailureCause::EngineFault, failed->message);
    if (!given_up_ && count == 0) watch();
  }
  if (given_up_) count += fail_all(out.subspan(count));
  return count;
}

/// Puts our names on completions, up to the first that cannot be.
std::size_t CheckedEngine::take(std::span<Completion> some) {
  for (std::size_t index = 0; index < some.size(); ++index) {
    Completion& completion = some[index];
    if (const std::string why = impossible(completion); !why.empty()) {
      give_up(FailureCause::EngineFault, why);
      return index;
    }
    const auto slot = static_cast<std::uint32_t>(completion.cookie);
    completion.id = slots_.id(slot);
    completion.cookie = slots_.job(slot).cookie;
    slots_.give_back(slot);
    ++completed_;
  }
  return some.size();
}

std::size_t CheckedEngine::fail_all(std::span<Completion> out) {
  std::size_t count = 0;
  for (std::uint32_t slot = 0; slot < slots_.capacity() && count < out.size() && !idle(); ++slot) {
    if (!slots_.held(slot)) continue;
    out[count++] = {slots_.id(slot), slots_.job(slot).cookie, Outcome::Failed, cause_, ByteCount(0), ByteCount(0)};
    slots_.give_back(slot);
  }
  return count;
}

std::string CheckedEngine::impossible(const Completion& completion) const {
  const auto slot = static_cast<std::uint32_t>(completion.cookie);
  if (completion.cookie >= slots_.capacity()) {
    return fmt::format("it completed a job that it does not have (cookie {})", completion.cookie);
  }
  if (!slots_.held(slot) || in_flight_[slot].inner != completion.id) return "it completed a job that it does not have";
  const ByteCount length = length_of(slots_.job(slot).memory);
  const bool whole = completion.bytes_zeroed == length;
  const bool failed = completion.outcome == Outcome::Failed;
  const bool known = completion.cause <= FailureCause::Mismatch &&
                     (failed || completion.outcome == Outcome::Zeroed || completion.outcome == Outcome::Cancelled);
  if (!known || completion.bytes_zeroed > length || (completion.outcome == Outcome::Zeroed && !whole) ||
      failed == (completion.cause == FailureCause::None)) {
    return fmt::format("it says {} with {} of {} bytes and cause {}", to_string(completion.outcome),
                       completion.bytes_zeroed.value(), length.value(), to_string(completion.cause));
  }
  if (failed && completion.bytes_unaffected > length - completion.bytes_zeroed) {
    return fmt::format("it says that {} bytes were zeroed and {} unaffected of {}", completion.bytes_zeroed.value(),
                       completion.bytes_unaffected.value(), length.value());
  }
  if (completion.outcome == Outcome::Cancelled && !in_flight_[slot].cancelled) {
    return "it cancelled a job that nobody cancelled";
  }
  return {};
}

/// A look costs accesses to a device, so that there are few.
void CheckedEngine::watch() {
  const std::chrono::nanoseconds time = now();
  const std::chrono::nanoseconds since = time - watch_.last_look();
  if (since >= std::chrono::nanoseconds(0) && since < stall_timeout_ / 16) return;
  if (!watch_.stalled(refuses_ || !idle(), progress(), time)) return;
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(watch_.silence()).count();
  give_up(FailureCause::Timeout,
          idle() ? fmt::format("it has refused every job as Busy for {} ms and holds none", milliseconds)
                 : fmt::format("it has made no progress for {} ms with {} jobs in flight", milliseconds,
                               slots_.held_count()));
}

}  // namespace sluice::inline compose
