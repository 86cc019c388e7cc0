// SPDX-License-Identifier: Apache-2.0
// Packets of VMMs: nothing is believed before it was looked at.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "sluice/base/parse.hpp"
#include "sluice/base/utf8.hpp"
#include "sluice/daemon/wire.hpp"

namespace sluice::inline daemon {
namespace {

// Packets are for programs of other compilers too: nothing is padded.
static_assert(sizeof(sluice_message) == 16);
static_assert(sizeof(sluice_acquire) == 144 + 8 * SLUICE_MOST_BRICKS);
static_assert(sizeof(sluice_grow) == 40 + 8 * SLUICE_MOST_BRICKS);
static_assert(sizeof(sluice_shrink) == 40 + 4 * SLUICE_MOST_BRICKS);
static_assert(sizeof(sluice_notify) == 40);
static_assert(sizeof(sluice_status_request) == 32);
static_assert(sizeof(sluice_release) == 32);
static_assert(kLongestRequest >= sizeof(sluice_grow) && kLongestRequest >= sizeof(sluice_shrink));

/// What a file of the system can be long.
constexpr std::uint64_t kLongest = std::numeric_limits<std::int64_t>::max();

Error bad(std::string message) { return {HostErrc::InvalidArgument, std::move(message)}; }

template <class Message>
Message as(std::span<const std::byte> packet) {
  Message message;
  std::memcpy(&message, packet.data(), sizeof message);
  return message;
}

template <class Number>
bool all_zeros(std::span<const Number> numbers) {
  return std::ranges::all_of(numbers, [](Number number) { return number == Number{}; });
}

Result<void> check_reserved(std::uint32_t reserved) {
  if (reserved == 0) return {};
  return bad(fmt::format("reserved is {}: set it to 0", reserved));
}

Result<Uuid> read_vm(const std::uint8_t (&bytes)[16]) {
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), bytes, sizeof bytes);
  if (!uuid.is_set()) return bad("the VM's UUID is all zeros: give it one of its own");
  return uuid;
}

Result<LeaseId> read_lease(const sluice_lease_id& lease) {
  if (lease.vm == 0) return bad("a lease of VM 0: give the lease as SLUICE_LEASE had it");
  return LeaseId{VmId(lease.vm), lease.epoch};
}

/// As many as `count` says, none where the rest of the field is not 0.
template <class Number>
Result<std::span<const Number>> counted(const Number (&bricks)[SLUICE_MOST_BRICKS], std::uint32_t count) {
  if (count > SLUICE_MOST_BRICKS) {
    return bad(
        fmt::format("brick_count is {}: a VM holds at most {}, so ask for longer ones", count, SLUICE_MOST_BRICKS));
  }
  const std::span<const Number> all(bricks);
  if (!all_zeros(all.subspan(count))) {
    return bad(fmt::format("bricks beyond brick_count, which is {}: set them to 0", count));
  }
  return all.first(count);
}

Result<std::vector<ByteCount>> read_lengths(const std::uint64_t (&bricks)[SLUICE_MOST_BRICKS], std::uint32_t count) {
  const auto given = counted(bricks, count);
  if (!given) return given.error();
  std::vector<ByteCount> lengths;
  std::uint64_t sum = 0;
  for (const std::uint64_t length : *given) {
    if (length == 0 || length > kLongest - sum) {
      return bad(fmt::format("brick {} has {} bytes: give a length above 0, and less than 2^63 bytes in all",
                             lengths.size(), length));
    }
    sum += length;
    lengths.emplace_back(length);
  }
  return lengths;
}

Result<std::string> read_name(const char (&field)[64]) {
  const std::span<const char> bytes(field);
  const auto end = std::ranges::find(bytes, '\0');
  if (end == bytes.end()) return bad("the VM's name does not end with a 0: give at most 63 bytes");
  const auto length = static_cast<std::size_t>(end - bytes.begin());
  if (!all_zeros(bytes.subspan(length))) return bad("something follows the end of the VM's name: set it to 0");
  std::string name(field, length);
  if (!is_utf8(name)) return bad(fmt::format("the VM's name {} is not UTF-8: give one that is", in_quotes(name, 63)));
  return name;
}

Result<Request> read_acquire(const sluice_acquire& message) {
  constexpr std::uint32_t kFlags = SLUICE_FILTERED | SLUICE_WANTS_MONITOR;
  const auto vm = read_vm(message.vm);
  if (!vm) return vm.error();
  auto name = read_name(message.name);
  if (!name) return name.error();
  if ((message.flags & ~kFlags) != 0) {
    return bad(fmt::format("flags are {:#x}, and this version has {:#x}: leave the others out", message.flags, kFlags));
  }
  if (message.node >= SLUICE_MOST_NODES && message.node != SLUICE_ANY_NODE) {
    return bad(
        fmt::format("NUMA node {}: give a number below {}, or SLUICE_ANY_NODE", message.node, SLUICE_MOST_NODES));
  }
  if (auto reserved = check_reserved(message.reserved); !reserved) return reserved.error();
  auto bricks = read_lengths(message.bricks, message.brick_count);
  if (!bricks) return bricks.error();
  if ((message.size != 0) == (message.brick_count != 0)) {
    return bad(fmt::format("size is {} and brick_count is {}: give one of them, and 0 for the other", message.size,
                           message.brick_count));
  }
  if (message.size > kLongest) return bad(fmt::format("size is {}: give less than 2^63 bytes", message.size));
  AcquireRequest request;
  request.serial = message.message.serial;
  request.vm = *vm;
  request.name = std::move(*name);
  request.customer = CustomerId(message.customer);
  request.group = TrustGroupId(message.group);
  request.pool = DedicatedPoolId(message.pool);
  request.size = ByteCount(message.size);
  request.bricks = std::move(*bricks);
  if (message.node != SLUICE_ANY_NODE) request.node = message.node;
  request.filtered = (message.flags & SLUICE_FILTERED) != 0;
  request.wants_monitor = (message.flags & SLUICE_WANTS_MONITOR) != 0;
  return request;
}

