// SPDX-License-Identifier: Apache-2.0
// sluice.h: the manager. Nothing is decided here.
#include <algorithm>
#include <cmath>
#include <limits>

#include "c_calls.hpp"

using sluice::ByteCount;
using sluice::Result;
using namespace sluice::c;  // NOLINT: the functions of C are in no namespace

namespace {

/// A VM whose memory is about to be reported to its user cannot lose it before that.
int check_no_answer(const sluice_manager& manager, std::uint64_t vm) {
  if (!manager.state->has_answer_for(sluice::VmId(vm))) return SLUICE_OK;
  return fail(SLUICE_WRONG_STATE,
              fmt::format("VM {} has a claim whose handler has not been called yet: call this from there", vm));
}

/// Nanoseconds, as the clocks count them.
int read_time(const char* name, std::uint64_t value, std::chrono::nanoseconds& time) {
  if (value > static_cast<std::uint64_t>(std::chrono::nanoseconds::max().count())) {
    return fail(SLUICE_INVALID_ARGUMENT, fmt::format("{} of {} ns: give at most {}, which is 292 years", name, value,
                                                     std::chrono::nanoseconds::max().count()));
  }
  time = std::chrono::nanoseconds(static_cast<std::int64_t>(value));
  return SLUICE_OK;
}

sluice::RecycleSettings settings_of(const sluice_recycling& from) {
  sluice::RecycleSettings settings;
  settings.enable = from.enable != 0;
  settings.recycle_on_reboot = from.recycle_on_reboot != 0;
  settings.recycle_within_vm = from.recycle_within_vm != 0;
  settings.recycle_within_dedicated_pool = from.recycle_within_dedicated_pool != 0;
  settings.recycle_within_trust_group = from.recycle_within_trust_group != 0;
  settings.force_new_memory = from.force_new_memory != 0;
  settings.retain_memory = from.retain_memory != 0;
  settings.grow_pool_on_reboot = from.grow_pool_on_reboot != 0;
  settings.lend_reserved_memory = from.lend_reserved_memory != 0;
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
  if (vm->fill < SLUICE_FILL_ZEROS || vm->fill > SLUICE_FILL_ERASE) {
    return fail(SLUICE_INVALID_ARGUMENT,
                fmt::format("fill {}: give one from SLUICE_FILL_ZEROS to SLUICE_FILL_ERASE", vm->fill));
  }
  if (vm->pages != -1 && !known_pages(vm->pages)) return unknown_pages(vm->pages);
  constexpr std::int64_t kLastNode = std::numeric_limits<std::uint32_t>::max();
  if (vm->node < -1 || vm->node > kLastNode) {
    return fail(SLUICE_INVALID_ARGUMENT, fmt::format("node {}: give -1 for any, or 0 to {}", vm->node, kLastNode));
  }
  std::chrono::nanoseconds delay{0};
  if (const int code = read_time("scrub_delay_ns", vm->scrub_delay_ns, delay); code != SLUICE_OK) return code;
  profile.vm = sluice::VmId(vm->vm);
  profile.customer = sluice::CustomerId(vm->customer);
  profile.pool = sluice::DedicatedPoolId(vm->pool);
  profile.group = sluice::TrustGroupId(vm->group);
  profile.allowed = settings_of(vm->recycling);
  std::chrono::nanoseconds& reservation = profile.allowed.reservation;
  if (const int code = read_time("reservation_ns", vm->recycling.reservation_ns, reservation); code != SLUICE_OK)
    return code;
  profile.scrub = {static_cast<sluice::ScrubTiming>(vm->scrub_timing), delay, static_cast<sluice::FillMethod>(vm->fill),
                   vm->fill_pattern};
  if (vm->pages != -1) profile.placement.pages = static_cast<sluice::PageKind>(vm->pages);
  if (vm->node >= 0) profile.placement.node = static_cast<std::uint32_t>(vm->node);
  if (vm->unit != 0) profile.placement.unit = ByteCount(vm->unit);
  profile.placement.only_node = vm->only_node != 0;
  profile.placement.contiguous = ByteCount(vm->contiguous);
  return SLUICE_OK;
}

int read(const sluice_config& config, sluice::ScrubberConfig& scrubs) {
  constexpr std::uint32_t kMostJobs = 1U << 20;
  if (config.max_jobs > kMostJobs) {
    return fail(SLUICE_INVALID_ARGUMENT, fmt::format("max_jobs {}: give at most {}", config.max_jobs, kMostJobs));
  }
  if (config.background_job_length % sluice::kPageSize.value() != 0) {
    return fail(SLUICE_INVALID_ARGUMENT, fmt::format("background_job_length {}: give a multiple of {} bytes",
                                                     config.background_job_length, sluice::kPageSize.value()));
  }
  if (!std::isfinite(config.background_rate) || config.background_rate < 0) {
    return fail(SLUICE_INVALID_ARGUMENT,
                fmt::format("background_rate {}: give 0 or more bytes/s", config.background_rate));
  }
  if (config.max_jobs > 0) scrubs.max_jobs_in_flight = config.max_jobs;
  if (config.background_job_length > 0) scrubs.background_job_length = ByteCount(config.background_job_length);
  if (config.clean_target > 0) scrubs.clean_target = ByteCount(config.clean_target);
  scrubs.background_rate = config.background_rate;
  return config.idle_after_ns == 0 ? static_cast<int>(SLUICE_OK)
                                   : read_time("idle_after_ns", config.idle_after_ns, scrubs.idle_after);
}

/// At most `room` of the manager's ids; how many there are.
template <class Id>
std::size_t write_ids(const sluice_manager* manager, std::vector<Id> (sluice::MemoryManager::*list)() const,
                      std::uint64_t* ids, std::size_t room, const char* place) noexcept {
  if (manager == nullptr) return nothing<std::size_t>(0, "the manager");
  std::size_t count = 0;
  static_cast<void>(guarded([&] {
    const sluice::MemoryManager* const of = manager->state->manager();
    const std::vector<Id> all = of == nullptr ? std::vector<Id>() : (of->*list)();
    count = all.size();
    if (ids == nullptr && room > 0) return missing(place);
    for (std::size_t index = 0; index < std::min(room, count); ++index) ids[index] = all[index].value();
    return static_cast<int>(SLUICE_OK);
  }));
  return count;
}

int check_unused(const Used& object, const char* what) {
  if (!object.by_manager) return SLUICE_OK;
  return fail(SLUICE_WRONG_STATE, fmt::format("{} is used by another manager: give one of its own", what));
}

}  // namespace

