// SPDX-License-Identifier: Apache-2.0
// sluice.h: memory, engines and ledgers.
#include <algorithm>
#include <array>

#include "c_api.hpp"
#include "sluice/cpu/cpu_engine.hpp"

using sluice::ByteCount;
using sluice::Error;
using sluice::Result;
using namespace sluice::c;  // NOLINT: the functions of C are in no namespace

namespace {

/// Memory that the caller of the C interface owns.
class WrappedMemory final : public sluice::BackingMemory {
 public:
  explicit WrappedMemory(std::vector<sluice::Brick> bricks) : bricks_(std::move(bricks)) {}
  [[nodiscard]] std::span<const sluice::Brick> bricks() const override { return bricks_; }

 private:
  std::vector<sluice::Brick> bricks_;
};

/// An engine that the caller of the C interface owns.
class WrappedEngine final : public sluice::Engine {
 public:
  WrappedEngine(const sluice_engine_operations& operations, void* context)
      : operations_(operations),
        context_(context),
        capabilities_{operations.name == nullptr ? "foreign" : operations.name, operations.max_jobs,
                      ByteCount(operations.max_job_length)} {}

  [[nodiscard]] const sluice::EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const sluice::ScrubJob> jobs,
                                           std::span<sluice::JobId> ids) override {
    std::vector<sluice_job> given;
    given.reserve(jobs.size());
    for (const sluice::ScrubJob& job : jobs) {
      // Its own number comes back; the name of the job is that number too, so it is unique while the job runs.
      given.push_back(
          {job.memory.data(), job.memory.size(), job.pattern, job.urgency == sluice::Urgency::Urgent ? 1 : 0, ++next_});
      running_.push_back({next_, job.cookie});
    }
    const std::size_t taken = std::min(operations_.submit(context_, given.data(), given.size()), given.size());
    running_.resize(running_.size() - (given.size() - taken));
    if (taken == 0) return Error{sluice::DriverErrc::Busy, "the engine is busy"};
    for (std::size_t index = 0; index < taken; ++index) ids[index] = name_of(given[index].number);
    return taken;
  }
  sluice::CancelResult cancel(sluice::JobId id) override {
    operations_.cancel(context_, static_cast<std::uint64_t>(id.generation) << 32 | id.slot);
    return sluice::CancelResult::Requested;
  }
  std::size_t poll(std::span<sluice::Completion> out) override {
    std::vector<sluice_completion> completions(out.size());
    const std::size_t count = std::min(operations_.poll(context_, completions.data(), out.size()), out.size());
    std::size_t known = 0;
    for (std::size_t index = 0; index < count; ++index) {
      const sluice_completion& completion = completions[index];
      const auto job = std::find_if(running_.begin(), running_.end(),
                                    [&](const Running& running) { return running.number == completion.number; });
      if (job == running_.end()) continue;  // nobody asked for it
      const bool failed = completion.outcome != SLUICE_ZEROED && completion.outcome != SLUICE_CANCELLED;
      out[known++] = {name_of(job->number), job->cookie,
                      failed ? sluice::Outcome::Failed : static_cast<sluice::Outcome>(completion.outcome),
                      failed ? sluice::FailureCause::EngineFault : sluice::FailureCause::None,
                      ByteCount(completion.bytes)};
      running_.erase(job);
      ++ended_;
    }
    return known;
  }
  [[nodiscard]] std::uint64_t progress() override { return ended_; }
  [[nodiscard]] bool reaches(sluice::MemorySpan /*memory*/) const override { return true; }
  [[nodiscard]] std::optional<Error> fault() const override {
    const char* const why = operations_.fault == nullptr ? nullptr : operations_.fault(context_);
    if (why == nullptr) return std::nullopt;
    return Error{sluice::DriverErrc::EngineFailed, why};
  }
  [[nodiscard]] std::chrono::nanoseconds now() const override {
    return std::chrono::steady_clock::now().time_since_epoch();
  }

 private:
  struct Running {
    std::uint64_t number;
    std::uint64_t cookie;
  };
  static sluice::JobId name_of(std::uint64_t number) {
    return {static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32)};
  }

  sluice_engine_operations operations_;
  void* context_;
  sluice::EngineCapabilities capabilities_;
  std::vector<Running> running_;
  std::uint64_t next_ = 1ULL << 32;  // a generation is never 0
  std::uint64_t ended_ = 0;
};

std::vector<sluice::MemorySpan> windows_of(const sluice::BackingMemory& memory) {
  std::vector<sluice::MemorySpan> windows;
  windows.reserve(memory.bricks().size());
  for (const sluice::Brick& brick : memory.bricks()) windows.push_back(brick.memory);
  return windows;
}

}  // namespace

const char* sluice_version() { return SLUICE_VERSION; }

const char* sluice_error_text(int code) {
  static constexpr std::array<const char*, SLUICE_INTERNAL + 1> kTexts = {
      "success",
      "invalid argument",
      "unknown identifier",
      "identifier was used before",
      "belongs to another customer",
      "not possible in this state",
      "memory is not held by the VM",
      "out of memory",
      "no engine can scrub",
      "claim was abandoned",
      "a resource was refused",
      "an engine could not be made",
      "internal error",
  };
  return code >= 0 && code <= SLUICE_INTERNAL ? kTexts[static_cast<std::size_t>(code)] : "unknown code";
}

