// SPDX-License-Identifier: Apache-2.0
// How a manager begins: with dirty memory, or with what a ledger has found after a crash.
#include <fmt/format.h>

#include "creation_checks.hpp"
#include "errors.hpp"
#include "parts.hpp"

namespace sluice::inline manager {
namespace {

/// The engine as the scrubber uses it, after everything was looked at.
Result<std::unique_ptr<JobSplitter>> checked_engine(const BackingMemory& memory, Engine& engine,
                                                    const ScrubberConfig& config) {
  if (auto checked = check_bricks(memory.bricks()); !checked) return checked.error();
  if (auto checked = check_config(config); !checked) return checked.error();
  if (engine.capabilities().max_jobs_in_flight == 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("engine {} takes no jobs: give one that takes at least one", engine.capabilities().name)};
  }
  auto splitter = JobSplitter::create(engine, {.stall_timeout = config.stall_timeout});
  if (!splitter) return splitter;
  if (auto checked = check_engine(memory.bricks(), **splitter); !checked) return checked.error();
  return splitter;
}

}  // namespace

Result<std::unique_ptr<MemoryManager>> MemoryManager::create(const BackingMemory& memory, Engine& engine,
                                                             const ScrubberConfig& config) {
  auto checked = checked_engine(memory, engine, config);
  if (!checked) return checked.error();
  return std::unique_ptr<MemoryManager>(
      new MemoryManager(std::make_unique<Parts>(memory, std::move(*checked), config, nullptr)));
}

Result<std::unique_ptr<MemoryManager>> MemoryManager::recover(const BackingMemory& memory, Engine& engine,
                                                              Ledger& ledger, const ScrubberConfig& config) {
  auto checked = checked_engine(memory, engine, config);
  if (!checked) return checked.error();
  // Each run may be followed by one that is dirty, and each brick begins a new one.
  const std::size_t extents = 2 * (ledger.found().size() + memory.bricks().size());
  constexpr std::size_t kChunk = 1024;
  if (auto made = ledger.make_room((extents / (kChunk - 1) + 1) * kChunk); !made) return made.error();
  for (const LedgerEntry& run : ledger.found()) {
    if (auto entered = ledger.enter({}, run.pool); !entered) return entered.error();
    if (auto entered = ledger.enter(run.vm, run.pool); !entered) return entered.error();
    if (run.vm.is_set()) ledger.set_rebooting(run.vm, ledger.found_rebooting().contains(run.vm));
  }
  auto parts = std::make_unique<Parts>(memory, std::move(*checked), config, &ledger);
  for (const LedgerEntry& run : ledger.found()) {
    if (run.kind == LedgerKind::Held) parts->tenants.add_unadopted(run.vm);
    if (run.pool.is_set()) parts->tenants.add_unadopted_pool(run.pool);
  }
  if (auto published = ledger.publish(); !published) return published.error();
  return std::unique_ptr<MemoryManager>(new MemoryManager(std::move(parts)));
}

std::vector<VmId> MemoryManager::unadopted() const {
  return {parts_->tenants.unadopted().begin(), parts_->tenants.unadopted().end()};
}

std::vector<DedicatedPoolId> MemoryManager::unadopted_pools() const {
  return {parts_->tenants.unadopted_pools().begin(), parts_->tenants.unadopted_pools().end()};
}

Result<void> MemoryManager::adopt_dedicated_pool(DedicatedPoolId pool, CustomerId customer,
                                                 const PoolOptions& options) {
  Tenants& tenants = parts_->tenants;
  const ExtentTable& table = parts_->table;
  if (!tenants.unadopted_pools().contains(pool)) {
    if (auto checked = tenants.check_new_pool(pool); !checked) return checked;
    return Error{HostErrc::UnknownId,
                 fmt::format("pool {} had no memory before the crash: create it instead", pool.value())};
  }
  if (!customer.is_set()) return errors::unset("customer");
  const LineageIndex any = table.next_lineage(Domain::member(pool)).value();
  const Zone& zone = table.zones()[table.lineage(any).zone];
  auto completed = tenants.complete(options.placement, {.pages = zone.pages, .unit = zone.unit});
  if (!completed) return completed.error();
  if (auto checked = PoolRules::check(options.rule, *completed->unit); !checked) return checked;
  Tenants::Pool facts{.customer = customer, .placement = *completed, .shares = options.shares, .rule = options.rule};
  facts.ready = true;
  tenants.adopt_pool(pool, facts);
  return {};
}

Result<Grant> MemoryManager::adopt(const VmProfile& profile) {
  Tenants& tenants = parts_->tenants;
  ExtentTable& table = parts_->table;
  if (!tenants.unadopted().contains(profile.vm)) {
    return Error{HostErrc::UnknownId,
                 fmt::format("VM {} held no memory before the crash: create it instead", profile.vm.value())};
  }
  const std::vector<Extent*> held = parts_->holdings.of(profile.vm);
  const Zone& zone = table.zones()[table.lineage(*held.front()).zone];
  const bool other_pages = profile.placement.pages && *profile.placement.pages != zone.pages;
  if (other_pages || (profile.placement.unit && *profile.placement.unit != zone.unit)) {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("VM {} has memory in {} of {} bytes: leave the length out, or give that", profile.vm.value(),
                    other_pages ? "pages" : "pieces", (other_pages ? page_length(zone.pages) : zone.unit).value())};
  }
  VmProfile adopted = profile;
  adopted.placement.pages = zone.pages;
  adopted.placement.unit = zone.unit;
  tenants.take_unadopted(profile.vm);
  if (auto created = create_vm(adopted); !created) {
    tenants.add_unadopted(profile.vm);
    return created.error();
  }
  Grant grant{{}, profile.vm, {}, false};
  const bool reboots = parts_->ledger->found_rebooting().contains(profile.vm);
  const BootNumber boot = tenants.look_up(profile.vm)->boot;
  for (Extent* extent : held) {
    Owner owner = table.owner(*extent);
    owner.boot = owner.since = boot;
    table.set_owner(*extent, owner);
    if (reboots) continue;
    const Brick& brick = table.brick(*extent);
    const MemorySpan memory = table.memory(*extent);
    grant.ranges.push_back(
        {memory, brick.fd, static_cast<std::uint64_t>(memory.data() - brick.memory.data()), true, 0, Reason::SameVm});
  }
  if (reboots) {
    if (auto begun = begin_reboot(profile.vm); !begun) return begun.error();
  }
  return grant;
}

}  // namespace sluice::inline manager
