// SPDX-License-Identifier: Apache-2.0
// How a manager begins: with dirty memory, or with what a ledger has found after a crash.
#include <fmt/format.h>

#include <algorithm>

#include "scrubber.hpp"
#include "sluice/manager/memory_manager.hpp"

namespace sluice::inline manager {
namespace {

constexpr std::uint64_t kMostPages = 1ULL << 36;

std::uintptr_t begin_of(const Brick& brick) { return reinterpret_cast<std::uintptr_t>(brick.memory.data()); }

Error invalid(std::string message) { return {HostErrc::InvalidArgument, std::move(message)}; }

Result<void> check_brick(const Brick& brick, std::size_t number) {
  const std::uint64_t page = page_length(brick.pages).value();
  const std::uint64_t length = brick.memory.size();
  const std::uintptr_t begin = begin_of(brick);
  if (length == 0 || length % page != 0 || begin % kPageSize.value() != 0) {
    return invalid(fmt::format("brick {} at {:#x} of {} bytes: give whole pages of {} bytes, at least one", number,
                               begin, length, page));
  }
  if (length > UINTPTR_MAX - begin) {
    return invalid(fmt::format("brick {} at {:#x} of {} bytes passes the end of all addresses: give a shorter one",
                               number, begin, length));
  }
  return {};
}

Result<void> check_bricks(std::span<const Brick> bricks) {
  if (bricks.empty()) return invalid("the memory has no bricks: give at least one");
  std::vector<std::size_t> by_address;
  std::uint64_t pages = 0;
  for (std::size_t number = 0; number < bricks.size(); ++number) {
    if (auto checked = check_brick(bricks[number], number); !checked) return checked;
    pages += bricks[number].memory.size() / kPageSize.value();
    if (pages >= kMostPages) {
      return invalid(fmt::format("the first {} bricks have {} pages of {} bytes: give fewer than {}", number + 1, pages,
                                 kPageSize.value(), kMostPages));
    }
    by_address.push_back(number);
  }
  std::sort(by_address.begin(), by_address.end(),
            [&](std::size_t a, std::size_t b) { return begin_of(bricks[a]) < begin_of(bricks[b]); });
  for (std::size_t at = 1; at < by_address.size(); ++at) {
    const std::size_t before = by_address[at - 1];
    const std::size_t after = by_address[at];
    if (begin_of(bricks[before]) + bricks[before].memory.size() > begin_of(bricks[after])) {
      return invalid(fmt::format("bricks {} and {} overlap at {:#x}: give each byte once", std::min(before, after),
                                 std::max(before, after), begin_of(bricks[after])));
    }
  }
  return {};
}

Result<void> check_engine(std::span<const Brick> bricks, Engine& engine) {
  const EngineCapabilities& capabilities = engine.capabilities();
  if (capabilities.max_jobs_in_flight == 0) {
    return invalid(fmt::format("engine {} takes no jobs: give one that takes at least one", capabilities.name));
  }
  const auto splitter = JobSplitter::create(engine);
  if (!splitter) return splitter.error();
  for (std::size_t number = 0; number < bricks.size(); ++number) {
    if ((*splitter)->reaches(bricks[number].memory)) continue;
    return invalid(
        fmt::format("brick {} at {:#x} of {} bytes lies outside the windows of engine {}: make the engine "
                    "with a window for each brick",
                    number, begin_of(bricks[number]), bricks[number].memory.size(), capabilities.name));
  }
  return {};
}

Result<void> check_config(const ScrubberConfig& config) {
  if (config.max_jobs_in_flight == 0) return invalid("0 jobs in flight scrub nothing: give at least 1");
  if (!(config.background_rate >= 0.0)) {
    return invalid(fmt::format("a background rate of {} bytes/s: give 0 (no limit) or more", config.background_rate));
  }
  if (config.idle_after.count() < 0) {
    return invalid(fmt::format("idle after {} ns: give 0 or more", config.idle_after.count()));
  }
  return {};
}

Result<void> check_all(const BackingMemory& memory, Engine& engine, const ScrubberConfig& config) {
  if (auto checked = check_bricks(memory.bricks()); !checked) return checked;
  if (auto checked = check_engine(memory.bricks(), engine); !checked) return checked;
  return check_config(config);
}

}  // namespace

Result<std::unique_ptr<MemoryManager>> MemoryManager::create(const BackingMemory& memory, Engine& engine,
                                                             const ScrubberConfig& config) {
  if (auto checked = check_all(memory, engine, config); !checked) return checked.error();
  return std::unique_ptr<MemoryManager>(new MemoryManager(memory, engine, config, nullptr));
}

Result<std::unique_ptr<MemoryManager>> MemoryManager::recover(const BackingMemory& memory, Engine& engine,
                                                              Ledger& ledger, const ScrubberConfig& config) {
  if (auto checked = check_all(memory, engine, config); !checked) return checked.error();
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
