// SPDX-License-Identifier: Apache-2.0
// The life of VMs, pools and groups. How a claim becomes a grant is in claims.cpp.
#include "sluice/manager/memory_manager.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "errors.hpp"
#include "scrubber.hpp"

namespace sluice::inline manager {
namespace {

Result<std::unique_ptr<JobSplitter>> splitter_for(Engine& engine, const ScrubberConfig& config) {
  return JobSplitter::create(engine, {.stall_timeout = config.stall_timeout});
}

const std::byte* end_of(MemorySpan memory) { return memory.data() + memory.size(); }

}  // namespace

MemoryManager::MemoryManager(const BackingMemory& memory, Engine& engine, const ScrubberConfig& config, Ledger* ledger)
    : ledger_(ledger),
      table_(memory.bricks(), ledger),
      scrubber_owned_(std::make_unique<Scrubber>(splitter_for(engine, config).value(), table_, statistics_, config)),
      scrubber_(*scrubber_owned_) {}

/// Says nothing to the ledger: a new manager finds memory as this one leaves it.
MemoryManager::~MemoryManager() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  stopped_ = Error{HostErrc::Abandoned, "the memory manager was destroyed"};
  scrubber_.close(*stopped_);
  for (auto& [id, pending] : pending_) {
    finished_.push_back({pending.claim, std::move(pending.grant_handler), std::move(pending.pool_handler), *stopped_});
  }
  pending_.clear();
  while (!finished_.empty()) {
    finished_.front().result = *stopped_;
    notify_first();
  }
}

std::optional<std::chrono::nanoseconds> MemoryManager::next_scheduled() const { return scrubber_.next_scheduled(); }
std::chrono::nanoseconds MemoryManager::now() const { return scrubber_.now(); }
std::optional<Error> MemoryManager::fault() const { return scrubber_.fault(); }
int MemoryManager::completion_fd() const noexcept { return scrubber_.completion_fd(); }
std::size_t MemoryManager::jobs_in_flight() const { return scrubber_.jobs_in_flight(); }

Result<MemoryManager::Vm*> MemoryManager::find_vm(VmId vm) {
  const auto found = vms_.find(vm);
  if (found != vms_.end()) return &found->second;
  return Error{HostErrc::UnknownId, fmt::format("VM {} {}: create it first", vm.value(),
                                                ended_vms_.contains(vm) ? "has ended" : "does not exist")};
}

Result<MemoryManager::Vm*> MemoryManager::find_vm_without_claims(VmId vm) {
  auto found = find_vm(vm);
  if (found && (*found)->claims > 0) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} has a claim pending: wait for it, or abandon it", vm.value())};
  }
  return found;
}

Result<void> MemoryManager::create_vm(const VmProfile& profile) {
  if (!profile.vm.is_set()) return errors::unset("VM");
  if (!profile.customer.is_set()) return errors::unset("customer");
  if (vms_.contains(profile.vm) || ended_vms_.contains(profile.vm))
    return errors::used_before("VM", profile.vm.value());
  if (auto checked = check(profile.scrub); !checked) return checked;
  std::optional<PageKind> pool_pages;
  Group* group = nullptr;
  if (profile.group.is_set()) {
    auto found = find_group(profile.group, profile.customer);
    if (!found) return found.error();
    group = *found;
  }
  if (profile.pool.is_set()) {
    auto pool = find_pool(profile.pool);
    if (!pool) return pool.error();
    if ((*pool)->customer != profile.customer) {
      return errors::foreign("pool", profile.pool.value(), profile.customer);
    }
    pool_pages = (*pool)->placement.pages;
  }
  auto placement = complete(profile.placement, pool_pages);
  if (!placement) return placement.error();
  if (unadopted_.contains(profile.vm)) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} held memory before the crash: adopt it, or terminate it", profile.vm.value())};
  }
  if (ledger_ != nullptr) {
    if (auto entered = ledger_->enter(profile.vm); !entered) return entered;
  }
  if (profile.pool.is_set()) ++pools_.at(profile.pool).vms;
  if (group != nullptr) ++group->vms;
  vms_.emplace(profile.vm, Vm{profile}).first->second.profile.placement = *placement;
  return {};
}

