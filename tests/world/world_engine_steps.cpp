// SPDX-License-Identifier: Apache-2.0
// The engine, time, and the end of its work: a stop.
#include <algorithm>

#include "world.hpp"

namespace sluice::world {

void World::take_engine_step(const Step& step) {
  const std::size_t jobs = engine_->jobs().size();
  const std::size_t which = jobs > 0 ? step.a % jobs : 0;
  switch (step.act) {
    case Act::EndJob:
      if (jobs > 0 && !stopped_) {
        const WorldEngine::Job& job = engine_->jobs()[which];
        const bool cancelled = job.cancel_requested && step.b % 4 != 0;
        engine_->end(which, cancelled ? Outcome::Cancelled : Outcome::Zeroed, step.c % engine_->bytes(job));
      }
      return;
    case Act::FailJob:
      if (jobs > 0 && step.b % 2 == 0 && !stopped_) {
        const WorldEngine::Job& job = engine_->jobs()[which];
        const std::size_t bytes = step.b / 4 % 2 == 0 ? step.c % 4096 : step.c % engine_->bytes(job);
        const std::size_t rest = engine_->bytes(job) - bytes;
        ++losses_;
        may_be_lost(job.first_page, job.pages);
        engine_->end(which, Outcome::Failed, bytes, step.b / 8 % 2 == 0 ? 0 : (step.c / 64) % (rest + 1));
      }
      return;
    case Act::EngineBusy:
      engine_->set_busy(step.a % 3 == 0);
      return;
    case Act::EngineTakesPart:
      engine_->take_at_most(step.a % 3 == 0 ? ~std::size_t{0} : 1 + step.b % 3);
      return;
    case Act::EngineRefuses:
      engine_->refuse(step.a % kPages, step.b % 4 == 0 ? 1 + step.b / 4 % 16 : 0, step.c % 2 == 0);
      return;
    case Act::EngineLies:
      if (step.a % 8 == 0) engine_->lie(static_cast<Lie>(1 + step.b % (kLies - 1)));
      return;
    case Act::EngineDies:
      if (step.a % 8 == 0 && !stopped_) {
        ++losses_;
        may_be_lost(0, kPages);
        engine_->die();
      }
      return;
    case Act::TimePasses:
      time_ += std::chrono::microseconds(1ULL << step.a % 20);
      return;
    default:
      return;
  }
}

/// All that the jobs on these pages are a part of.
void World::may_be_lost(std::size_t first, std::size_t pages) {
  const ExtentTable& table = manager_->extents();
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    const ExtentState state = extent->state();
    const bool works = state == ExtentState::Scrubbing || state == ExtentState::Cancelling;
    if (!works || end_page(*extent) <= first || first_page(*extent) >= first + pages) continue;
    for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) may_be_lost_.set(page);
  }
}

/// What an engine has refused or lied about leaves service; what exactly, is the manager's to say.
void World::look_for_losses() {
  if (!engine_->lied() && engine_->refusals() == refusals_) return;
  if (engine_->refusals() != refusals_) {
    refusals_ = engine_->refusals();
    ++losses_;
  }
  if (engine_->lied()) ++losses_;
  may_be_lost(0, kPages);
  const ExtentTable& table = manager_->extents();
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    if (extent->state() != ExtentState::Quarantined) continue;
    for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) may_be_lost_.set(page);
  }
}

/// Nothing is scrubbed or granted any more.
void World::stop() {
  if (stopped_) return;
  ++losses_;
  const ExtentTable& table = manager_->extents();
  const ByteCount busy = table.bytes(ExtentState::Scrubbing) + table.bytes(ExtentState::Cancelling);
  const ByteCount quarantined = table.bytes(ExtentState::Quarantined);
  may_be_lost(0, kPages);
  const ByteCount in_flight = manager_->stop();
  stopped_ = true;
  engine_->close();
  check(in_flight == busy, "{} bytes were in flight at the stop, not {}", busy.value(), in_flight.value());
  check(table.bytes(ExtentState::Quarantined) == quarantined + busy, "what was in flight is not in quarantine");
  check(manager_->jobs_in_flight() == 0 && manager_->fault().has_value(), "the stop did not stop");
}

}  // namespace sluice::world
