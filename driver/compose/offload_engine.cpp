// SPDX-License-Identifier: Apache-2.0
#include "sluice/compose/offload_engine.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "checked_engine.hpp"
#include "sluice/engine/windows.hpp"

namespace sluice::inline compose {
namespace {

/// Pieces of a long job go where the long job would.
ByteCount whole_length(const ScrubJob& job) { return std::max(length_of(job.memory), job.part_of); }

}  // namespace

Result<std::unique_ptr<OffloadEngine>> OffloadEngine::create(std::unique_ptr<Engine> cpu,
                                                             std::unique_ptr<Engine> engine,
                                                             const OffloadLengths& lengths,
                                                             std::chrono::nanoseconds stall_timeout) {
  if (lengths.above < lengths.below) {
    return Error{
        DriverErrc::InvalidArgument,
        fmt::format("jobs below {} bytes to the CPU and above {} bytes to the engine: the second must not be less "
                    "than the first",
                    lengths.below.value(), lengths.above.value())};
  }
  return std::unique_ptr<OffloadEngine>(
      new OffloadEngine(std::make_unique<CheckedEngine>(std::move(cpu), stall_timeout),
                        std::make_unique<CheckedEngine>(std::move(engine), stall_timeout), lengths, stall_timeout));
}

OffloadEngine::OffloadEngine(std::unique_ptr<CheckedEngine> cpu, std::unique_ptr<CheckedEngine> engine,
                             const OffloadLengths& lengths, std::chrono::nanoseconds stall_timeout)
    : sides_{std::move(cpu), std::move(engine)}, lengths_(lengths), events_(stall_timeout / 4) {
  const EngineCapabilities& one = sides_[0]->capabilities();
  const EngineCapabilities& other = sides_[1]->capabilities();
  capabilities_ = {fmt::format("auto({} below {} B, {} above {} B)", one.name, lengths.below.value(), other.name,
                               lengths.above.value()),
                   std::min(sides_[0]->max_jobs(), sides_[1]->max_jobs()),
                   std::min(one.max_job_length, other.max_job_length),
                   false,
                   0.0,
                   one.verifies && other.verifies,
                   std::max(one.parallel_jobs, other.parallel_jobs),
                   one.fills_random && other.fills_random};
  follows_ = events_.follow(sides_[0]->completion_fd()) && events_.follow(sides_[1]->completion_fd());
}

OffloadEngine::~OffloadEngine() = default;

/// Where a job of this length goes. A side that has failed is not asked for more.
bool OffloadEngine::offloads(ByteCount length) const {
  const bool wanted = length > lengths_.above || (length >= lengths_.below && offloads_);
  return sides_[wanted ? 1 : 0]->fault() ? !wanted : wanted;
}

/// A run of jobs that go the same way at a time; a side that takes less than all ends it.
Result<std::size_t> OffloadEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (auto failed = fault()) return *failed;
  if (auto room = check_room(jobs, ids); !room) return room.error();
  // All of them first: one side must not have begun when the other refuses its part.
  if (auto checked = check_jobs(jobs, capabilities_, capabilities_.max_job_length); !checked) return checked.error();
  if (auto reached = check_reach(jobs, *this); !reached) return reached.error();
  std::size_t accepted = 0;
  while (accepted < jobs.size()) {
    const bool before = offloads_;
    offloads_ = offloads(whole_length(jobs[accepted]));
    std::size_t end = accepted + 1;
    while (end < jobs.size() && offloads(whole_length(jobs[end])) == offloads_) ++end;
    const bool tried = offloads_;
    const auto taken = sides_[tried ? 1 : 0]->submit(jobs.subspan(accepted, end - accepted), ids.subspan(accepted));
    if (!taken) {
      offloads_ = before;
      if (offloads(whole_length(jobs[accepted])) != tried) continue;  // it has failed: the other side takes these
      notify();
      if (accepted > 0) return accepted;
      return taken;
    }
    for (std::size_t job = accepted; job < accepted + *taken; ++job) ids[job] = outer(ids[job], offloads_);
    accepted += *taken;
    if (accepted < end) break;
  }
  notify();
  return accepted;
}

CancelResult OffloadEngine::cancel(JobId id) {
  const CancelResult result = sides_[id.slot % 2]->cancel({id.slot / 2, id.generation});
  notify();
  return result;
}

std::size_t OffloadEngine::poll(std::span<Completion> out) {
  events_.looked();
  // In turn: one that fills `out` each time must not keep the other from its work.
  polled_first_ = !polled_first_;
  std::size_t count = 0;
  for (const bool offloaded : {polled_first_, !polled_first_}) {
    const std::size_t got = sides_[offloaded ? 1 : 0]->poll(out.subspan(count));
    for (Completion& completion : out.subspan(count, got)) completion.id = outer(completion.id, offloaded);
    count += got;
  }
  notify();
  return count;
}

std::uint64_t OffloadEngine::progress() { return sides_[0]->progress() + sides_[1]->progress(); }

bool OffloadEngine::reaches(MemorySpan memory) const {
  const auto would_refuse = [&](const auto& side) { return !side->reaches(memory) && !side->fault(); };
  return std::none_of(std::begin(sides_), std::end(sides_), would_refuse) && !fault();
}

std::chrono::nanoseconds OffloadEngine::now() const { return sides_[0]->now(); }

std::optional<Error> OffloadEngine::fault() const {
  auto of_cpu = sides_[0]->fault();
  return of_cpu && sides_[1]->fault() ? of_cpu : std::nullopt;
}

void OffloadEngine::notify() {
  bool news = false;
  for (const auto& side : sides_) {
    news = news || side->has_own_news();
    if (side->given_up()) events_.leave(side->completion_fd());
  }
  events_.set_readable(news);
}

}  // namespace sluice::inline compose