std::optional<VmProfile> MemoryManager::profile(VmId vm) const {
  const auto found = vms_.find(vm);
  return found == vms_.end() ? std::nullopt : std::optional(found->second.profile);
}

/// With the pages that memory there will have: those of the VM's or the pool's old memory, if there is any.
Result<Placement> MemoryManager::complete(Placement placement, std::optional<PageKind> pages) const {
  if (pages && placement.pages && *placement.pages != *pages) {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("pages of {} bytes were asked for where they have {} bytes: leave them out, or choose those",
                    page_length(*placement.pages).value(), page_length(*pages).value())};
  }
  if (pages) placement.pages = pages;
  if (!placement.pages) {
    const auto smallest = [](const Zone& one, const Zone& other) { return one.pages < other.pages; };
    placement.pages = std::min_element(table_.zones().begin(), table_.zones().end(), smallest)->pages;
  }
  const auto fits = [&](const Zone& zone) {
    return zone.pages == placement.pages && (!placement.node || zone.node == *placement.node);
  };
  if (std::any_of(table_.zones().begin(), table_.zones().end(), fits)) return placement;
  std::string there;
  for (const Zone& zone : table_.zones()) {
    there += fmt::format("{}node {} with pages of {} bytes", there.empty() ? "" : ", ", zone.node,
                         page_length(zone.pages).value());
  }
  return Error{HostErrc::InvalidArgument, fmt::format("memory {}with pages of {} bytes: the host has {}",
                                                      placement.node ? fmt::format("of node {} ", *placement.node) : "",
                                                      page_length(*placement.pages).value(), there)};
}

Result<void> MemoryManager::change_placement(VmId vm, const Placement& placement) {
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  auto completed = complete(placement, (*found)->profile.placement.pages);
  if (!completed) return completed.error();
  (*found)->profile.placement = *completed;
  return {};
}

Result<void> MemoryManager::change_settings(VmId vm, const RecycleSettings& settings) {
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  (*found)->profile.allowed = settings;
  settings_changed(**found);
  return {};
}

/// Releases what is not to be kept any more.
void MemoryManager::settings_changed(const Vm& vm) {
  if (vm.phase == VmPhase::Running) {
    release_reserved(vm.profile.vm, Keep::ForNextClaim);
  } else if (!keeps_memory(claim_for(vm, ClaimKind::Reboot, {}))) {
    release_reserved(vm.profile.vm, Keep::Nothing);
  }
}

/// Whether memory stays reserved during a reboot: for the VM, or to keep it from the VM until that has other memory.
bool MemoryManager::keeps_memory(const Claim& reboot) {
  return (reboot.allowed.enabled && reboot.allowed.after_reboot) || reboot.allowed.new_memory_after_reboot;
}

Result<void> MemoryManager::check(const ScrubSettings& settings) {
  if (settings.delay.count() >= 0) return {};
  return Error{HostErrc::InvalidArgument,
               fmt::format("a scrub is scheduled {} ns after the release: give 0 or more", settings.delay.count())};
}

Result<void> MemoryManager::change_scrub_settings(VmId vm, const ScrubSettings& settings) {
  if (auto checked = check(settings); !checked) return checked;
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  (*found)->profile.scrub = settings;
  return {};
}

Result<void> MemoryManager::switch_recycling(VmId vm, bool on) {
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  (*found)->recycles = on;
  settings_changed(**found);
  return {};
}

