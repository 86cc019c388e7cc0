// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sluice/protocol.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sluice/base/ids.hpp"
#include "sluice/base/units.hpp"
#include "sluice/base/uuid.hpp"
#include "sluice/memory/error.hpp"
#include "sluice/vmm/leases.hpp"

// The packets between sluiced and VMMs (docs/PROTOCOL.md) as values. Pure functions, from any thread.
namespace sluice::inline daemon {

/// A VM comes, or comes back after a reboot. Either `size` or `bricks` is given.
struct AcquireRequest {
  std::uint32_t serial = 0;
  Uuid vm;           ///< Set.
  std::string name;  ///< UTF-8, at most 63 bytes, without a 0; what is in it is the VMM's: print it with printable().
  CustomerId customer;
  TrustGroupId group;
  DedicatedPoolId pool;
  ByteCount size;
  std::vector<ByteCount> bricks;  ///< Each at least a byte, less than 2^63 bytes together.
  std::optional<std::uint32_t> node;
  bool filtered = false;
  bool wants_monitor = false;
  bool operator==(const AcquireRequest&) const = default;
};

struct GrowRequest {
  std::uint32_t serial = 0;
  LeaseId lease;
  std::vector<ByteCount> bricks;  ///< As in AcquireRequest, and at least one.
  bool operator==(const GrowRequest&) const = default;
};

struct ShrinkRequest {
  std::uint32_t serial = 0;
  LeaseId lease;
  std::vector<std::uint32_t> bricks;  ///< Numbers, each once, and at least one.
  bool operator==(const ShrinkRequest&) const = default;
};

enum class LeaseEvent : std::uint32_t {
  Reset = SLUICE_EVENT_RESET,
  Reboot = SLUICE_EVENT_REBOOT,
  ShutDown = SLUICE_EVENT_SHUT_DOWN,
  Panic = SLUICE_EVENT_PANIC,
};

struct NotifyRequest {
  std::uint32_t serial = 0;
  LeaseId lease;
  LeaseEvent event = LeaseEvent::Reset;
  bool operator==(const NotifyRequest&) const = default;
};

struct StatusRequest {
  std::uint32_t serial = 0;
  Uuid vm;  ///< Set.
  bool operator==(const StatusRequest&) const = default;
};

struct ReleaseRequest {
  std::uint32_t serial = 0;
  LeaseId lease;
  bool operator==(const ReleaseRequest&) const = default;
};

using Request = std::variant<AcquireRequest, GrowRequest, ShrinkRequest, NotifyRequest, StatusRequest, ReleaseRequest>;

/// The longest request. A packet that is longer than a buffer of this length is none. bytes
inline constexpr std::size_t kLongestRequest = sizeof(sluice_acquire);

/// A packet of a VMM, whole as it was received. Believes nothing. Errors: InvalidArgument; the answer is a refusal with
/// Refusal::BadMessage and the error's message, and the end of the connection.
[[nodiscard]] Result<Request> parse_request(std::span<const std::byte> packet);
/// The serial for the answer to a packet that parse_request() refuses, where it has one: in all versions it lies at the
/// same place.
[[nodiscard]] std::optional<std::uint32_t> serial_of(std::span<const std::byte> packet);

using Packet = std::vector<std::byte>;

struct LeaseBrick {
  ByteCount length;
  std::uint32_t number = 0;
  bool recycled = false;
};

/// Goes with a descriptor for each brick, and then, if `monitor`, that of the monitor's socket. 1 to SLUICE_MOST_BRICKS
/// bricks, of numbers that differ.
[[nodiscard]] Packet lease_packet(std::uint32_t serial, LeaseId lease, std::span<const LeaseBrick> bricks,
                                  bool monitor);
[[nodiscard]] Packet done_packet(std::uint32_t serial);

struct LeaseStatus {
  std::optional<LeaseState> state;  ///< nullopt: there is no such VM.
  LeaseId lease;
  std::uint32_t brick_count = 0;  ///< At most SLUICE_MOST_BRICKS.
  ByteCount size;
  std::vector<std::uint32_t> holders;  ///< Processes. The packet has the first SLUICE_MOST_HOLDERS, and their count.
};

[[nodiscard]] Packet state_packet(std::uint32_t serial, const LeaseStatus& status);

enum class Refusal : std::uint32_t {
  BadMessage = SLUICE_REFUSED_BAD_MESSAGE,
  NotPermitted = SLUICE_REFUSED_NOT_PERMITTED,
  Unknown = SLUICE_REFUSED_UNKNOWN,
  WrongState = SLUICE_REFUSED_WRONG_STATE,
  Size = SLUICE_REFUSED_SIZE,
  NoMemory = SLUICE_REFUSED_NO_MEMORY,
  Stopping = SLUICE_REFUSED_STOPPING,
  Busy = SLUICE_REFUSED_BUSY,
};

/// As much of the text as fits, in whole letters. A 0 in it, and what is not UTF-8, is a '?'.
[[nodiscard]] Packet refused_packet(std::uint32_t serial, Refusal reason, std::string_view text);

}  // namespace sluice::inline daemon
