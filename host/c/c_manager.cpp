// SPDX-License-Identifier: Apache-2.0
// sluice.h: the manager. Nothing is decided here.
#include <algorithm>

#include "c_api.hpp"

using sluice::ByteCount;
using sluice::Result;
using namespace sluice::c;  // NOLINT: the functions of C are in no namespace

namespace {

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
int start_claim(sluice_manager* manager, sluice_handler handler, void* context, std::uint64_t* claim, Start start) {
  if (handler == nullptr) return missing("the handler");
  const std::uint64_t ticket = manager->next_ticket;
  const auto told = [manager, handler, context, ticket](const Result<Value>& result) {
    const auto started = manager->claims.find(ticket);
    const std::uint64_t number = started->second;
    manager->claims.erase(started);
    if (!result) {
      last_message = result.error().message;
      handler(context, number, code_of(result.error()), nullptr, 0);
    } else if constexpr (std::is_void_v<Value>) {
      handler(context, number, SLUICE_OK, nullptr, 0);
    } else {
      const std::vector<sluice_range> ranges = ranges_of(*result);
      handler(context, number, SLUICE_OK, ranges.data(), ranges.size());
    }
  };
  const Result<sluice::ClaimId> started = start(told);
  if (!started) return fail(started.error());
  ++manager->next_ticket;
  manager->claims.emplace(ticket, started->value());
  if (claim != nullptr) *claim = started->value();
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

}  // namespace

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
      auto created = sluice::MemoryManager::create(*memory->memory, *engine->engine, scrubs);
      if (!created) return fail(created.error());
      made = std::move(*created);
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
    return start_claim<void>(manager, handler, context, claim, [&](const auto& told) {
      return manager->manager->create_dedicated_pool(sluice::DedicatedPoolId(pool), sluice::CustomerId(customer),
                                                     ByteCount(length), told);
    });
  });
}
int sluice_pool_grow(sluice_manager* manager, uint64_t pool, uint64_t length, sluice_handler handler, void* context,
                     uint64_t* claim) {
  return guarded([&] {
    return start_claim<void>(manager, handler, context, claim, [&](const auto& told) {
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
    return start_claim<sluice::Grant>(manager, handler, context, claim, [&](const auto& told) {
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
    return start_claim<sluice::Grant>(manager, handler, context, claim, [&](const auto& told) {
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