int sluice_manager_create(const sluice_memory* memory, sluice_engine* engine, sluice_ledger* ledger,
                          const sluice_config* config, sluice_manager** manager) {
  return guarded([&] {
    if (memory == nullptr) return missing("the memory");
    if (engine == nullptr) return missing("the engine");
    if (manager == nullptr) return missing("the place for the manager");
    if (const int code = check_unused(*memory->object, "the memory"); code != SLUICE_OK) return code;
    if (const int code = check_unused(*engine->object, "the engine"); code != SLUICE_OK) return code;
    sluice::ScrubberConfig scrubs;
    if (config != nullptr) {
      if (const int code = read(*config, scrubs); code != SLUICE_OK) return code;
    }
    if (ledger != nullptr) {
      if (const int code = check_unused(*ledger->object, "the ledger"); code != SLUICE_OK) return code;
    }
    const sluice::BackingMemory& bricks = *memory->object->memory;
    sluice::Engine& scrubber = *engine->object->engine;
    auto made = ledger == nullptr ? sluice::MemoryManager::create(bricks, scrubber, scrubs)
                                  : sluice::MemoryManager::recover(bricks, scrubber, *ledger->object->ledger, scrubs);
    if (!made) return fail(made.error());
    *manager = new sluice_manager{std::make_shared<State>(
        memory->object, engine->object, ledger == nullptr ? nullptr : ledger->object, std::move(*made))};
    return static_cast<int>(SLUICE_OK);
  });
}

void sluice_manager_destroy(sluice_manager* manager) {
  if (manager == nullptr || manager->state->manager() == nullptr) return;
  manager->state->end();
  delete manager;
}

void sluice_manager_poll(sluice_manager* manager) {
  static_cast<void>(with_manager(manager, [&](sluice::MemoryManager& to) {
    const std::shared_ptr<State> state = manager->state;  // a handler may destroy the manager
    to.poll();
    state->deliver();
    return static_cast<int>(SLUICE_OK);
  }));
}

