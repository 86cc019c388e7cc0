// SPDX-License-Identifier: Apache-2.0
#include "random_story.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::test {
namespace {

std::uint8_t cause_of(JobFault fault) {
  switch (fault) {
    case JobFault::None:
      return ring::kCauseNone;
    case JobFault::SlaveError:
      return ring::kCauseSlaveError;
    case JobFault::DecodeError:
      return ring::kCauseDecodeError;
    case JobFault::Mismatch:
      return ring::kCauseMismatch;
    case JobFault::OutsideWindow:
      return ring::kCauseOutsideWindow;
    case JobFault::BadDescriptor:
      return ring::kCauseBadDescriptor;
    case JobFault::Timeout:
      return ring::kCauseTimeout;
  }
  return 0;
}

SimOptions draw_options(const std::string& build, std::uint64_t seed) {
  std::mt19937_64 random(seed * 977 + 1);
  const auto up_to = [&](std::uint32_t most) { return static_cast<std::uint32_t>(random() % (most + 1)); };
  SimOptions options;
  options.build = build;
  options.seed = seed;
  std::uint32_t addr_width = 0;
  for (const RtlBuild& known : rtl_builds()) {
    if (known.name == build) addr_width = known.addr_width;
  }
  // Anywhere the engine's addresses reach, with room for everything that is mapped.
  const std::uint64_t reach = ~0ULL >> (64 - addr_width);
  options.first_iova = random() % (reach - (1ULL << 37)) / ring::kPageBytes * ring::kPageBytes;
  options.timing = {{0, up_to(120)}, {0, up_to(150)}, {0, up_to(60)}, 0.35 + 0.65 * up_to(100) / 100.0, seed % 2 == 0};
  return options;
}

/// From two entries to 32; with many queues to eight.
std::uint32_t draw_ring_log2(const std::string& build, std::uint64_t seed) {
  const auto& builds = rtl_builds();
  const auto found = std::find_if(builds.begin(), builds.end(), [&](const auto& one) { return one.name == build; });
  return 1 + static_cast<std::uint32_t>(seed % (found->queues > 4 ? 3 : kRingSizes));
}

/// Near the ends of a generation's 32 bits, and of 31, more often than not.
std::uint32_t draw_generation(std::mt19937_64& random) {
  const std::uint32_t bases[] = {0U, 0x7FFF'FFFEU, 0xFFFF'FFFEU, static_cast<std::uint32_t>(random())};
  return bases[random() % std::size(bases)] + static_cast<std::uint32_t>(random() % 2);
}

}  // namespace