Result<void> MemoryManager::release(VmId vm, MemorySpan memory) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  if ((*found)->phase != VmPhase::Running) {
    return Error{HostErrc::WrongState, fmt::format("VM {} reboots: release its memory when it is back", vm.value())};
  }
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  if (memory.size() > UINTPTR_MAX - address) {
    return Error{HostErrc::InvalidArgument, fmt::format("memory at {:#x} of {} bytes passes the end of all addresses: "
                                                        "release what was granted",
                                                        address, memory.size())};
  }
  const std::uint64_t page = page_length(*(*found)->profile.placement.pages).value();
  const Extent* const first = memory.empty() ? nullptr : table_.find(memory.data());
  const auto offset =
      first == nullptr ? address : static_cast<std::uintptr_t>(memory.data() - table_.brick(*first).memory.data());
  if (memory.empty() || offset % page != 0 || memory.size() % page != 0) {
    return Error{HostErrc::InvalidArgument, fmt::format("memory at {:#x} of {} bytes: give whole pages of {} bytes",
                                                        address, memory.size(), page)};
  }
  // Look before changing anything.
  const std::byte* const end = memory.data() + memory.size();
  for (const std::byte* at = memory.data(); at < end;) {
    const Extent* const extent = table_.find(at);
    if (extent == nullptr || extent->state() != ExtentState::Owned || table_.holder(*extent) != vm) {
      return Error{HostErrc::NotHeld, fmt::format("VM {} does not hold the memory at {:#x}: release what was granted",
                                                  vm.value(), reinterpret_cast<std::uintptr_t>(at))};
    }
    at = end_of(table_.memory(*extent));
  }
  if (auto room = table_.make_room(2); !room) return room;
  for (const std::byte* at = memory.data(); at < end;) {
    Extent* extent = table_.find(at);
    if (const std::byte* const begin = table_.memory(*extent).data(); begin < at) {
      extent = &table_.split(*extent, ByteCount(static_cast<std::uint64_t>(at - begin)));
    }
    const ByteCount wanted(static_cast<std::uint64_t>(end - at));
    if (extent->length() > wanted) table_.split(*extent, wanted);
    at = end_of(table_.memory(*extent));
    release_extent(*extent, (*found)->profile.scrub);
  }
  scrubber_.pump();
  return {};
}

void MemoryManager::release_extent(Extent& extent, const ScrubSettings& scrub) {
  std::chrono::nanoseconds delay{0};
  if (scrub.timing == ScrubTiming::BeforeGrant) delay = kOnlyForClaims;
  if (scrub.timing == ScrubTiming::Scheduled) delay = scrub.delay;
  table_.release(extent, fill_of(scrub), delay, scrubber_.now());
  table_.coalesce(extent);
}

Result<void> MemoryManager::begin_reboot(VmId vm) {
  auto found = find_vm(vm);
  if (!found) return found.error();
  if ((*found)->phase != VmPhase::Running || (*found)->claims > 0) {
    return Error{HostErrc::WrongState, fmt::format("VM {} {}: wait for that first", vm.value(),
                                                   (*found)->claims > 0 ? "has a claim pending" : "reboots already")};
  }
  (*found)->phase = VmPhase::Rebooting;
  const Claim claim = claim_for(**found, ClaimKind::Reboot, {});
  for (Extent* extent : held_by(vm)) {
    if (claim.allowed.pool_grows_on_reboot && claim.pool.is_set()) table_.move_to_pool(*extent, claim.pool);
    if (!keeps_memory(claim)) {
      release_extent(*extent, claim.scrub);
    } else if (extent->state() == ExtentState::Owned) {
      table_.reserve(*extent);
    }
  }
  scrubber_.pump();
  return {};
}

/// All that a VM holds and that is part of no claim.
std::vector<Extent*> MemoryManager::held_by(VmId vm) const {
  std::vector<Extent*> held;
  const Domain domain = Domain::holder(vm);
  for (auto index = table_.next_lineage(domain); index; index = table_.next_lineage(domain, index)) {
    for (const ExtentState state : {ExtentState::Owned, ExtentState::Reserved}) {
      for (Extent* extent = table_.first(*index, state); extent != nullptr; extent = table_.next(*extent)) {
        held.push_back(extent);
      }
    }
  }
  return held;
}

/// Releases what is reserved for a VM and not part of a claim.
void MemoryManager::release_reserved(VmId vm, Keep keep) {
  const Claim next = claim_for(vms_.at(vm), ClaimKind::Grow, {});
  for (Extent* extent : held_by(vm)) {
    if (extent->state() != ExtentState::Reserved) continue;
    const bool wanted = next.allowed.keeps_left_over && RecyclePolicy::decide(table_.owner(*extent), next).recycle;
    if (keep == Keep::ForNextClaim && wanted) continue;
    release_extent(*extent, next.scrub);
  }
}

