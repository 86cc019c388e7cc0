// SPDX-License-Identifier: Apache-2.0
#include "sluice/compose/job_splitter.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "checked_engine.hpp"
#include "sluice/base/units.hpp"
#include "sluice/engine/job_slots.hpp"
#include "sluice/engine/windows.hpp"

namespace sluice::inline compose {
namespace {

constexpr ByteCount kLongestJob{1ULL << 48};  // more than a host has
constexpr std::size_t kPage = kPageSize.value();
constexpr std::size_t kLeastShare = 64 << 10;  // of an urgent job: less is not worth another worker
constexpr std::size_t kMostPieces = 64;        // in one submit()
constexpr std::size_t kNowhere = ~std::size_t{0};

FailureCause cause_of(const Error& error) {
  if (error.code == DriverErrc::OutsideWindow) return FailureCause::OutsideWindow;
  if (error.code == DriverErrc::InvalidArgument) return FailureCause::BadDescriptor;
  return FailureCause::EngineFault;
}

/// Whether the engine may go on writing after a job that has failed so.
bool leaves_a_writer(FailureCause cause) {
  switch (cause) {
    case FailureCause::Timeout:
    case FailureCause::EngineFault:
      return true;
    case FailureCause::None:
    case FailureCause::BadDescriptor:
    case FailureCause::OutsideWindow:
    case FailureCause::SlaveError:
    case FailureCause::DecodeError:
    case FailureCause::Mismatch:
      return false;
  }
  return true;
}

std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

Result<std::unique_ptr<JobSplitter>> JobSplitter::create(Engine& engine, const SplitterOptions& options) {
  if (options.piece_length < ByteCount(kPage)) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("pieces of {} bytes: give at least {}", options.piece_length.value(), kPage)};
  }
  auto checked = std::make_unique<CheckedEngine>(engine, options.stall_timeout);
  return std::unique_ptr<JobSplitter>(new JobSplitter(std::move(checked), options));
}

Result<std::unique_ptr<JobSplitter>> JobSplitter::create(std::unique_ptr<Engine> engine,
                                                         const SplitterOptions& options) {
  auto splitter = create(*engine, options);
  if (splitter) (*splitter)->engine_->own(std::move(engine));
  return splitter;
}

JobSplitter::JobSplitter(std::unique_ptr<CheckedEngine> engine, const SplitterOptions& options)
    : engine_(std::move(engine)),
      options_(options),
      capabilities_(engine_->capabilities()),
      slots_(std::make_unique<JobSlots>(engine_->max_jobs())),
      progress_(engine_->max_jobs()),
      pieces_(engine_->max_jobs()),
      events_(options.stall_timeout / 4) {
  capabilities_.max_jobs_in_flight = engine_->max_jobs();
  capabilities_.max_job_length = kLongestJob;
  capabilities_.concurrent_calls = false;
  for (auto cookie = static_cast<std::uint32_t>(pieces_.size()); cookie > 0; --cookie) {
    free_pieces_.push_back(cookie - 1);
  }
  follows_ = events_.follow(engine_->completion_fd());
}

JobSplitter::~JobSplitter() {
  for (std::uint32_t slot = 0; slot < slots_->capacity(); ++slot) {
    if (slots_->held(slot)) cancel(slots_->id(slot));
  }
}

std::uint64_t JobSplitter::progress() { return engine_->progress(); }

std::optional<Error> JobSplitter::fault() const { return engine_->fault(); }

std::chrono::nanoseconds JobSplitter::now() const { return engine_->now(); }

std::optional<Error> JobSplitter::refusal(JobId id) const {
  return slots_->knows(id) && progress_[id.slot].finished ? progress_[id.slot].refusal : std::nullopt;
}

int JobSplitter::completion_fd() const noexcept {
  return follows_ && engine_->completion_fd() >= 0 ? events_.fd() : -1;
}

/// How much of `memory`, from its start, lies in one window of the engine's.
std::size_t JobSplitter::reached(MemorySpan memory) const {
  if (engine_->reaches(memory)) return memory.size();
  std::size_t inside = 0;
  for (std::size_t outside = memory.size(); outside - inside > 1;) {
    const std::size_t middle = inside + (outside - inside) / 2;
    (engine_->reaches(memory.first(middle)) ? inside : outside) = middle;
  }
  return inside;
}

bool JobSplitter::reaches(MemorySpan memory) const {
  std::size_t done = 0;
  while (done < memory.size()) {
    const std::size_t more = reached(memory.subspan(done));
    if (more == 0) return false;
    done += more;
  }
  return !memory.empty();
}

Result<std::size_t> JobSplitter::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (auto failed = fault()) return *failed;
  if (auto room = check_room(jobs, ids); !room) return room.error();
  if (auto checked = check_jobs(jobs, engine_->capabilities(), kLongestJob); !checked) return checked.error();
  if (auto reached = check_reach(jobs, *this); !reached) return reached.error();
  const std::size_t count = std::min<std::size_t>(jobs.size(), slots_->free_count());
  if (count == 0) return all_in_use(slots_->capacity());
  for (std::size_t index = 0; index < count; ++index) {
    ids[index] = slots_->take(jobs[index]);
    progress_[ids[index].slot] = {.prefix = kNowhere, .queued = true};
    queue_of(ids[index].slot).push_back(ids[index].slot);
  }
  give();
  follow_offers();
  notify();
  return count;
}