RandomStory::RandomStory(const std::string& build, std::uint64_t seed, std::size_t jobs)
    : random_(seed),
      ring_log2_(draw_ring_log2(build, seed)),
      engine_(draw_options(build, seed), kPlaces * kPlaceBytes, ring_log2_),
      names_(std::min(engine_.device().build().slots, 4 * engine_.entries())),
      jobs_left_(jobs),
      in_flight_(engine_.queues()),
      submitted_(engine_.queues()),
      arrived_(engine_.queues()) {
  for (std::uint64_t place = 0; place < kPlaces; ++place) free_places_.push_back(place * kPlaceBytes);
  for (std::size_t q = 0; q < engine_.queues(); ++q) {
    engine_.write(ring::kQueueQos, static_cast<std::uint32_t>(below(4) | below(4) << 8), q);
    if (chance(0.2)) engine_.write(ring::kQueueRate, static_cast<std::uint32_t>(4096 + below(60'000)), q);
  }
  first_slot_ = static_cast<std::uint16_t>(below(engine_.device().build().slots - names_ + 1));
  first_generation_ = draw_generation(random_);
  engine_.write_engine(ring::kRegTimeout, 20'000);
  engine_.start();
  begin_somewhere(seed);
  if (chance(0.4)) {
    lazy_ = below(engine_.queues());
    lazy_turns_ = 2000;
  }
  engine_.device().set_observer([this](const BusEvent& event) { observe(event); });
}

/// Runs no-ops until the pointers of each queue stand where this run begins. The seeds of a ring size go through all
/// places there are.
void RandomStory::begin_somewhere(std::uint64_t seed) {
  for (std::size_t q = 0; q < engine_.queues(); ++q) {
    const auto start = static_cast<std::uint32_t>((seed / kRingSizes + q * 17) % (2 * engine_.entries()));
    for (; submitted_[q] < start; ++submitted_[q]) {
      engine_.run(RawEngine::marker(ring::kOpNoop, slot_of(submitted_[q]), generation_of(submitted_[q])), q);
    }
    arrived_[q] = start;
    rings_.starts.insert(start);
  }
}

/// How many descriptors the submission ring has room for.
std::uint32_t RandomStory::room(std::size_t q) {
  if (submitted_[q] - arrived_[q] >= engine_.entries() / 2) arrived_[q] = engine_.read(ring::kQueueSqHead, q);
  return engine_.entries() - (submitted_[q] - arrived_[q]);
}

/// One job, or as many at once as fit.
void RandomStory::submit(std::size_t q) {
  const bool crowd = lazy_ == q || chance(0.2);
  const std::size_t most = crowd ? names_ : std::max<std::size_t>(1, engine_.entries() / 2);
  if (in_flight_[q].size() >= most) return;
  const std::size_t fits =
      std::min({most - in_flight_[q].size(), std::size_t{room(q)}, jobs_left_, free_places_.size() - 1});
  if (fits > 0)
    submit_batch(q, static_cast<std::uint32_t>(chance(0.3) ? fits : 1 + below(std::min<std::size_t>(fits, 2))));
}

/// With one doorbell.
void RandomStory::submit_batch(std::size_t q, std::uint32_t count) {
  rings_.submission_full |= submitted_[q] + count - arrived_[q] == engine_.entries();
  rings_.one_doorbell_for_all |= count == engine_.entries();
  for (; count > 0; --count) {
    in_flight_[q].push_back(draw_job(q));
    Job& job = in_flight_[q].back();
    places_[job.place] = {q, job.place + kPlaceBytes};
    ++submitted_[q];
    --jobs_left_;
    update_faults();
    engine_.place(job.descriptor, q);
    if (chance(0.08)) cancel(job, q);
  }
  engine_.ring_doorbell(q);
  if (!engine_.device().last_write_accepted()) fail("the doorbell was refused");
  for (Job& known : in_flight_[q]) known.rung = true;
  // Bursts go out quickly where no answer holds them up: catch some of them then.
  if (quarantined(q) && chance(0.4)) {
    engine_.device().run_cycles(below(220));
    cancel(in_flight_[q].back(), q);
  }
}

void RandomStory::update_faults() {
  BusFaults faults;
  for (const auto& queue : in_flight_) {
    for (const Job& job : queue) {
      if (job.point.fault != JobFault::SlaveError && job.point.fault != JobFault::DecodeError) continue;
      std::uint64_t index = job.first_bad;
      for (const Extent& extent : job.extents) {
        if (index < extent.length) {
          faults.bad_ranges.push_back(
              {engine_.data().part(extent.offset + index, 1), job.point.fault == JobFault::DecodeError});
          break;
        }
        index -= extent.length;
      }
    }
  }
  if (silent_) faults.silent_queue = static_cast<std::uint32_t>(*silent_);
  engine_.device().set_faults(faults);
}

void RandomStory::observe(const BusEvent& event) {
  if (event.kind != BusEvent::Kind::WriteAddress && event.kind != BusEvent::Kind::ReadAddress) return;
  const std::uint64_t offset = event.address - engine_.data_iova();
  const auto place = places_.upper_bound(offset);
  if (place == places_.begin() || std::prev(place)->second.second <= offset) {
    fail(fmt::format("a burst to {:#x}, where no job is in flight", event.address));
    return;
  }
  for (Job& job : in_flight_[std::prev(place)->second.first]) {
    if (job.place == std::prev(place)->first) ++job.bursts_issued;
  }
}

CancelPhase RandomStory::phase_of(const Job& job) const {
  if (!job.rung) return CancelPhase::BeforeDescriptor;
  if (job.bursts_issued == 0) return CancelPhase::Waiting;
  return job.bursts_issued < job.bursts_expected ? CancelPhase::Issuing : CancelPhase::Answering;
}

void RandomStory::cancel(Job& job, std::size_t q) {
  if (job.point.phase != CancelPhase::Never) return;
  engine_.write(ring::kQueueCancelGeneration, job.descriptor.generation, q);
  job.point.phase = phase_of(job);
  engine_.write(ring::kQueueCancelSlot, job.descriptor.slot, q);
}

void RandomStory::cancel_one() {
  const std::size_t q = below(in_flight_.size());
  if (in_flight_[q].empty() || (quarantined(q) && !chance(0.02))) return;  // it hangs for long
  // Mostly the job that runs; its completion may be there already.
  const std::size_t index = chance(0.7) ? 0 : below(in_flight_[q].size());
  cancel(in_flight_[q][index], q);
}

std::string RandomStory::judge(const Job& job, const RawEngine::Completion& completion, std::size_t q) {
  const CoverPoint& point = job.point;
  std::uint64_t length = 0;
  for (const Extent& extent : job.extents) length += extent.length;
  const std::uint8_t fault_cause = cause_of(point.fault);
  if (completion.slot != job.descriptor.slot || completion.generation != job.descriptor.generation) {
    return "the completion names another job";
  }
  const bool timed_out = completion.cause == ring::kCauseTimeout && quarantined(q);
  if (completion.outcome == ring::kOutcomeFailed && completion.cause != fault_cause && !timed_out) {
    return fmt::format("it failed with cause {}", completion.cause);
  }
  if ((completion.outcome == ring::kOutcomeFailed) != (completion.cause != ring::kCauseNone))
    return "cause and outcome";
  if (completion.outcome == ring::kOutcomeCancelled && point.phase == CancelPhase::Never) return "nobody cancelled it";
  if (completion.outcome == ring::kOutcomeZeroed && point.fault != JobFault::None && point.fault != JobFault::Timeout) {
    return "it hides its fault";
  }
  if (completion.outcome == ring::kOutcomeZeroed && completion.bytes != length) return "done, but not all of it";
  if (completion.bytes > length) return "more bytes than it has";
  if (completion.outcome == ring::kOutcomeFailed && point.fault == JobFault::Mismatch &&
      completion.cause == ring::kCauseMismatch && completion.bytes != job.first_bad) {
    return fmt::format("{} good bytes; the first that differs is {}", completion.bytes, job.first_bad);
  }
  if (completion.bytes > job.first_bad) return "a prefix that goes beyond the fault";
  // The prefix is there; what lies outside is as it was. Behind an error later bursts may have been written.
  std::vector<std::byte> expected = job.before;
  std::uint64_t left = completion.bytes;
  for (const Extent& extent : job.extents) {
    for (std::uint64_t index = 0; index < extent.length; ++index) {
      const std::uint64_t offset = extent.offset + index;
      const std::byte now = engine_.data().all()[offset];
      const auto filled = static_cast<std::byte>(job.descriptor.pattern >> (offset % 8 * 8));
      if (left > 0) {
        --left;
        if (now != filled) return fmt::format("byte {} of its prefix is not filled", completion.bytes - left - 1);
        expected[offset - job.place] = now;
      } else if (completion.outcome == ring::kOutcomeFailed && now == filled && writes(point.kind)) {
        expected[offset - job.place] = now;
      }
    }
  }
  const MemorySpan place = engine_.data().part(job.place, kPlaceBytes);
  if (!std::equal(place.begin(), place.end(), expected.begin())) return "bytes outside its prefix have changed";
  return {};
}

void RandomStory::collect(std::size_t q) {
  while (const auto completion = engine_.try_collect(q)) {
    if (in_flight_[q].empty()) {
      fail("a completion of no job");
      return;
    }
    Job job = std::move(in_flight_[q].front());
    in_flight_[q].pop_front();
    if (job.point.phase == CancelPhase::Never && chance(completion->cause == ring::kCauseTimeout ? 0.5 : 0.1)) {
      engine_.cancel(job.descriptor.slot, job.descriptor.generation, q);
      job.point.phase = CancelPhase::After;
      if (completion->outcome == ring::kOutcomeCancelled) fail("cancelled before it was asked to");
    }
    if (completion->cause == ring::kCauseTimeout) job.point.fault = JobFault::Timeout;
    if (const std::string what = judge(job, *completion, q); !what.empty()) {
      fail(fmt::format("queue {}, slot {} ({}): {}", q, completion->slot, to_string(job.point), what));
    }
    covered_.insert(job.point);
    // From now on no burst may go there, until a new job has it. Late bursts of a silent queue may still be answered.
    places_.erase(job.place);
    if (!quarantined(q)) free_places_.push_back(job.place);
  }
  if (chance(0.3)) engine_.release_completions(q);
}

/// Best in the midst of a job that reads.
void RandomStory::go_silent(std::size_t q) {
  const bool midst = !in_flight_[q].empty() && in_flight_[q].front().bursts_issued > 0 &&
                     (reads(in_flight_[q].front().point.kind) || chance(0.15)) &&
                     (phase_of(in_flight_[q].front()) == CancelPhase::Answering || chance(0.3));
  if (!midst && !chance(0.01)) return;
  silent_ = q;
  update_faults();
  if (midst && chance(0.5)) cancel(in_flight_[q].front(), q);
}

/// Once the watchdog has given the silent queue up, what it has not fetched was never accepted.
void RandomStory::look_after_silent_queue() {
  const std::size_t q = *silent_;
  if ((engine_.read(ring::kQueueStatus, q) & ring::kStatusQuarantined) == 0) return;
  abandoned_ = true;
  if (engine_.queues() == 1) jobs_left_ = 0;
  if (lazy_ == q) lazy_.reset();
  collect(q);
  if (engine_.read(ring::kQueueSqHead, q) == engine_.read(ring::kQueueCqTail, q) &&
      submitted_[q] - in_flight_[q].size() == engine_.read(ring::kQueueCqTail, q)) {
    in_flight_[q].clear();
  }
}

/// Its completions are collected again once its completion ring has been full for a while.
void RandomStory::look_after_lazy_queue() {
  const std::size_t q = *lazy_;
  const auto collected = static_cast<std::uint32_t>(submitted_[q] - in_flight_[q].size());
  const std::uint32_t posted = engine_.read(ring::kQueueCqTail, q);
  const bool full = posted - collected == engine_.entries();
  rings_.completion_full |= full;
  if (lazy_turns_-- == 0 || (jobs_left_ == 0 && posted == submitted_[q]) || (full && chance(0.2))) lazy_.reset();
}

std::string RandomStory::state() {
  std::string text;
  for (std::size_t q = 0; q < engine_.queues(); ++q) {
    text += fmt::format("; queue {}: status {:#x}, submitted {}, fetched {}, posted {}, waits {}", q,
                        engine_.read(ring::kQueueStatus, q), submitted_[q], engine_.read(ring::kQueueSqHead, q),
                        engine_.read(ring::kQueueCqTail, q),
                        in_flight_[q].empty() ? "for nothing" : to_string(in_flight_[q].front().point));
  }
  return text;
}

std::string RandomStory::run() {
  const bool goes_silent = engine_.device().build().id_per_queue && chance(0.5);
  const std::size_t silent_at = below(jobs_left_ + 1);
  for (std::uint64_t turn = 0; failure_.empty(); ++turn) {
    if (turn > 200'000) fail("it does not come to an end" + state());
    if (goes_silent && !silent_ && jobs_left_ <= silent_at) go_silent(below(engine_.queues()));
    if (silent_ && turn % 16 == 0) look_after_silent_queue();
    if (lazy_ && turn % 4 == 0) look_after_lazy_queue();
    const std::size_t q = lazy_ && chance(0.5) ? *lazy_ : below(engine_.queues());
    const std::uint64_t choice = below(10);
    if (choice < 4 && jobs_left_ > 0 && !(abandoned_ && quarantined(q)) && free_places_.size() > 1) {
      submit(q);
    } else if (choice < 6) {
      cancel_one();
    } else {
      engine_.device().run_cycles(below(chance(0.2) ? 600 : 60));
    }
    if (lazy_ != q) collect(q);
    const bool done =
        std::all_of(in_flight_.begin(), in_flight_.end(), [](const auto& queue) { return queue.empty(); });
    if (jobs_left_ == 0 && done) break;
    for (std::size_t other = 0; turn % 16 == 0 && other < engine_.queues(); ++other) {
      if (lazy_ == other) continue;
      collect(other);
      engine_.release_completions(other);
    }
  }
  if (failure_.empty()) {
    engine_.device().run_cycles(500);
    for (std::size_t q = 0; q < engine_.queues(); ++q) {
      if (!quarantined(q)) engine_.wait_idle(q);
    }
  }
  return failure_;
}

}  // namespace sluice::test