int sluice_manager_has_work(const sluice_manager* manager) {
  if (manager == nullptr) return nothing(0, "the manager");
  const State& state = *manager->state;
  return state.has_answers() || (state.manager() != nullptr && state.manager()->has_work()) ? 1 : 0;
}
int sluice_manager_fd(const sluice_manager* manager) {
  if (manager == nullptr) return nothing(-1, "the manager");
  const sluice::MemoryManager* const of = manager->state->manager();
  return of == nullptr ? -1 : of->completion_fd();
}
int64_t sluice_manager_next_scheduled_ns(const sluice_manager* manager) {
  if (manager == nullptr) return nothing<std::int64_t>(-1, "the manager");
  const sluice::MemoryManager* const of = manager->state->manager();
  const auto due = of == nullptr ? std::nullopt : of->next_scheduled();
  return due ? std::max<std::int64_t>(0, (*due - of->now()).count()) : -1;
}

void sluice_vm_init(sluice_vm* vm) {
  if (vm == nullptr) {
    nothing(0, "the VM");
    return;
  }
  *vm = {};
  vm->size = sizeof(sluice_vm);
  vm->recycling = {1, 1, 1, 1, 1, 0, 0, 0, 0, 3'600'000'000'000};
  vm->pages = -1;
  vm->node = -1;
}

int sluice_group_create(sluice_manager* manager, uint64_t group, uint64_t customer, uint64_t inside) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(
        to.create_trust_group(sluice::TrustGroupId(group), sluice::CustomerId(customer), sluice::TrustGroupId(inside)));
  });
}
int sluice_group_enable(sluice_manager* manager, uint64_t group, int enabled) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(to.enable_trust_group(sluice::TrustGroupId(group), enabled != 0));
  });
}
int sluice_group_destroy(sluice_manager* manager, uint64_t group) {
  return with_manager(
      manager, [&](sluice::MemoryManager& to) { return code_of(to.destroy_trust_group(sluice::TrustGroupId(group))); });
}

int sluice_pool_create(sluice_manager* manager, uint64_t pool, uint64_t customer, uint64_t length, int shares,
                       sluice_handler handler, void* context, uint64_t* claim) {
  return start_claim<void>(manager, {handler, context}, claim, [&](sluice::MemoryManager& to, const auto& answer) {
    return to.create_dedicated_pool(sluice::DedicatedPoolId(pool), sluice::CustomerId(customer), ByteCount(length),
                                    answer, {.placement = {}, .shares = shares != 0});
  });
}
int sluice_pool_grow(sluice_manager* manager, uint64_t pool, uint64_t length, sluice_handler handler, void* context,
                     uint64_t* claim) {
  return start_claim<void>(manager, {handler, context}, claim, [&](sluice::MemoryManager& to, const auto& answer) {
    return to.grow_dedicated_pool(sluice::DedicatedPoolId(pool), ByteCount(length), answer);
  });
}
int sluice_pool_shrink(sluice_manager* manager, uint64_t pool, uint64_t length) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(to.shrink_dedicated_pool(sluice::DedicatedPoolId(pool), ByteCount(length)));
  });
}
int sluice_pool_change_rule(sluice_manager* manager, uint64_t pool, const sluice_pool_rule* rule) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    if (rule == nullptr) return code_of(to.change_pool_rule(sluice::DedicatedPoolId(pool), std::nullopt));
    const sluice::PoolRule followed{ByteCount(rule->least_free), ByteCount(rule->most_free), ByteCount(rule->step),
                                    ByteCount(rule->smallest), ByteCount(rule->largest)};
    return code_of(to.change_pool_rule(sluice::DedicatedPoolId(pool), followed));
  });
}
int sluice_pool_partition(sluice_manager* manager, uint64_t pool, uint64_t part, uint64_t length) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(
        to.partition_dedicated_pool(sluice::DedicatedPoolId(pool), sluice::DedicatedPoolId(part), ByteCount(length)));
  });
}
int sluice_pool_merge(sluice_manager* manager, uint64_t pool, uint64_t other) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(to.merge_dedicated_pools(sluice::DedicatedPoolId(pool), sluice::DedicatedPoolId(other)));
  });
}
int sluice_pool_destroy(sluice_manager* manager, uint64_t pool) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(to.destroy_dedicated_pool(sluice::DedicatedPoolId(pool)));
  });
}

int sluice_pool_adopt(sluice_manager* manager, uint64_t pool, uint64_t customer, int shares) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(to.adopt_dedicated_pool(sluice::DedicatedPoolId(pool), sluice::CustomerId(customer),
                                           {.placement = {}, .shares = shares != 0}));
  });
}

