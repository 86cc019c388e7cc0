// SPDX-License-Identifier: Apache-2.0
#include "sluice/dmadev/dmadev_engine.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "sluice/base/units.hpp"
#include "sluice/cpu/cpu_stores.hpp"
#include "sluice/engine/job_slots.hpp"
#include "sluice/engine/windows.hpp"

namespace sluice::inline dmadev {
namespace {

constexpr std::size_t kPage = kPageSize.value();
constexpr std::uint64_t kMostInFlight = 1ULL << 40;
constexpr auto kLookForHalt = std::chrono::milliseconds(1);  // a look costs an access to the device

FailureCause cause_of(DmaStatus status) {
  switch (status) {
    case DmaStatus::Done:
    case DmaStatus::NotAttempted:
      return FailureCause::None;
    case DmaStatus::BadOperation:
      return FailureCause::BadDescriptor;
    case DmaStatus::BadAddress:
      return FailureCause::DecodeError;
    case DmaStatus::PageFault:
    case DmaStatus::AccessFailed:
      return FailureCause::SlaveError;
    case DmaStatus::DeviceFailed:
      return FailureCause::EngineFault;
  }
  return FailureCause::EngineFault;
}

/// Of a source page: a little longer than a chunk, so that a copy can start at any byte of the pattern.
std::size_t source_length(ByteCount chunk) { return (chunk.value() + 8 + kPage - 1) / kPage * kPage; }

std::size_t lane_of(const std::byte* address) { return reinterpret_cast<std::uintptr_t>(address) % 8; }

}  // namespace

DmadevEngine::DmadevEngine(std::unique_ptr<DmaDevice> device, const DmadevOptions& options)
    : device_(std::move(device)),
      options_(options),
      capabilities_{"dmadev/" + device_->limits().name, options.max_jobs, ByteCount(1ULL << 40)},
      copies_(options.copy || !device_->limits().fills),
      windows_(std::make_unique<Windows>()),
      slots_(std::make_unique<JobSlots>(options.max_jobs)),
      progress_(options.max_jobs),
      urgent_(std::make_unique<Ring<std::uint32_t>>(options.max_jobs)),
      background_(std::make_unique<Ring<std::uint32_t>>(options.max_jobs)),
      watch_(options.stall_timeout) {}

Result<void> DmadevEngine::check(const DmadevOptions& options, const DmaLimits& limits) {
  const auto refuse = [](const char* what, std::uint64_t value, std::uint64_t min, std::uint64_t max) {
    return Error{DriverErrc::InvalidArgument, fmt::format("{} of {}: give {} to {}", what, value, min, max)};
  };
  if (options.max_jobs < 1 || options.max_jobs > 65'536) return refuse("jobs in flight", options.max_jobs, 1, 65'536);
  if (options.chunk < ByteCount(kPage) || options.chunk.value() > limits.longest) {
    return refuse("a chunk, in bytes,", options.chunk.value(), kPage, limits.longest);
  }
  if (options.in_flight < options.chunk || options.in_flight.value() > kMostInFlight) {
    return refuse("bytes in flight", options.in_flight.value(), options.chunk.value(), kMostInFlight);
  }
  return {};
}

Result<std::unique_ptr<DmadevEngine>> DmadevEngine::create(std::unique_ptr<DmaDevice> device,
                                                           const DmadevOptions& options,
                                                           std::span<const MemorySpan> windows) {
  if (auto checked = check(options, device->limits()); !checked) return checked.error();
  const DmaLimits& limits = device->limits();
  if (!limits.copies && (!limits.fills || options.copy)) {
    return Error{DriverErrc::DeviceMissing, fmt::format("{} cannot {}: choose another engine", limits.name,
                                                        options.copy ? "copy memory" : "fill or copy memory")};
  }
  if (limits.boundary != 0 && (options.copy || !limits.fills)) {
    return Error{
        DriverErrc::DeviceMissing,
        fmt::format("{} works with physical addresses and is to copy: only fills are possible so; use an IOMMU, or "
                    "choose another engine",
                    limits.name)};
  }
  std::unique_ptr<DmadevEngine> engine(new DmadevEngine(std::move(device), options));
  if (auto ready = engine->set_up(windows); !ready) return ready.error();
  return engine;
}

Result<void> DmadevEngine::set_up(std::span<const MemorySpan> windows) {
  if (windows.empty()) {
    return Error{DriverErrc::InvalidArgument, "no window was given: name the memory that the engine may write"};
  }
  for (const MemorySpan window : windows) {
    const Iova iova(reinterpret_cast<std::uintptr_t>(window.data()));
    if (auto added = windows_->add(window, iova); !added) return added;
    if (auto mapped = device_->map(window); !mapped) return mapped;
  }
  if (!copies_) return {};
  if (auto made = make_source(zero_page_); !made) return made;
  return make_source(pattern_page_);
}

Result<void> DmadevEngine::make_source(SourcePage& page) {
  const std::size_t length = source_length(options_.chunk);
  void* const memory =
      ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) {
    return Error{DriverErrc::NoResources, fmt::format("mmap of a source of {} bytes failed: {}; free some memory",
                                                      length, std::strerror(errno))};
  }
  page.memory = {static_cast<std::byte*>(memory), length};
  return device_->map(page.memory);
}

