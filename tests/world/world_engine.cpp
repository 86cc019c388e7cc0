// SPDX-License-Identifier: Apache-2.0
#include "world_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace sluice::world {

WorldEngine::WorldEngine(MemoryModel& memory, const Layout& layout, const std::byte* base, const std::uint64_t& steps,
                         EngineLimits limits)
    : memory_(memory),
      layout_(layout),
      base_(base),
      steps_(steps),
      windows_(std::move(limits.windows)),
      capabilities_{"world", limits.max_jobs, limits.max_job_length} {
  capabilities_.parallel_jobs = limits.parallel_jobs;
  capabilities_.verifies = true;  // the memory cannot be read here
  windows_.insert(windows_.begin(), 0);
  windows_.push_back(kPages);
}

/// It tells this lie now. What it has in flight is in doubt from now on.
bool WorldEngine::tells(Lie lie) {
  if (lie_ != lie) return false;
  lie_ = Lie::None;
  lied_ = true;
  for (const Job& job : jobs_) doubt(job);
  return true;
}

void WorldEngine::doubt(const Job& job) {
  for (std::size_t page = job.first_page; page < job.first_page + job.pages; ++page) memory_.set_bad(page);
}

bool WorldEngine::reaches(MemorySpan memory) const {
  const auto first = static_cast<std::size_t>(memory.data() - base_);
  const std::size_t end = first + memory.size();
  if (memory.data() < base_ || end > layout_.offset(kPages)) return false;
  for (std::size_t window = 0; window + 1 < windows_.size(); ++window) {
    if (first >= layout_.offset(windows_[window]) && end <= layout_.offset(windows_[window + 1])) return true;
  }
  return false;
}

void WorldEngine::refuse(std::size_t first, std::size_t pages, bool outside) {
  refused_page_ = first;
  refused_pages_ = pages;
  refused_as_ = outside ? DriverErrc::OutsideWindow : DriverErrc::InvalidArgument;
}

bool WorldEngine::refuses(const ScrubJob& job) const {
  if (refused_pages_ == 0) return false;
  const auto first = static_cast<std::size_t>(job.memory.data() - base_);
  return first < layout_.offset(std::min(refused_page_ + refused_pages_, kPages)) &&
         first + job.memory.size() > layout_.offset(refused_page_);
}

WorldEngine::Job WorldEngine::job_of(const ScrubJob& job) {
  const auto first = static_cast<std::size_t>(job.memory.data() - base_);
  const std::size_t page = layout_.page_at(first);
  const std::size_t end = layout_.page_at(first + job.memory.size());
  if (layout_.offset(page) != first || layout_.offset(end) != first + job.memory.size()) {
    misuse_ = fmt::format("a job of {} bytes at {} is not whole pages", job.memory.size(), first);
  }
  if (!reaches(job.memory)) misuse_ = fmt::format("a job of {} bytes at {} is in no window", job.memory.size(), first);
  if (length_of(job.memory) > capabilities_.max_job_length) {
    misuse_ = fmt::format("a job of {} bytes is longer than the engine takes", job.memory.size());
  }
  return {{0, ++next_}, job.cookie, page, end - page, job.pattern, false, job.operation == Operation::FillVerify};
}

Result<std::size_t> WorldEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (closed_) misuse_ = "a job was submitted after the stop";
  if (dead_) return Error{DriverErrc::EngineFailed, "the engine is dead"};
  for (const Lie lie : {Lie::ThrowsInSubmit, Lie::TakesTooMany}) {
    if (!tells(lie)) continue;
    for (const ScrubJob& job : jobs) doubt(job_of(job));  // it may have taken any
    if (lie == Lie::ThrowsInSubmit) throw std::runtime_error("a submit that the engine did not expect");
    return jobs.size() + 1;
  }
  const std::size_t room = capabilities_.max_jobs_in_flight - jobs_.size() - done_.size();
  const std::size_t most = busy_ ? 0 : std::min({jobs.size(), room, most_at_once_});
  if (most == 0) return Error{DriverErrc::Busy, "the engine is busy"};
  for (std::size_t index = 0; index < most; ++index) {
    if (refuses(jobs[index])) {
      if (index > 0) return index;
      ++refusals_;
      return Error{refused_as_, "the engine will never do this"};
    }
    jobs_.push_back(job_of(jobs[index]));
    const Job& job = jobs_.back();
    ids[index] = job.id;
    ++taken_;
    if (jobs[index].urgency != Urgency::Urgent) continue;
    for (std::size_t page = job.first_page; page < job.first_page + job.pages; ++page) urgent_[page] = taken_;
  }
  return most;
}

