// SPDX-License-Identifier: Apache-2.0
// sluice.h over the C++ classes. Nothing is decided here.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "sluice/driver/engine_registry.hpp"
#include "sluice/host/memory_manager.hpp"
#include "sluice/sluice.h"

using sluice::ByteCount;
using sluice::Error;
using sluice::Result;

struct sluice_memory {
  std::unique_ptr<sluice::BackingMemory> memory;
};
struct sluice_engine {
  sluice::EngineRegistry registry;
  std::unique_ptr<sluice::Engine> engine;
};
struct sluice_ledger {
  std::unique_ptr<sluice::Ledger> ledger;
};
struct sluice_manager {
  sluice::Engine* engine;
  std::unique_ptr<sluice::MemoryManager> manager;
};

namespace {

thread_local std::string last_message;

int fail(int code, const std::string& message) {
  last_message = message;
  return code;
}

int code_of(const Error& error) {
  if (error.code.category() == sluice::host_category()) return error.code.value();
  return SLUICE_ENGINE;
}

int fail(const Error& error) { return fail(code_of(error), error.message); }

template <class Value>
int code_of(const Result<Value>& result) {
  return result ? SLUICE_OK : fail(result.error());
}

/// No exception leaves a call.
template <class Work>
int guarded(Work work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return fail(SLUICE_NO_RESOURCES, "out of heap memory");
  } catch (const std::exception& error) {
    return fail(SLUICE_INTERNAL, error.what());
  } catch (...) {
    return fail(SLUICE_INTERNAL, "an unknown exception");
  }
}

int missing(const char* what) { return fail(SLUICE_INVALID_ARGUMENT, fmt::format("{} is NULL: give one", what)); }

bool known_pages(int pages) { return pages >= SLUICE_PAGES_SMALL && pages <= SLUICE_PAGES_1GIB; }

int unknown_pages(int pages) {
  return fail(SLUICE_INVALID_ARGUMENT, fmt::format("pages {}: give SLUICE_PAGES_SMALL, _2MIB or _1GIB", pages));
}

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
    }
    return known;
  }
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
};

std::vector<sluice_range> ranges_of(const sluice::Grant& grant) {
  std::vector<sluice_range> ranges;
  ranges.reserve(grant.ranges.size());
  for (const sluice::GrantedRange& range : grant.ranges) {
    ranges.push_back(
        {range.memory.data(), range.memory.size(), range.fd, range.fd_offset, range.recycled ? 1 : 0, range.pattern});
  }
  return ranges;
}

/// Starts a claim whose handler is told the claim's number.
template <class Value, class Start>
int start_claim(sluice_handler handler, void* context, std::uint64_t* claim, Start start) {
  if (handler == nullptr) return missing("the handler");
  auto number = std::make_shared<std::uint64_t>(0);
  const auto told = [handler, context, number](const Result<Value>& result) {
    if (!result) {
      last_message = result.error().message;
      handler(context, *number, code_of(result.error()), nullptr, 0);
    } else if constexpr (std::is_void_v<Value>) {
      handler(context, *number, SLUICE_OK, nullptr, 0);
    } else {
      const std::vector<sluice_range> ranges = ranges_of(*result);
      handler(context, *number, SLUICE_OK, ranges.data(), ranges.size());
    }
  };
  const Result<sluice::ClaimId> started = start(told);
  if (!started) return fail(started.error());
  *number = started->value();
  if (claim != nullptr) *claim = *number;
  return SLUICE_OK;
}

sluice::RecycleSettings settings_of(const sluice_recycling& from) {
  sluice::RecycleSettings settings;
  settings.enabled = from.enabled != 0;
  settings.after_reboot = from.after_reboot != 0;
  settings.within_vm = from.within_vm != 0;
  settings.dedicated_pool = from.dedicated_pool != 0;
  settings.trust_group = from.trust_group != 0;
  settings.new_memory_after_reboot = from.new_memory_after_reboot != 0;
  settings.keeps_left_over = from.keeps_left_over != 0;
  settings.pool_grows_on_reboot = from.pool_grows_on_reboot != 0;
  return settings;
}

