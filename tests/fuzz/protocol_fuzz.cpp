// SPDX-License-Identifier: Apache-2.0
// A packet of a VMM, for sluiced, and the same packet as an answer of sluiced, for the client library.
#include <algorithm>
#include <array>

#include "connection.h"
#include "fuzz/fuzz.hpp"
#include "sluice/base/utf8.hpp"
#include "support/protocol_packets.hpp"

namespace sluice::fuzz {
namespace {

void check_request(std::span<const std::byte> input) {
  const auto request = parse_request(input);
  if (!request) return check_message(request.error().message);
  const Packet again = test::encode(*request);
  enforce(std::ranges::equal(again, input), "nothing of a packet is passed over");
  enforce(*parse_request(again) == *request, "a request is read as it is written");
  enforce(serial_of(input) == std::visit([](const auto& each) { return each.serial; }, *request),
          "an answer has the serial of its request");
}

Packet written_again(const sluice_lease_message& message) {
  std::vector<LeaseBrick> bricks;
  for (const auto& brick : std::span(message.bricks).first(message.brick_count)) {
    bricks.push_back({ByteCount(brick.length), brick.number, brick.recycled == 1});
  }
  return lease_packet(message.message.serial, {VmId(message.lease.vm), message.lease.epoch}, bricks,
                      message.monitor == 1);
}

void check_answer(std::span<const std::byte> input, std::uint16_t type) {
  sluice_client client{};
  client.fd = -1;
  sluice_received received{};
  received.length = std::min(input.size(), sizeof received.reply);
  received.too_long = input.size() > sizeof received.reply ? 1 : 0;
  std::ranges::copy(input.first(received.length), reinterpret_cast<std::byte*>(&received.reply));
  const auto serial = serial_of(input).value_or(0);
  if (sluice_check_reply(&client, &received, serial, {type, "ask"}) != 0) {
    enforce(client.error[0] != 0 && std::string_view(client.error) == client.lost, "what is wrong is said");
    return;
  }
  const sluice_message& message = received.reply.message;
  enforce(message.length == input.size(), "what is believed is as long as it says");
  if (message.type == SLUICE_LEASE) {
    enforce(std::ranges::equal(written_again(received.reply.lease), input), "nothing of a lease is passed over");
  } else if (message.type == SLUICE_DONE) {
    enforce(std::ranges::equal(done_packet(serial), input), "done is a header");
  }
}

void check_refusal(std::span<const std::byte> input) {
  const auto refused = test::message_of<sluice_refused>(refused_packet(1, Refusal::Size, as_text(input)));
  const auto* const end = std::ranges::find(refused.text, '\0');
  enforce(end != std::end(refused.text), "a text has an end");
  const std::string_view text(refused.text, static_cast<std::size_t>(end - refused.text));
  enforce(is_utf8(text), "a text is cut between letters");
  enforce(text.size() + 3 >= std::min(input.size(), sizeof refused.text - 1), "a text has what fits");
}

}  // namespace

void one(std::span<const std::byte> input) {
  check_request(input);
  for (const std::uint16_t type : {SLUICE_LEASE, SLUICE_DONE, SLUICE_STATE}) check_answer(input, type);
  check_refusal(input);
}

}  // namespace sluice::fuzz
