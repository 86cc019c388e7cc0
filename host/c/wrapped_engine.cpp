// SPDX-License-Identifier: Apache-2.0
#include "wrapped_engine.hpp"

#include <algorithm>

namespace sluice::c {
namespace {

JobId name_of(std::uint64_t number) {
  return {static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32)};
}

}  // namespace

WrappedEngine::WrappedEngine(const sluice_engine_operations& operations, void* context)
    : operations_(operations),
      context_(context),
      capabilities_{operations.name == nullptr ? "foreign" : operations.name, operations.max_jobs,
                    ByteCount(operations.max_job_length)} {
  operations_.name = nullptr;  // the caller's
}

std::vector<WrappedEngine::Running>::iterator WrappedEngine::find(std::uint64_t number) {
  return std::find_if(running_.begin(), running_.end(),
                      [&](const Running& running) { return running.number == number; });
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
  const std::size_t taken = operations_.submit(context_, given.data(), given.size());
  for (std::size_t index = 0; index < std::min(taken, count); ++index) {
    running_.push_back({given[index].number, jobs[index].cookie});
    ids[index] = name_of(given[index].number);
  }
  if (taken == 0) return Error{DriverErrc::Busy, "the engine is busy"};
  return taken;
}

CancelResult WrappedEngine::cancel(JobId id) {
  const std::uint64_t number = static_cast<std::uint64_t>(id.generation) << 32 | id.slot;
  if (find(number) == running_.end()) {
    return number <= next_ && id.generation != 0 ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  }
  operations_.cancel(context_, number);
  return CancelResult::Requested;
}

std::size_t WrappedEngine::poll(std::span<Completion> out) {
  std::vector<sluice_completion> completions(out.size());
  const std::size_t count = operations_.poll(context_, completions.data(), completions.size());
  for (std::size_t index = 0; index < std::min(count, out.size()); ++index) out[index] = take(completions[index]);
  return count;
}

/// A job that it does not have, and an outcome that there is not, stay what they are: names of nothing.
Completion WrappedEngine::take(const sluice_completion& completion) {
  Completion taken{name_of(completion.number), ~0ULL, Outcome(0), FailureCause::None, ByteCount(completion.bytes), {}};
  if (completion.outcome >= SLUICE_ZEROED && completion.outcome <= SLUICE_FAILED) {
    taken.outcome = static_cast<Outcome>(completion.outcome);
  }
  if (completion.outcome == SLUICE_FAILED) taken.cause = FailureCause::EngineFault;
  if (const auto job = find(completion.number); job != running_.end()) {
    taken.cookie = job->cookie;
    running_.erase(job);
    ++ended_;
  }
  return taken;
}

std::optional<Error> WrappedEngine::fault() const {
  const char* const why = operations_.fault == nullptr ? nullptr : operations_.fault(context_);
  if (why == nullptr) return std::nullopt;
  return Error{DriverErrc::EngineFailed, why};
}

}  // namespace sluice::c
