// SPDX-License-Identifier: Apache-2.0
#include "wrapped_engine.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::c {

WrappedEngine::WrappedEngine(const sluice_engine_operations& operations, void* context)
    : operations_(operations),
      context_(context),
      capabilities_{operations.name == nullptr ? "foreign" : operations.name, operations.max_jobs,
                    ByteCount(operations.max_job_length)} {
  operations_.name = nullptr;  // the caller's
}

void WrappedEngine::give_up(std::string why) const {
  if (given_up_.empty()) given_up_ = fmt::format("engine {} was given up: {}", capabilities_.name, why);
}

/// What a function of the caller's throws ends the engine.
template <class Call>
auto WrappedEngine::call(const char* function, Call operation) const -> decltype(operation()) {
  try {
    return operation();
  } catch (...) {
    give_up(fmt::format("its {} threw an exception", function));
    return decltype(operation())();
  }
}

Result<std::size_t> WrappedEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (const auto why = fault()) return *why;
  const std::size_t count =
      std::min(jobs.size(), operations_.max_jobs - std::min(operations_.max_jobs, running_.size()));
  if (count == 0) return Error{DriverErrc::Busy, "the engine is busy"};
  std::vector<sluice_job> given;
  given.reserve(count);
  running_.reserve(running_.size() + count);
  for (const ScrubJob& job : jobs.first(count)) {
    // Its own number comes back; the name of the job is that number too, so it is unique while the job runs.
    given.push_back(
        {job.memory.data(), job.memory.size(), job.pattern, job.urgency == Urgency::Urgent ? 1 : 0, ++next_});
  }
  const std::size_t taken = call("submit", [&] { return operations_.submit(context_, given.data(), given.size()); });
  if (taken > count) {
    // Whatever it has taken, it may write: none of this memory is handed out again.
    give_up(fmt::format("it took {} jobs of {}", taken, count));
  }
  const std::size_t accepted = given_up_.empty() ? taken : count;
  for (std::size_t index = 0; index < accepted; ++index) {
    running_.push_back({given[index].number, jobs[index].cookie, given[index].length});
    ids[index] = name_of(given[index].number);
  }
  if (accepted == 0) return Error{DriverErrc::Busy, "the engine is busy"};
  return accepted;
}

CancelResult WrappedEngine::cancel(JobId id) {
  const std::uint64_t number = static_cast<std::uint64_t>(id.generation) << 32 | id.slot;
  const bool runs =
      std::any_of(running_.begin(), running_.end(), [&](const Running& running) { return running.number == number; });
  if (!runs) return number <= next_ && id.generation != 0 ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  if (given_up_.empty()) {
    call("cancel", [&] {
      operations_.cancel(context_, number);
      return 0;
    });
  }
  return CancelResult::Requested;
}

std::size_t WrappedEngine::poll(std::span<Completion> out) {
  std::size_t known = 0;
  if (given_up_.empty()) {
    std::vector<sluice_completion> completions(out.size());
    const std::size_t count =
        call("poll", [&] { return operations_.poll(context_, completions.data(), completions.size()); });
    if (count > completions.size()) give_up(fmt::format("it wrote {} completions where {} fit", count, out.size()));
    for (std::size_t index = 0; index < count && given_up_.empty(); ++index) {
      if (take(completions[index], out[known])) ++known;
    }
  }
  while (!given_up_.empty() && known < out.size() && !running_.empty()) {
    const Running& job = running_.back();
    out[known++] = {name_of(job.number), job.cookie, Outcome::Failed, FailureCause::EngineFault, ByteCount(0)};
    running_.pop_back();
    ++ended_;
  }
  return known;
}

/// False: it cannot be true.
bool WrappedEngine::take(const sluice_completion& completion, Completion& out) {
  const auto job = std::find_if(running_.begin(), running_.end(),
                                [&](const Running& running) { return running.number == completion.number; });
  if (job == running_.end()) {
    give_up(fmt::format("it completed job {}, which it does not have", completion.number));
    return false;
  }
  if (completion.outcome < SLUICE_ZEROED || completion.outcome > SLUICE_FAILED) {
    give_up(fmt::format("it ended a job with outcome {}", completion.outcome));
    return false;
  }
  if (completion.bytes > job->length || (completion.outcome == SLUICE_ZEROED && completion.bytes != job->length)) {
    give_up(fmt::format("it ended a job of {} bytes with outcome {} and {} bytes", job->length, completion.outcome,
                        completion.bytes));
    return false;
  }
  const bool failed = completion.outcome == SLUICE_FAILED;
  out = {name_of(job->number), job->cookie, static_cast<Outcome>(completion.outcome),
         failed ? FailureCause::EngineFault : FailureCause::None, ByteCount(completion.bytes)};
  running_.erase(job);
  ++ended_;
  return true;
}

std::optional<Error> WrappedEngine::fault() const {
  if (given_up_.empty() && operations_.fault != nullptr) {
    const char* const why = call("fault", [&] { return operations_.fault(context_); });
    if (why != nullptr) return Error{DriverErrc::EngineFailed, why};
  }
  if (given_up_.empty()) return std::nullopt;
  return Error{DriverErrc::EngineFailed, given_up_};
}

}  // namespace sluice::c