Result<Request> read_grow(const sluice_grow& message) {
  const auto lease = read_lease(message.lease);
  if (!lease) return lease.error();
  if (auto reserved = check_reserved(message.reserved); !reserved) return reserved.error();
  auto bricks = read_lengths(message.bricks, message.brick_count);
  if (!bricks) return bricks.error();
  if (bricks->empty()) return bad("brick_count is 0: ask for at least one brick");
  return GrowRequest{message.message.serial, *lease, std::move(*bricks)};
}

Result<Request> read_shrink(const sluice_shrink& message) {
  const auto lease = read_lease(message.lease);
  if (!lease) return lease.error();
  if (auto reserved = check_reserved(message.reserved); !reserved) return reserved.error();
  const auto given = counted(message.bricks, message.brick_count);
  if (!given) return given.error();
  if (given->empty()) return bad("brick_count is 0: give back at least one brick");
  std::vector<std::uint32_t> sorted(given->begin(), given->end());
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end()) {
    return bad(fmt::format("brick {} is there twice: give it once", *twice));
  }
  return ShrinkRequest{message.message.serial, *lease, {given->begin(), given->end()}};
}

Result<Request> read_notify(const sluice_notify& message) {
  const auto lease = read_lease(message.lease);
  if (!lease) return lease.error();
  if (auto reserved = check_reserved(message.reserved); !reserved) return reserved.error();
  if (message.event < SLUICE_EVENT_RESET || message.event > SLUICE_EVENT_PANIC) {
    return bad(fmt::format("event {}: give one from {} to {}", message.event, static_cast<int>(SLUICE_EVENT_RESET),
                           static_cast<int>(SLUICE_EVENT_PANIC)));
  }
  return NotifyRequest{message.message.serial, *lease, static_cast<LeaseEvent>(message.event)};
}

Result<Request> read_status(const sluice_status_request& message) {
  const auto vm = read_vm(message.vm);
  if (!vm) return vm.error();
  return StatusRequest{message.message.serial, *vm};
}

Result<Request> read_release(const sluice_release& message) {
  const auto lease = read_lease(message.lease);
  if (!lease) return lease.error();
  return ReleaseRequest{message.message.serial, *lease};
}

/// A packet that is exactly as long as its type.
template <class Message>
Result<Request> read(std::span<const std::byte> packet, Result<Request> (*fields)(const Message&)) {
  const auto header = as<sluice_message>(packet);
  if (packet.size() == sizeof(Message) && header.length == sizeof(Message)) return fields(as<Message>(packet));
  return bad(
      fmt::format("a packet of {} bytes says that it has {}, and its type {} has {}: send one struct in a packet",
                  packet.size(), header.length, header.type, sizeof(Message)));
}

}  // namespace

Result<Request> parse_request(std::span<const std::byte> packet) {
  if (packet.size() < sizeof(sluice_message)) {
    return bad(fmt::format("a packet of {} bytes: the shortest has {}", packet.size(), sizeof(sluice_message)));
  }
  const auto header = as<sluice_message>(packet);
  if (header.magic != SLUICE_PROTOCOL_MAGIC) {
    return bad(fmt::format("a packet begins with {:#010x}: those of this protocol begin with {:#010x}", header.magic,
                           SLUICE_PROTOCOL_MAGIC));
  }
  if (header.version != SLUICE_PROTOCOL_VERSION) {
    return bad(fmt::format("version {}: sluiced speaks {} only, so use a client of that version", header.version,
                           SLUICE_PROTOCOL_VERSION));
  }
  switch (header.type) {
    case SLUICE_ACQUIRE:
      return read<sluice_acquire>(packet, read_acquire);
    case SLUICE_GROW:
      return read<sluice_grow>(packet, read_grow);
    case SLUICE_SHRINK:
      return read<sluice_shrink>(packet, read_shrink);
    case SLUICE_NOTIFY:
      return read<sluice_notify>(packet, read_notify);
    case SLUICE_STATUS:
      return read<sluice_status_request>(packet, read_status);
    case SLUICE_RELEASE:
      return read<sluice_release>(packet, read_release);
    default:
      return bad(fmt::format("type {} is no request: give one from {} to {}", header.type,
                             static_cast<int>(SLUICE_ACQUIRE), static_cast<int>(SLUICE_RELEASE)));
  }
}

std::optional<std::uint32_t> serial_of(std::span<const std::byte> packet) {
  if (packet.size() < sizeof(sluice_message)) return std::nullopt;
  const auto header = as<sluice_message>(packet);
  if (header.magic != SLUICE_PROTOCOL_MAGIC) return std::nullopt;
  return header.serial;
}

}  // namespace sluice::inline daemon
