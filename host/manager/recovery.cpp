// SPDX-License-Identifier: Apache-2.0
// How a manager goes on after a crash.
#include <fmt/format.h>

#include "sluice/manager/memory_manager.hpp"

namespace sluice::inline manager {

Result<std::unique_ptr<MemoryManager>> MemoryManager::recover(const BackingMemory& memory, Engine& engine,
                                                              Ledger& ledger, const ScrubberConfig& config) {
  // Each run may be followed by one that is dirty, and each brick begins a new one.
  const std::size_t extents = 2 * (ledger.found().size() + memory.bricks().size());
  constexpr std::size_t kChunk = 1024;
  if (auto made = ledger.make_room((extents / (kChunk - 1) + 1) * kChunk); !made) return made.error();
  for (const LedgerEntry& run : ledger.found()) {
    if (run.kind != LedgerKind::Held) continue;
    if (auto entered = ledger.enter(run.vm); !entered) return entered.error();
  }
  std::unique_ptr<MemoryManager> manager(new MemoryManager(memory, engine, config, &ledger));
  for (const LedgerEntry& run : ledger.found()) {
    if (run.kind == LedgerKind::Held) manager->unadopted_.insert(run.vm);
  }
  if (auto published = ledger.publish(); !published) return published.error();
  return manager;
}

Result<Grant> MemoryManager::adopt(const VmProfile& profile) {
  if (!unadopted_.contains(profile.vm)) {
    return Error{HostErrc::UnknownId,
                 fmt::format("VM {} held no memory before the crash: create it instead", profile.vm.value())};
  }
  const PageKind pages = table_.zones()[table_.lineage(*held_by(profile.vm).front()).zone].pages;
  if (profile.placement.pages && *profile.placement.pages != pages) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("VM {} has memory in pages of {} bytes: leave the length out, or give that",
                             profile.vm.value(), page_length(pages).value())};
  }
  VmProfile adopted = profile;
  adopted.placement.pages = pages;
  unadopted_.erase(profile.vm);
  if (auto created = create_vm(adopted); !created) {
    unadopted_.insert(profile.vm);
    return created.error();
  }
  Grant grant{{}, profile.vm, {}, false};
  for (const Extent* extent : held_by(profile.vm)) {
    const Brick& brick = table_.brick(*extent);
    const MemorySpan held = table_.memory(*extent);
    grant.ranges.push_back(
        {held, brick.fd, static_cast<std::uint64_t>(held.data() - brick.memory.data()), true, 0, Reason::SameVm});
  }
  return grant;
}

}  // namespace sluice::inline manager