/// Checked, with the code of what is wrong.
int read(const sluice_vm* vm, sluice::VmProfile& profile) {
  if (vm == nullptr) return missing("the VM");
  if (vm->size != sizeof(sluice_vm)) {
    return fail(
        SLUICE_INVALID_ARGUMENT,
        fmt::format("a VM of {} bytes: call sluice_vm_init() first, with the header of this library", vm->size));
  }
  if (vm->scrub_timing < SLUICE_AFTER_RELEASE || vm->scrub_timing > SLUICE_SCHEDULED) {
    return fail(SLUICE_INVALID_ARGUMENT, fmt::format("scrub_timing {}: give one from SLUICE_AFTER_RELEASE to "
                                                     "SLUICE_SCHEDULED",
                                                     vm->scrub_timing));
  }
  if (vm->fill < SLUICE_FILL_ZEROS || vm->fill > SLUICE_FILL_RANDOM) {
    return fail(SLUICE_INVALID_ARGUMENT,
                fmt::format("fill {}: give one from SLUICE_FILL_ZEROS to SLUICE_FILL_RANDOM", vm->fill));
  }
  if (vm->pages != -1 && !known_pages(vm->pages)) return unknown_pages(vm->pages);
  profile.vm = sluice::VmId(vm->vm);
  profile.customer = sluice::CustomerId(vm->customer);
  profile.pool = sluice::DedicatedPoolId(vm->pool);
  profile.group = sluice::TrustGroupId(vm->group);
  profile.allowed = settings_of(vm->recycling);
  profile.scrub = {static_cast<sluice::ScrubTiming>(vm->scrub_timing),
                   std::chrono::nanoseconds(static_cast<std::int64_t>(vm->scrub_delay_ns)),
                   static_cast<sluice::FillMethod>(vm->fill), vm->fill_pattern};
  if (vm->pages != -1) profile.placement.pages = static_cast<sluice::PageKind>(vm->pages);
  if (vm->node >= 0) profile.placement.node = static_cast<std::uint32_t>(vm->node);
  profile.placement.only_node = vm->only_node != 0;
  profile.placement.contiguous = ByteCount(vm->contiguous);
  return SLUICE_OK;
}

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

int sluice_manager_create(const sluice_memory* memory, sluice_engine* engine, sluice_ledger* ledger,
                          const sluice_config* config, sluice_manager** manager) {
  return guarded([&] {
    if (memory == nullptr) return missing("the memory");
    if (engine == nullptr) return missing("the engine");
    if (manager == nullptr) return missing("the place for the manager");
    sluice::ScrubberConfig scrubs;
    if (config != nullptr) {
      if (config->max_jobs > 0) scrubs.max_jobs_in_flight = config->max_jobs;
      if (config->background_job_length > 0) scrubs.background_job_length = ByteCount(config->background_job_length);
      if (config->clean_target > 0) scrubs.clean_target = ByteCount(config->clean_target);
      if (config->idle_after_ns > 0) {
        scrubs.idle_after = std::chrono::nanoseconds(static_cast<std::int64_t>(config->idle_after_ns));
      }
      scrubs.background_rate = config->background_rate;
    }
    std::unique_ptr<sluice::MemoryManager> made;
    if (ledger != nullptr) {
      auto recovered = sluice::MemoryManager::recover(*memory->memory, *engine->engine, *ledger->ledger, scrubs);
      if (!recovered) return fail(recovered.error());
      made = std::move(*recovered);
    } else {
      made = std::make_unique<sluice::MemoryManager>(*memory->memory, *engine->engine, scrubs);
    }
    *manager = new sluice_manager{engine->engine.get(), std::move(made)};
    return static_cast<int>(SLUICE_OK);
  });
}

void sluice_manager_destroy(sluice_manager* manager) { delete manager; }
void sluice_manager_poll(sluice_manager* manager) {
  static_cast<void>(guarded([&] {
    manager->manager->poll();
    return static_cast<int>(SLUICE_OK);
  }));
}
int sluice_manager_has_work(const sluice_manager* manager) { return manager->manager->has_work() ? 1 : 0; }
int sluice_manager_fd(const sluice_manager* manager) { return manager->engine->completion_fd(); }
int64_t sluice_manager_next_scheduled_ns(const sluice_manager* manager) {
  const auto due = manager->manager->next_scheduled();
  return due ? std::max<std::int64_t>(0, (*due - manager->manager->now()).count()) : -1;
}

void sluice_vm_init(sluice_vm* vm) {
  *vm = {};
  vm->size = sizeof(sluice_vm);
  vm->recycling = {1, 1, 1, 1, 1, 0, 0, 0};
  vm->pages = -1;
  vm->node = -1;
}

int sluice_group_create(sluice_manager* manager, uint64_t group, uint64_t customer, uint64_t inside) {
  return guarded([&] {
    return code_of(manager->manager->create_trust_group(sluice::TrustGroupId(group), sluice::CustomerId(customer),
                                                        sluice::TrustGroupId(inside)));
  });
}
int sluice_group_enable(sluice_manager* manager, uint64_t group, int enabled) {
  return guarded(
      [&] { return code_of(manager->manager->enable_trust_group(sluice::TrustGroupId(group), enabled != 0)); });
}
int sluice_group_destroy(sluice_manager* manager, uint64_t group) {
  return guarded([&] { return code_of(manager->manager->destroy_trust_group(sluice::TrustGroupId(group))); });
}