CancelResult JobSplitter::cancel(JobId id) {
  if (!slots_->holds(id)) return slots_->knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  if (progress_[id.slot].finished) return CancelResult::AlreadyFinished;
  stop(id.slot, 0);
  notify();
  return CancelResult::Requested;
}

std::size_t JobSplitter::poll(std::span<Completion> out) {
  events_.looked();
  collect();
  give();
  std::size_t count = 0;
  while (count < out.size() && !finished_.empty()) {
    out[count++] = finished_.front();
    slots_->give_back(finished_.front().id.slot);
    finished_.pop_front();
  }
  follow_offers();
  notify();
  return count;
}

std::deque<std::uint32_t>& JobSplitter::queue_of(std::uint32_t slot) {
  return slots_->job(slot).urgency == Urgency::Urgent ? urgent_ : background_;
}

/// Pieces end at the end of a page where they can, so that an error spoils no page of the next one.
std::size_t JobSplitter::piece_length(const ScrubJob& job, std::size_t offset) const {
  const EngineCapabilities& engine = engine_->capabilities();
  const MemorySpan rest = job.memory.subspan(offset);
  std::size_t length = std::min(options_.piece_length, engine.max_job_length).value();
  length = std::max<std::size_t>(length, 1);
  if (job.urgency == Urgency::Urgent) {
    const std::size_t pieces =
        round_up((job.memory.size() - 1) / length + 1, std::clamp<std::size_t>(engine.parallel_jobs, 1, kMostPieces));
    length = std::min(length, std::max(round_up(job.memory.size() / pieces, kPage), kLeastShare));
  }
  if (length >= rest.size()) {
    length = rest.size();
  } else if (const std::size_t behind = (reinterpret_cast<std::uintptr_t>(rest.data()) + length) % kPage;
             behind < length) {
    length -= behind;
  }
  const std::size_t inside = reached(rest.first(length));
  return inside == 0 ? length : inside;  // an engine that lost a window says so itself
}

/// Gives the engine what it takes. A part of its room is kept from background jobs.
void JobSplitter::give() {
  do {
    batch_.clear();
    batch_jobs_.clear();
    plan(urgent_, pieces_.size());
    plan(background_, pieces_.size() - pieces_.size() / 4 - background_pieces_);
  } while (!batch_.empty() && give_batch());
}

void JobSplitter::plan(const std::deque<std::uint32_t>& queue, std::size_t most_pieces) {
  for (const std::uint32_t slot : queue) {
    const ScrubJob& job = slots_->job(slot);
    Progress& progress = progress_[slot];
    while (progress.given < job.memory.size()) {
      if (most_pieces == 0 || free_pieces_.empty() || batch_.size() == kMostPieces) return;
      --most_pieces;
      const std::uint32_t cookie = free_pieces_.back();
      free_pieces_.pop_back();
      const std::size_t length = piece_length(job, progress.given);
      pieces_[cookie] = {slot, progress.given, length, {}, true};
      batch_.push_back(cookie);
      batch_jobs_.push_back(job);
      batch_jobs_.back().memory = job.memory.subspan(progress.given, length);
      batch_jobs_.back().cookie = cookie;
      batch_jobs_.back().part_of = std::max(job.part_of, ByteCount(job.memory.size()));
      progress.given += length;
      ++progress.in_flight;
      if (job.urgency == Urgency::Background) ++background_pieces_;
    }
  }
}

/// True: the engine may take more.
bool JobSplitter::give_batch() {
  const auto refused = [](const auto& answer) { return !answer && answer.error().code != DriverErrc::Busy; };
  batch_ids_.resize(batch_.size());
  auto accepted = engine_->submit(batch_jobs_, batch_ids_);
  if (refused(accepted) && batch_.size() > 1) {
    take_back(1);  // which piece it means shows when they come alone
    accepted = engine_->submit(batch_jobs_, batch_ids_);
  }
  if (refused(accepted)) {
    const std::uint32_t slot = pieces_[batch_[0]].slot;
    take_back(0);
    refuse(slot, accepted.error());
    return true;
  }
  const bool more = accepted && *accepted == batch_.size();
  take_back(accepted ? *accepted : 0);
  for (std::size_t index = 0; index < batch_.size(); ++index) pieces_[batch_[index]].inner = batch_ids_[index];
  for (std::deque<std::uint32_t>* queue : {&urgent_, &background_}) {
    while (!queue->empty() && progress_[queue->front()].given == slots_->job(queue->front()).memory.size()) {
      progress_[queue->front()].queued = false;
      queue->pop_front();
    }
  }
  return more;
}

