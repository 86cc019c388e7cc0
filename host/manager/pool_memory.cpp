// SPDX-License-Identifier: Apache-2.0
#include "pool_memory.hpp"

#include <fmt/format.h>

#include "errors.hpp"

namespace sluice::inline manager {

namespace {

/// What is free leaves its owner; what a VM holds stays its own.
void move(ExtentTable& table, Extent& extent, DedicatedPoolId to) {
  table.move_to_pool(extent, to);
  if (extent.state() == ExtentState::Clean || table.holder(extent).is_set()) return;
  Owner owner = table.owner(extent);
  owner.left = true;
  table.set_owner(extent, owner);
}

}  // namespace

Result<void> move_free(ExtentTable& table, DedicatedPoolId from, ByteCount unit, DedicatedPoolId to, ByteCount length) {
  if (auto checked = errors::check_length(length, unit); !checked) return checked;
  ByteCount free;
  const auto zones = static_cast<std::uint32_t>(table.zones().size());
  for (std::uint32_t zone = 0; zone < zones; ++zone) free += table.idle_bytes(from, zone, {});
  if (free < length) {
    return Error{HostErrc::OutOfMemory,
                 fmt::format("{} bytes of pool {} were asked for and {} are free: ask for less, or have its VMs "
                             "release memory",
                             length.value(), from.value(), free.value())};
  }
  if (auto room = table.make_room(1); !room) return room;
  ByteCount missing = length;
  const auto move_while = [&](auto find) {
    for (std::uint32_t zone = 0; zone < zones; ++zone) {
      for (Extent* extent = find(zone); extent != nullptr && missing > ByteCount(0); extent = find(zone)) {
        if (extent->length() > missing) table.split(*extent, missing);
        missing -= extent->length();
        move(table, *extent, to);
        table.coalesce(*extent);
      }
    }
  };
  move_while([&](std::uint32_t zone) { return table.longest_clean(from, zone, {}); });
  move_while([&](std::uint32_t zone) { return table.oldest_dirty(from, zone, {}); });
  return {};
}

void move_all(ExtentTable& table, DedicatedPoolId from, DedicatedPoolId to) {
  for (Extent* extent : table.all_of(Domain::member(from))) move(table, *extent, to);
}

}  // namespace sluice::inline manager
