// SPDX-License-Identifier: Apache-2.0
#include "sluice/compose/offload_engine.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::inline compose {

Result<std::unique_ptr<OffloadEngine>> OffloadEngine::create(std::unique_ptr<Engine> cpu,
                                                             std::unique_ptr<Engine> engine,
                                                             const OffloadLengths& lengths) {
  if (lengths.above < lengths.below) {
    return Error{
        DriverErrc::InvalidArgument,
        fmt::format("jobs below {} bytes to the CPU and above {} bytes to the engine: the second must not be less "
                    "than the first",
                    lengths.below.value(), lengths.above.value())};
  }
  return std::unique_ptr<OffloadEngine>(new OffloadEngine(std::move(cpu), std::move(engine), lengths));
}

OffloadEngine::OffloadEngine(std::unique_ptr<Engine> cpu, std::unique_ptr<Engine> engine, const OffloadLengths& lengths)
    : sides_{std::move(cpu), std::move(engine)}, lengths_(lengths) {
  const EngineCapabilities& one = sides_[0]->capabilities();
  const EngineCapabilities& other = sides_[1]->capabilities();
  capabilities_ = {fmt::format("auto({} below {} B, {} above {} B)", one.name, lengths.below.value(), other.name,
                               lengths.above.value()),
                   std::min(one.max_jobs_in_flight, other.max_jobs_in_flight),
                   std::min(one.max_job_length, other.max_job_length),
                   false,
                   0.0,
                   one.verifies && other.verifies};
}

bool OffloadEngine::offloads(ByteCount length) const {
  if (length < lengths_.below) return false;
  if (length > lengths_.above) return true;
  return offloads_;
}

/// A run of jobs that go the same way at a time; a side that takes less than all ends it.
Result<std::size_t> OffloadEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (jobs.empty() || ids.size() < jobs.size()) return sides_[0]->submit(jobs, ids);  // which says what is wrong
  std::size_t accepted = 0;
  while (accepted < jobs.size()) {
    const bool before = offloads_;
    offloads_ = offloads(length_of(jobs[accepted].memory));
    std::size_t end = accepted + 1;
    while (end < jobs.size() && offloads(length_of(jobs[end].memory)) == offloads_) ++end;
    auto taken = sides_[offloads_ ? 1 : 0]->submit(jobs.subspan(accepted, end - accepted), ids.subspan(accepted));
    if (!taken) {
      offloads_ = before;
      if (accepted > 0) return accepted;
      return taken;
    }
    for (std::size_t job = accepted; job < accepted + *taken; ++job) ids[job] = outer(ids[job], offloads_);
    accepted += *taken;
    if (accepted < end) break;
  }
  return accepted;
}

CancelResult OffloadEngine::cancel(JobId id) { return sides_[id.slot % 2]->cancel({id.slot / 2, id.generation}); }

std::size_t OffloadEngine::poll(std::span<Completion> out) {
  // In turn: one that fills `out` each time must not keep the other from its work.
  polled_first_ = !polled_first_;
  std::size_t count = 0;
  for (const bool offloaded : {polled_first_, !polled_first_}) {
    const std::size_t got = sides_[offloaded ? 1 : 0]->poll(out.subspan(count));
    for (Completion& completion : out.subspan(count, got)) completion.id = outer(completion.id, offloaded);
    count += got;
  }
  return count;
}

std::optional<Error> OffloadEngine::fault() const {
  for (const auto& side : sides_) {
    if (auto fault = side->fault()) return fault;
  }
  return std::nullopt;
}

}  // namespace sluice::inline compose