/// What the engine did not take of the batch was never given.
void JobSplitter::take_back(std::size_t first) {
  while (batch_.size() > first) {
    Piece& piece = pieces_[batch_.back()];
    piece.in_flight = false;
    free_pieces_.push_back(batch_.back());
    progress_[piece.slot].given = piece.offset;
    --progress_[piece.slot].in_flight;
    if (slots_->job(piece.slot).urgency == Urgency::Background) --background_pieces_;
    batch_.pop_back();
    batch_jobs_.pop_back();
  }
}

void JobSplitter::refuse(std::uint32_t slot, const Error& error) {
  Progress& progress = progress_[slot];
  if (progress.cause == FailureCause::None) {
    progress.cause = cause_of(error);
    progress.refusal = error;
    progress.failed_at = progress.given;
  }
  stop(slot, progress.failed_at);
}

void JobSplitter::collect() {
  std::array<Completion, 32> some;
  for (std::size_t got = some.size(); got == some.size();) {
    got = engine_->poll(some);
    for (const Completion& completion : std::span(some).first(got)) end_piece(completion);
  }
}

void JobSplitter::end_piece(const Completion& completion) {
  Piece& piece = pieces_[completion.cookie];
  Progress& progress = progress_[piece.slot];
  piece.in_flight = false;
  free_pieces_.push_back(static_cast<std::uint32_t>(completion.cookie));
  --progress.in_flight;
  if (slots_->job(piece.slot).urgency == Urgency::Background) --background_pieces_;
  const std::size_t done = completion.bytes_zeroed.value();
  if (done < piece.length) progress.prefix = std::min(progress.prefix, piece.offset + done);
  if (completion.outcome == Outcome::Cancelled) progress.cut_short = true;
  if (completion.outcome != Outcome::Failed) {
    settle(piece.slot);
    return;
  }
  const bool first = progress.cause == FailureCause::None || piece.offset < progress.failed_at;
  // Whoever reads only the cause must not take the memory of a later piece for one that nothing writes any more.
  const bool same = leaves_a_writer(completion.cause) == leaves_a_writer(progress.cause);
  if (same ? first : leaves_a_writer(completion.cause)) progress.cause = completion.cause;
  if (first) progress.failed_at = piece.offset;
  progress.prefix = std::min(progress.prefix, piece.offset + done);
  progress.doubt = std::max(progress.doubt, piece.offset + piece.length - completion.bytes_unaffected.value());
  stop(piece.slot, progress.failed_at);
}

/// No more of the job is given, and the pieces from `offset` on that were given are cancelled: the last first, or an
/// engine could begin with a later piece when an earlier one is cancelled. Those before a failure go on: what they
/// write is certain, and without them more would be in doubt.
void JobSplitter::stop(std::uint32_t slot, std::size_t offset) {
  Progress& progress = progress_[slot];
  if (progress.queued) std::erase(queue_of(slot), slot);
  progress.queued = false;
  std::vector<const Piece*> given;
  std::uint32_t left = progress.in_flight;
  for (auto piece = pieces_.begin(); left > 0; ++piece) {
    if (!piece->in_flight || piece->slot != slot) continue;
    --left;
    if (piece->offset >= offset) given.push_back(&*piece);
  }
  std::sort(given.begin(), given.end(), [](const Piece* a, const Piece* b) { return a->offset > b->offset; });
  for (const Piece* const piece : given) static_cast<void>(engine_->cancel(piece->inner));
  settle(slot);
}

/// Finishes a job of which nothing is queued or in flight any more.
void JobSplitter::settle(std::uint32_t slot) {
  Progress& progress = progress_[slot];
  if (progress.queued || progress.in_flight > 0 || progress.finished) return;
  const ScrubJob& job = slots_->job(slot);
  const std::size_t prefix = std::min(progress.prefix, progress.given);
  Completion completion{slots_->id(slot), job.cookie, Outcome::Zeroed, progress.cause, ByteCount(prefix), {}};
  if (progress.cause != FailureCause::None) {
    completion.outcome = Outcome::Failed;
    completion.bytes_unaffected = ByteCount(job.memory.size() - std::max(progress.doubt, prefix));
  } else if (progress.cut_short || progress.given < job.memory.size()) {
    completion.outcome = Outcome::Cancelled;
  }
  progress.finished = true;
  finished_.push_back(completion);
}

/// Another engine may have taken over.
void JobSplitter::follow_offers() {
  capabilities_.name = engine_->capabilities().name;
  capabilities_.verifies = engine_->capabilities().verifies;
  capabilities_.fills_random = engine_->capabilities().fills_random;
}

/// Whoever sleeps on the descriptor must also wake up for what was collected already, and when nobody else would say
/// that the engine takes more.
void JobSplitter::notify() {
  if (engine_->given_up()) events_.leave(engine_->completion_fd());
  const bool waits = (!urgent_.empty() || !background_.empty()) && engine_->idle();
  events_.set_readable(waits || !finished_.empty() || engine_->has_own_news());
}

}  // namespace sluice::inline compose
