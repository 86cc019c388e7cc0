// SPDX-License-Identifier: Apache-2.0
#include "creation_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

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

}  // namespace

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

Result<void> check_engine(std::span<const Brick> bricks, const Engine& engine) {
  const EngineCapabilities& capabilities = engine.capabilities();
  for (std::size_t number = 0; number < bricks.size(); ++number) {
    if (engine.reaches(bricks[number].memory)) continue;
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

}  // namespace sluice::inline manager
