// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>

#include "sluice/daemon/wire.hpp"

namespace sluice::test {

template <class Message>
Packet bytes_of(const Message& message) {
  Packet packet(sizeof message);
  std::memcpy(packet.data(), &message, sizeof message);
  return packet;
}

template <class Message>
Message message_of(std::span<const std::byte> packet) {
  Message message{};
  std::memcpy(&message, packet.data(), std::min(sizeof message, packet.size()));
  return message;
}

template <class Message>
Message request_message(std::uint16_t type, std::uint32_t serial) {
  Message whole{};
  const sluice_message header{SLUICE_PROTOCOL_MAGIC, SLUICE_PROTOCOL_VERSION, type, sizeof(Message), serial};
  std::memcpy(&whole, &header, sizeof header);
  return whole;
}

/// The packet that parse_request() reads as this.
inline Packet encode(const AcquireRequest& request) {
  auto message = request_message<sluice_acquire>(SLUICE_ACQUIRE, request.serial);
  std::memcpy(message.vm, request.vm.bytes.data(), sizeof message.vm);
  request.name.copy(message.name, sizeof message.name - 1);
  message.customer = request.customer.value();
  message.group = request.group.value();
  message.pool = request.pool.value();
  message.size = request.size.value();
  message.node = request.node.value_or(SLUICE_ANY_NODE);
  if (request.filtered) message.flags |= SLUICE_FILTERED;
  if (request.wants_monitor) message.flags |= SLUICE_WANTS_MONITOR;
  message.brick_count = static_cast<std::uint32_t>(request.bricks.size());
  std::ranges::transform(request.bricks, message.bricks, &ByteCount::value);
  return bytes_of(message);
}

inline Packet encode(const GrowRequest& request) {
  auto message = request_message<sluice_grow>(SLUICE_GROW, request.serial);
  message.lease = {request.lease.vm.value(), request.lease.epoch};
  message.brick_count = static_cast<std::uint32_t>(request.bricks.size());
  std::ranges::transform(request.bricks, message.bricks, &ByteCount::value);
  return bytes_of(message);
}

inline Packet encode(const ShrinkRequest& request) {
  auto message = request_message<sluice_shrink>(SLUICE_SHRINK, request.serial);
  message.lease = {request.lease.vm.value(), request.lease.epoch};
  message.brick_count = static_cast<std::uint32_t>(request.bricks.size());
  std::ranges::copy(request.bricks, message.bricks);
  return bytes_of(message);
}

inline Packet encode(const NotifyRequest& request) {
  auto message = request_message<sluice_notify>(SLUICE_NOTIFY, request.serial);
  message.lease = {request.lease.vm.value(), request.lease.epoch};
  message.event = static_cast<std::uint32_t>(request.event);
  return bytes_of(message);
}

inline Packet encode(const StatusRequest& request) {
  auto message = request_message<sluice_status_request>(SLUICE_STATUS, request.serial);
  std::memcpy(message.vm, request.vm.bytes.data(), sizeof message.vm);
  return bytes_of(message);
}

inline Packet encode(const ReleaseRequest& request) {
  auto message = request_message<sluice_release>(SLUICE_RELEASE, request.serial);
  message.lease = {request.lease.vm.value(), request.lease.epoch};
  return bytes_of(message);
}

inline Packet encode(const Request& request) {
  return std::visit([](const auto& each) { return encode(each); }, request);
}

}  // namespace sluice::test