CancelResult WorldEngine::cancel(JobId id) {
  if (tells(Lie::ThrowsInCancel)) throw std::runtime_error("a cancel that the engine did not expect");
  for (Job& job : jobs_) {
    if (job.id != id) continue;
    job.cancel_requested = true;
    return CancelResult::Requested;
  }
  return CancelResult::AlreadyFinished;
}

/// One that has just come to its end becomes a lie.
void WorldEngine::distort(Completion& completion) {
  const bool zeroed = completion.outcome == Outcome::Zeroed;
  if (zeroed && tells(Lie::TooManyBytes)) completion.bytes_zeroed += ByteCount(4096);
  if (zeroed && tells(Lie::CancelsUnasked)) completion.outcome = Outcome::Cancelled;
  if (tells(Lie::UnknownJob)) completion.cookie += 1'000'000;
}

std::size_t WorldEngine::poll(std::span<Completion> out) {
  if (closed_) misuse_ = "completions were asked for after the stop";
  if (tells(Lie::ThrowsInPoll)) throw std::runtime_error("a poll that the engine did not expect");
  if (tells(Lie::ReturnsTooMany)) return out.size() + 1;
  std::size_t count = std::min(out.size(), done_.size());
  for (std::size_t index = 0; index < count; ++index) {
    const auto& [completion, job] = done_[index];
    out[index] = completion;
    for (std::size_t page = job.first_page; page < job.first_page + job.pages; ++page) memory_.reported(page, steps_);
    if (lie_ != Lie::None && !job.cancel_requested) distort(out[index]);
    if (lied_) doubt(job);
  }
  done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(count));
  if (count > 0 && count < out.size() && tells(Lie::Twice)) {
    out[count] = out[count - 1];
    ++count;
  }
  return count;
}

std::optional<Error> WorldEngine::fault() const {
  if (dead_) return Error{DriverErrc::EngineFailed, "the engine is dead"};
  return std::nullopt;
}

void WorldEngine::end(std::size_t which, Outcome outcome, std::size_t bytes, std::size_t unaffected) {
  const Job job = jobs_[which];
  ++ended_;
  jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(which));
  const std::size_t length = layout_.bytes(job.first_page, job.pages);
  const std::size_t written = outcome == Outcome::Zeroed ? length : bytes;
  write(job, written);
  const auto cause = outcome == Outcome::Failed ? FailureCause::SlaveError : FailureCause::None;
  if (outcome == Outcome::Failed) {
    const std::size_t start = layout_.offset(job.first_page);
    for (std::size_t page = job.first_page; page < job.first_page + job.pages; ++page) {
      const bool before = layout_.offset(page + 1) <= start + written;
      const bool after = layout_.offset(page) >= (job.verified ? start + written : start + length - unaffected);
      if (!before && !after) memory_.set_bad(page);
    }
  }
  done_.emplace_back(Completion{job.id, job.cookie, outcome, cause, ByteCount(written), ByteCount(unaffected)}, job);
}

void WorldEngine::die() {
  dead_ = true;
  while (!jobs_.empty()) end(0, Outcome::Failed, 0);
}

void WorldEngine::stop_at(std::size_t bytes) {
  for (const Job& job : jobs_) write(job, bytes % layout_.bytes(job.first_page, job.pages));
  jobs_.clear();
}

void WorldEngine::write(const Job& job, std::size_t bytes) {
  const std::size_t start = layout_.offset(job.first_page);
  for (std::size_t page = job.first_page; layout_.offset(page) < start + bytes; ++page) {
    memory_.fill(page, job.pattern, layout_.offset(page + 1) <= start + bytes);
  }
}

}  // namespace sluice::world