int sluice_pool_create(sluice_manager* manager, uint64_t pool, uint64_t customer, uint64_t length,
                       sluice_handler handler, void* context, uint64_t* claim) {
  return guarded([&] {
    return start_claim<void>(handler, context, claim, [&](const auto& told) {
      return manager->manager->create_dedicated_pool(sluice::DedicatedPoolId(pool), sluice::CustomerId(customer),
                                                     ByteCount(length), told);
    });
  });
}
int sluice_pool_grow(sluice_manager* manager, uint64_t pool, uint64_t length, sluice_handler handler, void* context,
                     uint64_t* claim) {
  return guarded([&] {
    return start_claim<void>(handler, context, claim, [&](const auto& told) {
      return manager->manager->grow_dedicated_pool(sluice::DedicatedPoolId(pool), ByteCount(length), told);
    });
  });
}
int sluice_pool_shrink(sluice_manager* manager, uint64_t pool, uint64_t length) {
  return guarded([&] {
    return code_of(manager->manager->shrink_dedicated_pool(sluice::DedicatedPoolId(pool), ByteCount(length)));
  });
}
int sluice_pool_partition(sluice_manager* manager, uint64_t pool, uint64_t part, uint64_t length) {
  return guarded([&] {
    return code_of(manager->manager->partition_dedicated_pool(sluice::DedicatedPoolId(pool),
                                                              sluice::DedicatedPoolId(part), ByteCount(length)));
  });
}
int sluice_pool_merge(sluice_manager* manager, uint64_t pool, uint64_t other) {
  return guarded([&] {
    return code_of(
        manager->manager->merge_dedicated_pools(sluice::DedicatedPoolId(pool), sluice::DedicatedPoolId(other)));
  });
}
int sluice_pool_destroy(sluice_manager* manager, uint64_t pool) {
  return guarded([&] { return code_of(manager->manager->destroy_dedicated_pool(sluice::DedicatedPoolId(pool))); });
}

int sluice_vm_create(sluice_manager* manager, const sluice_vm* vm) {
  return guarded([&] {
    sluice::VmProfile profile;
    if (const int code = read(vm, profile); code != SLUICE_OK) return code;
    return code_of(manager->manager->create_vm(profile));
  });
}
int sluice_vm_change(sluice_manager* manager, const sluice_vm* vm) {
  return guarded([&] {
    sluice::VmProfile profile;
    if (const int code = read(vm, profile); code != SLUICE_OK) return code;
    sluice::MemoryManager& to = *manager->manager;
    const auto before = to.profile(profile.vm);
    auto changed = to.change_placement(profile.vm, profile.placement);
    if (changed) changed = to.change_scrub_settings(profile.vm, profile.scrub);
    if (changed) changed = to.change_trust_group(profile.vm, profile.group);
    if (changed) changed = to.change_settings(profile.vm, profile.allowed);
    if (!changed && before) {
      static_cast<void>(to.change_scrub_settings(profile.vm, before->scrub));
      static_cast<void>(to.change_placement(profile.vm, before->placement));
    }
    return code_of(changed);
  });
}
int sluice_vm_switch_recycling(sluice_manager* manager, uint64_t vm, int on) {
  return guarded([&] { return code_of(manager->manager->switch_recycling(sluice::VmId(vm), on != 0)); });
}
int sluice_vm_allocate(sluice_manager* manager, uint64_t vm, uint64_t length, sluice_handler handler, void* context,
                       uint64_t* claim) {
  return guarded([&] {
    return start_claim<sluice::Grant>(handler, context, claim, [&](const auto& told) {
      return manager->manager->allocate(sluice::VmId(vm), ByteCount(length), told);
    });
  });
}
int sluice_vm_release(sluice_manager* manager, uint64_t vm, void* base, uint64_t length) {
  return guarded([&] {
    return code_of(manager->manager->release(sluice::VmId(vm), {static_cast<std::byte*>(base), length}));
  });
}
int sluice_vm_begin_reboot(sluice_manager* manager, uint64_t vm) {
  return guarded([&] { return code_of(manager->manager->begin_reboot(sluice::VmId(vm))); });
}
int sluice_vm_finish_reboot(sluice_manager* manager, uint64_t vm, uint64_t length, sluice_handler handler,
                            void* context, uint64_t* claim) {
  return guarded([&] {
    return start_claim<sluice::Grant>(handler, context, claim, [&](const auto& told) {
      return manager->manager->finish_reboot(sluice::VmId(vm), ByteCount(length), told);
    });
  });
}
int sluice_vm_terminate(sluice_manager* manager, uint64_t vm) {
  return guarded([&] { return code_of(manager->manager->terminate(sluice::VmId(vm))); });
}
int sluice_claim_abandon(sluice_manager* manager, uint64_t claim) {
  return manager->manager->abandon(sluice::ClaimId(claim)) ? 1 : 0;
}

size_t sluice_manager_unadopted(const sluice_manager* manager, uint64_t* vms, size_t room) {
  const auto all = manager->manager->unadopted();
  for (std::size_t index = 0; index < std::min(room, all.size()); ++index) vms[index] = all[index].value();
  return all.size();
}
int sluice_vm_adopt(sluice_manager* manager, const sluice_vm* vm, sluice_handler handler, void* context) {
  return guarded([&] {
    if (handler == nullptr) return missing("the handler");
    sluice::VmProfile profile;
    if (const int code = read(vm, profile); code != SLUICE_OK) return code;
    const auto grant = manager->manager->adopt(profile);
    if (!grant) return fail(grant.error());
    const std::vector<sluice_range> ranges = ranges_of(*grant);
    handler(context, 0, SLUICE_OK, ranges.data(), ranges.size());
    return static_cast<int>(SLUICE_OK);
  });
}