const char* sluice_last_message() { return last_message.c_str(); }

int sluice_memory_create(uint64_t brick_length, uint32_t bricks, int pages, sluice_memory** memory) {
  return sluice_memory_open("", brick_length, bricks, pages, memory);
}

int sluice_memory_open(const char* folder, uint64_t brick_length, uint32_t bricks, int pages, sluice_memory** memory) {
  return guarded([&] {
    if (folder == nullptr) return missing("the folder");
    if (memory == nullptr) return missing("the place for the memory");
    if (!known_pages(pages)) return unknown_pages(pages);
    auto made = sluice::FileMemory::open(folder, ByteCount(brick_length), bricks, static_cast<sluice::PageKind>(pages));
    if (!made) return fail(made.error());
    *memory = new sluice_memory{std::move(*made)};
    return static_cast<int>(SLUICE_OK);
  });
}

int sluice_memory_wrap(const sluice_piece* pieces, size_t count, sluice_memory** memory) {
  return guarded([&] {
    if (pieces == nullptr || count == 0) return missing("the first piece");
    if (memory == nullptr) return missing("the place for the memory");
    std::vector<sluice::Brick> bricks;
    for (const sluice_piece& piece : std::span(pieces, count)) {
      if (!known_pages(piece.pages)) return unknown_pages(piece.pages);
      const auto kind = static_cast<sluice::PageKind>(piece.pages);
      const std::uint64_t page = sluice::page_length(kind).value();
      const auto address = reinterpret_cast<std::uintptr_t>(piece.base);
      if (piece.base == nullptr || piece.length == 0 || address % page != 0 || piece.length % page != 0) {
        return fail(SLUICE_INVALID_ARGUMENT, fmt::format("memory at {:#x} of {} bytes: give whole pages of {} bytes",
                                                         address, piece.length, page));
      }
      bricks.push_back({{static_cast<std::byte*>(piece.base), piece.length}, piece.fd, kind, piece.node});
    }
    *memory = new sluice_memory{std::make_unique<WrappedMemory>(std::move(bricks))};
    return static_cast<int>(SLUICE_OK);
  });
}

int sluice_memory_piece(const sluice_memory* memory, size_t index, sluice_piece* piece) {
  if (memory == nullptr || piece == nullptr) return missing("the memory or the piece");
  const auto bricks = memory->memory->bricks();
  if (index >= bricks.size()) {
    return fail(SLUICE_INVALID_ARGUMENT, fmt::format("piece {} of {}: give a smaller index", index, bricks.size()));
  }
  const sluice::Brick& brick = bricks[index];
  *piece = {brick.memory.data(), brick.memory.size(), brick.fd, static_cast<int>(brick.pages), brick.node};
  return SLUICE_OK;
}

void sluice_memory_destroy(sluice_memory* memory) { delete memory; }

int sluice_engine_open(const char* name, const sluice_memory* memory, sluice_engine** engine) {
  return guarded([&] {
    if (name == nullptr) return missing("the engine's name");
    if (memory == nullptr) return missing("the memory");
    if (engine == nullptr) return missing("the place for the engine");
    const auto parsed = sluice::EngineName::parse(name);
    if (!parsed) return fail(parsed.error());
    auto made = std::make_unique<sluice_engine>();
    made->registry.add(sluice::make_cpu_factory());
    auto created = made->registry.create(*parsed, windows_of(*memory->memory));
    if (!created) return fail(created.error());
    made->engine = std::move(*created);
    *engine = made.release();
    return static_cast<int>(SLUICE_OK);
  });
}

int sluice_engine_wrap(const sluice_engine_operations* operations, void* context, sluice_engine** engine) {
  return guarded([&] {
    if (operations == nullptr) return missing("the engine's operations");
    if (engine == nullptr) return missing("the place for the engine");
    if (operations->submit == nullptr || operations->cancel == nullptr || operations->poll == nullptr) {
      return missing("submit, cancel or poll");
    }
    if (operations->max_jobs == 0 || operations->max_job_length == 0) {
      return fail(SLUICE_INVALID_ARGUMENT, "an engine of 0 jobs or of jobs of 0 bytes: give at least 1");
    }
    auto made = std::make_unique<sluice_engine>();
    made->engine = std::make_unique<WrappedEngine>(*operations, context);
    *engine = made.release();
    return static_cast<int>(SLUICE_OK);
  });
}

void sluice_engine_destroy(sluice_engine* engine) { delete engine; }

int sluice_ledger_open(const char* path, const sluice_memory* memory, sluice_ledger** ledger) {
  return guarded([&] {
    if (path == nullptr) return missing("the path");
    if (memory == nullptr) return missing("the memory");
    if (ledger == nullptr) return missing("the place for the ledger");
    auto opened = sluice::Ledger::open(path, memory->memory->bricks());
    if (!opened) return fail(opened.error());
    *ledger = new sluice_ledger{std::move(*opened)};
    return static_cast<int>(SLUICE_OK);
  });
}

const char* sluice_ledger_rejected(const sluice_ledger* ledger) {
  return ledger == nullptr ? "" : ledger->ledger->rejected().c_str();
}

void sluice_ledger_destroy(sluice_ledger* ledger) { delete ledger; }