DmadevEngine::~DmadevEngine() {
  for (std::uint32_t slot = 0; slot < slots_->capacity(); ++slot) {
    if (slots_->held(slot)) cancel(slots_->id(slot));
  }
  std::array<Completion, 32> collected;
  while (slots_->held_count() > 0) poll(collected);
  device_.reset();
  if (fault_) return;  // the device may still read its sources: they stay for ever
  for (const SourcePage* page : {&zero_page_, &pattern_page_}) {
    if (!page->memory.empty()) ::munmap(page->memory.data(), page->memory.size());
  }
}

std::chrono::nanoseconds DmadevEngine::now() const { return device_->now(); }

Result<std::size_t> DmadevEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  if (fault_) return *fault_;
  if (auto room = check_room(jobs, ids); !room) return room.error();
  if (auto checked = windows_->check(jobs, capabilities_); !checked) return checked.error();
  const std::size_t count = std::min<std::size_t>(jobs.size(), slots_->free_count());
  if (count == 0) return all_in_use(slots_->capacity());
  for (std::size_t index = 0; index < count; ++index) {
    ids[index] = slots_->take(jobs[index]);
    progress_[ids[index].slot] = {};
    enqueue(ids[index].slot);
  }
  give();
  return count;
}

CancelResult DmadevEngine::cancel(JobId id) {
  if (!slots_->holds(id)) return slots_->knows(id) ? CancelResult::AlreadyFinished : CancelResult::UnknownJob;
  Progress& progress = progress_[id.slot];
  const bool finished = !progress.queued && progress.in_flight == 0 && !progress.again;
  if (fault_ || finished) return CancelResult::AlreadyFinished;
  progress.cancelled = true;
  return CancelResult::Requested;
}

std::size_t DmadevEngine::poll(std::span<Completion> out) {
  if (!fault_) {
    reap();
    give();
    watch();
  }
  std::size_t count = 0;
  while (count < out.size() && !finished_.empty()) {
    out[count++] = finished_.front();
    slots_->give_back(finished_.front().id.slot);
    finished_.pop_front();
  }
  return count;
}

void DmadevEngine::enqueue(std::uint32_t slot) {
  progress_[slot].queued = true;
  (slots_->job(slot).urgency == Urgency::Urgent ? *urgent_ : *background_).push(slot);
}

/// Gives the device chunks of what waits, urgent jobs first, until enough is in flight.
void DmadevEngine::give() {
  bool given = false;
  while (!urgent_->empty() || !background_->empty()) {
    Ring<std::uint32_t>& queue = urgent_->empty() ? *background_ : *urgent_;
    const std::uint32_t slot = queue.front();
    Progress& progress = progress_[slot];
    if (progress.again && progress.in_flight == 0 && progress.cause == FailureCause::None) {
      progress.again = false;
      progress.given = progress.done;
    }
    const bool over =
        progress.cancelled || progress.cause != FailureCause::None || progress.given == slots_->job(slot).memory.size();
    if (over) {
      queue.pop();
      progress.queued = false;
      settle(slot);
      continue;
    }
    if (progress.again || bytes_in_flight_ >= options_.in_flight.value() || !give_chunk(slot)) break;
    given = true;
  }
  if (given) device_->doorbell();
}

bool DmadevEngine::give_chunk(std::uint32_t slot) {
  const ScrubJob& job = slots_->job(slot);
  Progress& progress = progress_[slot];
  const MemorySpan rest = job.memory.subspan(progress.given);
  std::size_t length = std::min<std::size_t>(rest.size(), options_.chunk.value());
  if (const std::size_t boundary = device_->limits().boundary; boundary != 0) {
    length = std::min(length, boundary - reinterpret_cast<std::uintptr_t>(rest.data()) % boundary);
  }
  const MemorySpan to = rest.first(length);
  bool from_pattern_page = false;
  const auto turned = std::rotr(job.pattern, static_cast<int>(8 * lane_of(to.data())));
  if (!(copies_ ? give_copy(to, job.pattern, from_pattern_page) : device_->fill(turned, to))) return false;
  chunks_.push_back({slot, to.size(), from_pattern_page});
  bytes_in_flight_ += to.size();
  progress.given += to.size();
  ++progress.in_flight;
  return true;
}