Result<void> MemoryManager::terminate(VmId vm) {
  if (unadopted_.erase(vm) > 0) {
    for (Extent* extent : held_by(vm)) release_extent(*extent, {});
    ledger_->forget(vm);
    ended_vms_.insert(vm);
    scrubber_.pump();
    return {};
  }
  auto found = find_vm_without_claims(vm);
  if (!found) return found.error();
  for (Extent* extent : held_by(vm)) release_extent(*extent, (*found)->profile.scrub);
  if (ledger_ != nullptr) ledger_->forget(vm);
  const VmProfile& profile = (*found)->profile;
  if (profile.pool.is_set()) --pools_.at(profile.pool).vms;
  if (profile.group.is_set()) --groups_.at(profile.group).vms;
  vms_.erase(vm);
  ended_vms_.insert(vm);
  scrubber_.pump();
  return {};
}

ByteCount MemoryManager::stop() {
  stopped_ = Error{HostErrc::ScrubUnavailable, "the memory manager was stopped"};
  const ByteCount in_flight = scrubber_.stop(*stopped_);
  while (!pending_.empty()) finish(pending_.begin()->first, *stopped_);
  return in_flight;
}

bool MemoryManager::has_work() const { return !finished_.empty() || !pending_.empty() || scrubber_.has_work(); }

class MemoryManager::Listener final : public ScrubListener {
 public:
  explicit Listener(MemoryManager& manager) : manager_(manager) {}
  void scrub_failed(Extent& extent) override { manager_.drop_part(extent); }
  void scrub_refused(Extent& extent, const Error& why) override {
    const auto working = manager_.working_.find(&extent);
    if (working == manager_.working_.end()) return;
    const ClaimId claim = working->second.claim;
    manager_.drop_part(extent);
    manager_.finish(claim, scrub_unavailable(why));
  }
  void let_go(Extent& extent) override { manager_.let_go(extent); }

 private:
  MemoryManager& manager_;
};

/// With nothing in flight and an engine that takes nothing, no claim that waits can be met.
void MemoryManager::end_claims_if_nothing_is_scrubbed() {
  if (scrubber_.jobs_in_flight() > 0) return;
  const auto fault = scrubber_.fault();
  while (fault && !pending_.empty()) finish(pending_.begin()->first, scrub_unavailable(*fault));
}

void MemoryManager::poll() {
  if (!stopped_) {
    Listener listener(*this);
    do {  // what is refused leaves service, so this ends
      scrubber_.pump();
      scrubber_.collect(listener);
      end_claims_if_nothing_is_scrubbed();
      retry_waiting();
      scrubber_.pump();
      end_claims_if_nothing_is_scrubbed();
    } while (scrubber_.has_refusals());
  }
  // A handler may call the manager, poll() too, but what it starts is finished in the next poll at the earliest.
  bool destroyed = false;
  bool* const outer = std::exchange(destroyed_, &destroyed);
  for (std::size_t count = finished_.size(); count > 0 && !finished_.empty(); --count) {
    notify_first();
    if (!destroyed) continue;
    if (outer != nullptr) *outer = true;
    return;
  }
  destroyed_ = outer;
}

/// Calls a handler. The manager may be gone when this returns.
void MemoryManager::notify_first() {
  Finished finished = std::move(finished_.front());
  finished_.pop_front();
  // Until now the VM could not end or reboot, nor the pool end: its user did not know what it has.
  const Claim& claim = finished.claim;
  if (claim.vm.is_set()) --vms_.at(claim.vm).claims;
  if (claim.kind == ClaimKind::Pool && pools_.contains(claim.pool)) --pools_.at(claim.pool).claims;
  if (finished.grant_handler) {
    finished.grant_handler(std::move(finished.result));
  } else if (finished.pool_handler) {
    finished.pool_handler(finished.result ? Result<void>() : Result<void>(finished.result.error()));
  }
}

}  // namespace sluice::inline manager
