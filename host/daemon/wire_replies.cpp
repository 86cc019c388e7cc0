// SPDX-License-Identifier: Apache-2.0
// The packets of sluiced's answers.
#include <algorithm>
#include <cstring>

#include "sluice/base/enforce.hpp"
#include "sluice/base/utf8.hpp"
#include "sluice/daemon/wire.hpp"

namespace sluice::inline daemon {
namespace {

// Packets are for programs of other compilers too: nothing is padded.
static_assert(sizeof(sluice_lease_message) == 40 + 16 * SLUICE_MOST_BRICKS);
static_assert(sizeof(sluice_state) == 56 + 4 * SLUICE_MOST_HOLDERS);
static_assert(sizeof(sluice_refused) == 520);

/// All zeros but the header.
template <class Message>
Message begin(std::uint16_t type, std::uint32_t serial) {
  Message whole{};
  const sluice_message header{SLUICE_PROTOCOL_MAGIC, SLUICE_PROTOCOL_VERSION, type, sizeof(Message), serial};
  std::memcpy(&whole, &header, sizeof header);
  return whole;
}

template <class Message>
Packet as_packet(const Message& message) {
  Packet packet(sizeof message);
  std::memcpy(packet.data(), &message, sizeof message);
  return packet;
}

/// With a '?' for each 0, and for each byte that is not UTF-8.
std::string letters_of(std::string_view text) {
  std::string letters;
  while (!text.empty()) {
    const std::size_t good = utf8_prefix(text);
    letters += text.substr(0, good);
    text.remove_prefix(good);
    if (text.empty()) break;
    letters += '?';
    text.remove_prefix(1);
  }
  std::ranges::replace(letters, '\0', '?');
  return letters;
}

}  // namespace

Packet lease_packet(std::uint32_t serial, LeaseId lease, std::span<const LeaseBrick> bricks, bool monitor) {
  enforce(!bricks.empty() && bricks.size() <= SLUICE_MOST_BRICKS, "a lease has 1 to SLUICE_MOST_BRICKS bricks");
  enforce(lease.vm.is_set(), "a lease is of a VM");
  auto message = begin<sluice_lease_message>(SLUICE_LEASE, serial);
  message.lease = {lease.vm.value(), lease.epoch};
  message.monitor = monitor ? 1 : 0;
  message.brick_count = static_cast<std::uint32_t>(bricks.size());
  std::ranges::transform(bricks, message.bricks, [](const LeaseBrick& brick) {
    return sluice_lease_brick{brick.length.value(), brick.number, brick.recycled ? 1U : 0U};
  });
  return as_packet(message);
}

Packet done_packet(std::uint32_t serial) { return as_packet(begin<sluice_message>(SLUICE_DONE, serial)); }

namespace {

std::uint32_t code_of(std::optional<LeaseState> state) {
  if (!state) return SLUICE_STATE_NONE;
  switch (*state) {
    case LeaseState::Waiting:
      return SLUICE_STATE_WAITING;
    case LeaseState::Running:
      return SLUICE_STATE_RUNNING;
    case LeaseState::Ending:
      return SLUICE_STATE_ENDING;
    case LeaseState::Quarantined:
      return SLUICE_STATE_QUARANTINED;
    case LeaseState::Reserved:
      return SLUICE_STATE_RESERVED;
  }
  return SLUICE_STATE_NONE;
}

}  // namespace

Packet state_packet(std::uint32_t serial, const LeaseStatus& status) {
  enforce(status.brick_count <= SLUICE_MOST_BRICKS, "a lease has at most SLUICE_MOST_BRICKS bricks");
  auto message = begin<sluice_state>(SLUICE_STATE, serial);
  message.lease = {status.lease.vm.value(), status.lease.epoch};
  message.state = code_of(status.state);
  message.brick_count = status.brick_count;
  message.size = status.size.value();
  message.holder_count = static_cast<std::uint32_t>(status.holders.size());
  std::copy_n(status.holders.begin(), std::min<std::size_t>(status.holders.size(), SLUICE_MOST_HOLDERS),
              message.holders);
  return as_packet(message);
}

Packet refused_packet(std::uint32_t serial, Refusal reason, std::string_view text) {
  auto message = begin<sluice_refused>(SLUICE_REFUSED, serial);
  message.reason = static_cast<std::uint32_t>(reason);
  const std::string whole = letters_of(text);
  const std::string_view room = std::string_view(whole).substr(0, sizeof message.text - 1);
  std::memcpy(message.text, room.data(), utf8_prefix(room));
  return as_packet(message);
}

}  // namespace sluice::inline daemon