/// A pattern other than zero waits until no copy reads the page with the one before.
bool DmadevEngine::give_copy(MemorySpan to, std::uint64_t pattern, bool& from_pattern_page) {
  from_pattern_page = pattern != 0;
  SourcePage& page = from_pattern_page ? pattern_page_ : zero_page_;
  if (page.pattern != pattern) {
    if (page.in_flight > 0) return false;
    page.pattern = pattern;
    fill_temporal(page.memory, pattern);
  }
  if (!device_->copy(page.memory.data() + lane_of(to.data()), to)) return false;
  ++page.in_flight;
  return true;
}

void DmadevEngine::reap() {
  std::array<DmaStatus, 64> statuses;
  for (std::size_t count = statuses.size(); count == statuses.size();) {
    count = device_->completed(statuses);
    if (count > chunks_.size()) {
      fail(FailureCause::EngineFault, fmt::format("{} operations ended and {} were in flight", count, chunks_.size()));
      return;
    }
    for (const DmaStatus status : std::span(statuses).first(count)) {
      const Chunk chunk = chunks_.front();
      chunks_.pop_front();
      ++chunks_ended_;
      bytes_in_flight_ -= chunk.length;
      if (copies_) --(chunk.from_pattern_page ? pattern_page_ : zero_page_).in_flight;
      Progress& progress = progress_[chunk.slot];
      --progress.in_flight;
      const bool missed = status == DmaStatus::PageFault && !progress.again && bring_in(chunk);
      if (status == DmaStatus::NotAttempted || missed) progress.again = true;
      if (progress.cause == FailureCause::None && !progress.again) progress.cause = cause_of(status);
      if (progress.cause == FailureCause::None && !progress.again) progress.done += chunk.length;
      settle(chunk.slot);
    }
  }
}

/// Brings in the pages of a chunk at which a job stands, once: the kernel may have taken them, or never have given
/// them. Their content stays. False: that is not what was wrong.
bool DmadevEngine::bring_in(const Chunk& chunk) {
  Progress& progress = progress_[chunk.slot];
  if (progress.cause != FailureCause::None || progress.faults_brought_in == progress.done + 1) return false;
  progress.faults_brought_in = progress.done + 1;
  std::byte* const from = slots_->job(chunk.slot).memory.data() + progress.done;
  const std::size_t lead = reinterpret_cast<std::uintptr_t>(from) % kPage;
  return ::madvise(from - lead, lead + chunk.length, MADV_POPULATE_WRITE) == 0;
}

/// Finishes a job of which nothing is queued or in flight any more.
void DmadevEngine::settle(std::uint32_t slot) {
  Progress& progress = progress_[slot];
  if (progress.queued || progress.in_flight > 0) return;
  const ScrubJob& job = slots_->job(slot);
  Completion completion{slots_->id(slot), job.cookie, Outcome::Zeroed, progress.cause, ByteCount(progress.done), {}};
  if (progress.cause != FailureCause::None) {
    completion.outcome = Outcome::Failed;
    completion.bytes_unaffected = never_given(slot);
  } else if (progress.done < job.memory.size()) {
    if (!progress.cancelled) {
      enqueue(slot);  // what was not attempted
      return;
    }
    completion.outcome = Outcome::Cancelled;
  }
  progress.again = false;
  finished_.push_back(completion);
}

/// A device that takes nothing has stopped like one that ends nothing.
void DmadevEngine::watch() {
  const std::size_t waiting = slots_->held_count() - finished_.size();
  const bool stalled = watch_.stalled(waiting > 0, chunks_ended_, now());
  if (waiting == 0) return;
  const auto work = fmt::format("{} operations in flight and {} jobs to do", chunks_.size(), waiting);
  if (watch_.silence() > kLookForHalt && device_->halted()) {
    fail(FailureCause::EngineFault, "the device has stopped at an error, with " + work);
  } else if (stalled) {
    const auto silence = std::chrono::duration_cast<std::chrono::milliseconds>(watch_.silence()).count();
    fail(FailureCause::Timeout, fmt::format("the device has ended nothing for {} ms with {}", silence, work));
  }
}

bool DmadevEngine::reaches(MemorySpan memory) const { return windows_->find(memory).has_value(); }

/// Nothing is known about what is in flight: every job that has not finished fails, with no byte reported as zeroed.
void DmadevEngine::fail(FailureCause cause, const std::string& why) {
  fault_ = Error{DriverErrc::EngineFailed,
                 why + "; the engine is out of use, its memory in flight must stay quarantined: reset the device"};
  device_->give_up();
  std::vector<bool> reported(slots_->capacity());
  for (const Completion& completion : finished_) reported[completion.id.slot] = true;
  for (std::uint32_t slot = 0; slot < slots_->capacity(); ++slot) {
    if (!slots_->held(slot) || reported[slot]) continue;
    finished_.push_back(
        {slots_->id(slot), slots_->job(slot).cookie, Outcome::Failed, cause, ByteCount(0), never_given(slot)});
  }
}

ByteCount DmadevEngine::never_given(std::uint32_t slot) const {
  return ByteCount(slots_->job(slot).memory.size() - progress_[slot].given);
}

}  // namespace sluice::inline dmadev