int sluice_vm_create(sluice_manager* manager, const sluice_vm* vm) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    sluice::VmProfile profile;
    if (const int code = read(vm, profile); code != SLUICE_OK) return code;
    return code_of(to.create_vm(profile));
  });
}
int sluice_vm_change(sluice_manager* manager, const sluice_vm* vm) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    sluice::VmProfile profile;
    if (const int code = read(vm, profile); code != SLUICE_OK) return code;
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
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(to.switch_recycling(sluice::VmId(vm), {.enable = on != 0, .recycle_on_reboot = {}}));
  });
}
int sluice_vm_switch_reboot_recycling(sluice_manager* manager, uint64_t vm, int on) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(to.switch_recycling(sluice::VmId(vm), {.enable = {}, .recycle_on_reboot = on != 0}));
  });
}
int sluice_vm_allocate(sluice_manager* manager, uint64_t vm, uint64_t length, sluice_handler handler, void* context,
                       uint64_t* claim) {
  return start_claim<sluice::Grant>(manager, {handler, context, sluice::VmId(vm)}, claim,
                                    [&](sluice::MemoryManager& to, const auto& answer) {
                                      return to.allocate(sluice::VmId(vm), ByteCount(length), answer);
                                    });
}
int sluice_vm_release(sluice_manager* manager, uint64_t vm, void* base, uint64_t length) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    const auto address = reinterpret_cast<std::uintptr_t>(base);
    if (length > ~std::uintptr_t{0} - address) {
      return fail(SLUICE_INVALID_ARGUMENT,
                  fmt::format("memory at {:#x} of {} bytes passes the end of the address space: "
                              "release what was granted",
                              address, length));
    }
    return code_of(to.release(sluice::VmId(vm), {static_cast<std::byte*>(base), length}));
  });
}
int sluice_vm_begin_reboot(sluice_manager* manager, uint64_t vm) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    if (const int code = check_no_answer(*manager, vm); code != SLUICE_OK) return code;
    return code_of(to.begin_reboot(sluice::VmId(vm)));
  });
}
int sluice_vm_finish_reboot(sluice_manager* manager, uint64_t vm, uint64_t length, sluice_handler handler,
                            void* context, uint64_t* claim) {
  return start_claim<sluice::Grant>(manager, {handler, context, sluice::VmId(vm)}, claim,
                                    [&](sluice::MemoryManager& to, const auto& answer) {
                                      return to.finish_reboot(sluice::VmId(vm), ByteCount(length), answer);
                                    });
}
int sluice_vm_terminate(sluice_manager* manager, uint64_t vm) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    if (const int code = check_no_answer(*manager, vm); code != SLUICE_OK) return code;
    return code_of(to.terminate(sluice::VmId(vm)));
  });
}
int sluice_claim_abandon(sluice_manager* manager, uint64_t claim) {
  int abandoned = 0;
  static_cast<void>(with_manager(manager, [&](sluice::MemoryManager& to) {
    abandoned = to.abandon(sluice::ClaimId(claim)) ? 1 : 0;
    return static_cast<int>(SLUICE_OK);
  }));
  return abandoned;
}

size_t sluice_manager_unadopted(const sluice_manager* manager, uint64_t* vms, size_t room) {
  return write_ids(manager, &sluice::MemoryManager::unadopted, vms, room, "the place for the VMs");
}
size_t sluice_manager_unadopted_pools(const sluice_manager* manager, uint64_t* pools, size_t room) {
  return write_ids(manager, &sluice::MemoryManager::unadopted_pools, pools, room, "the place for the pools");
}
int sluice_vm_adopt(sluice_manager* manager, const sluice_vm* vm, sluice_handler handler, void* context) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    if (handler == nullptr) return missing("the handler");
    sluice::VmProfile profile;
    if (const int code = read(vm, profile); code != SLUICE_OK) return code;
    const auto grant = to.adopt(profile);
    if (!grant) return fail(grant.error());
    const std::vector<sluice_range> ranges = ranges_of(*grant);
    // The VM is adopted, whatever a handler of C++ throws.
    static_cast<void>(guarded([&] {
      handler(context, 0, SLUICE_OK, ranges.data(), ranges.size());
      return static_cast<int>(SLUICE_OK);
    }));
    return static_cast<int>(SLUICE_OK);
  });
}
