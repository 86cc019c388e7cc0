// SPDX-License-Identifier: Apache-2.0
// Packets of VMMs are read exactly or not at all, and answers are as the protocol says.
#include "sluice/daemon/wire.hpp"

#include <gmock/gmock.h>

#include <functional>

#include "support/protocol_packets.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

const Uuid kVm = *parse_uuid("123e4567-e89b-12d3-a456-426614174000");
const LeaseId kLease{VmId(7), 3};

AcquireRequest acquire() {
  AcquireRequest request;
  request.serial = 42;
  request.vm = kVm;
  request.name = "db-\xC3\xA4";
  request.customer = CustomerId(1);
  request.group = TrustGroupId(2);
  request.pool = DedicatedPoolId(3);
  request.bricks = {kGiB, ByteCount(2 << 20)};
  request.node = 1;
  request.filtered = true;
  request.wants_monitor = true;
  return request;
}

const GrowRequest kGrow{43, kLease, {ByteCount(2 << 20), ByteCount(4096)}};
const ShrinkRequest kShrink{44, kLease, {5, 0, 4'000'000'000}};

std::string fault_of(const Packet& packet) {
  const auto parsed = parse_request(packet);
  if (parsed) return "none";
  EXPECT_EQ(parsed.error().code, HostErrc::InvalidArgument);
  return parsed.error().message;
}

/// The fault of a good request of which one thing was changed.
template <class Message>
std::string fault_after(const Request& good, const std::function<void(Message&)>& change) {
  auto message = message_of<Message>(encode(good));
  change(message);
  return fault_of(bytes_of(message));
}

TEST(WireRequests, OfEveryTypeAreReadAsTheyWereWritten) {
  AcquireRequest by_size;
  by_size.vm = kVm;
  by_size.size = ByteCount(std::numeric_limits<std::int64_t>::max());
  AcquireRequest most = acquire();
  most.name = std::string(63, 'x');
  most.bricks.assign(SLUICE_MOST_BRICKS, ByteCount(1ULL << 55));
  most.node = SLUICE_MOST_NODES - 1;
  for (const Request& request :
       {Request(acquire()), Request(by_size), Request(most), Request(kGrow), Request(kShrink),
        Request(NotifyRequest{45, kLease, LeaseEvent::Reset}), Request(NotifyRequest{46, kLease, LeaseEvent::Reboot}),
        Request(NotifyRequest{47, kLease, LeaseEvent::ShutDown}), Request(NotifyRequest{48, kLease, LeaseEvent::Panic}),
        Request(StatusRequest{49, kVm}), Request(ReleaseRequest{0xFFFFFFFF, kLease})}) {
    const auto parsed = parse_request(encode(request));
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_TRUE(*parsed == request) << "type " << request.index();
  }
}

TEST(WireRequests, AreExactlyAsLongAsTheirType) {
  for (const Request& request :
       {Request(acquire()), Request(kGrow), Request(kShrink), Request(StatusRequest{1, kVm}),
        Request(NotifyRequest{1, kLease, LeaseEvent::Reset}), Request(ReleaseRequest{1, kLease})}) {
    const Packet good = encode(request);
    for (std::size_t length = 0; length <= kLongestRequest + 1; ++length) {
      if (length == good.size()) continue;
      Packet other = good;
      other.resize(length);
      EXPECT_NE(fault_of(other), "none") << length << " bytes of type " << request.index();
      if (length < sizeof(sluice_message)) continue;
      auto header = message_of<sluice_message>(other);
      header.length = static_cast<std::uint32_t>(length);
      std::memcpy(other.data(), &header, sizeof header);
      EXPECT_THAT(fault_of(other), HasSubstr("send one struct in a packet")) << length << " bytes and says so";
    }
    Packet lies = good;
    lies[8] ^= std::byte{1};
    EXPECT_THAT(fault_of(lies), HasSubstr("send one struct in a packet"));
  }
}

TEST(WireRequests, OfAnotherProtocolVersionOrTypeAreRefusedWithTheValue) {
  const auto change = [](const std::function<void(sluice_release&)>& one) {
    return fault_after<sluice_release>(ReleaseRequest{1, kLease}, one);
  };
  EXPECT_THAT(change([](auto& message) { message.message.magic = 0x12345678; }), HasSubstr("begins with 0x12345678"));
  EXPECT_THAT(change([](auto& message) { message.message.version = 0; }),
              HasSubstr("version 0: sluiced speaks 1 only"));
  EXPECT_THAT(change([](auto& message) { message.message.version = 2; }),
              HasSubstr("version 2: sluiced speaks 1 only"));
  for (const int type : {0, 7, int{SLUICE_LEASE}, int{SLUICE_REFUSED}, 0xFFFF}) {
    EXPECT_THAT(change([type](auto& message) { message.message.type = static_cast<std::uint16_t>(type); }),
                HasSubstr("is no request"));
  }
  EXPECT_THAT(fault_of({}), HasSubstr("a packet of 0 bytes"));
}

struct BadAcquire {
  const char* says;
  void (*change)(sluice_acquire&);
};

TEST(WireRequests, AcquireIsRefusedForEachFieldThatIsWrong) {
  const BadAcquire table[] = {
      {"UUID is all zeros", [](auto& message) { std::memset(message.vm, 0, sizeof message.vm); }},
      {"does not end with a 0", [](auto& message) { std::memset(message.name, 'x', sizeof message.name); }},
      {"follows the end of the VM's name", [](auto& message) { message.name[63] = 'x'; }},
      {"follows the end of the VM's name", [](auto& message) { message.name[0] = 0; }},
      {"'\\xC3(' is not UTF-8", [](auto& message) { std::strncpy(message.name, "\xC3(", sizeof message.name); }},
      {"flags are 0x7", [](auto& message) { message.flags = 7; }},
      {"flags are 0x80000000", [](auto& message) { message.flags = 0x80000000; }},
      {"NUMA node 1024", [](auto& message) { message.node = SLUICE_MOST_NODES; }},
      {"NUMA node 4294967294", [](auto& message) { message.node = SLUICE_ANY_NODE - 1; }},
      {"reserved is 1", [](auto& message) { message.reserved = 1; }},
      {"brick_count is 129", [](auto& message) { message.brick_count = SLUICE_MOST_BRICKS + 1; }},
      {"brick_count is 4294967295", [](auto& message) { message.brick_count = 0xFFFFFFFF; }},
      {"bricks beyond brick_count, which is 1", [](auto& message) { message.brick_count = 1; }},
      {"bricks beyond brick_count, which is 2", [](auto& message) { message.bricks[127] = 1; }},
      {"brick 2 has 0 bytes", [](auto& message) { message.brick_count = 3; }},
      {"brick 0 has 0 bytes", [](auto& message) { message.bricks[0] = 0; }},
      {"brick 0 has 9223372036854775808 bytes", [](auto& message) { message.bricks[0] = 1ULL << 63; }},
      {"brick 1 has 9223372036854775807 bytes", [](auto& message) { message.bricks[1] = ~0ULL >> 1; }},
      {"brick 1 has 18446744073709551615 bytes", [](auto& message) { message.bricks[1] = ~0ULL; }},
      {"size is 4096 and brick_count is 2", [](auto& message) { message.size = 4096; }},
      {"size is 0 and brick_count is 0",
       [](auto& message) {
         message.brick_count = 0;
         std::memset(message.bricks, 0, sizeof message.bricks);
       }},
      {"size is 9223372036854775808: give less",
       [](auto& message) {
         message.size = 1ULL << 63;
         message.brick_count = 0;
         std::memset(message.bricks, 0, sizeof message.bricks);
       }},
  };
  for (const auto& [says, change] : table) {
    EXPECT_THAT(fault_after<sluice_acquire>(acquire(), change), HasSubstr(says));
  }
}

TEST(WireRequests, GrowAndShrinkAreRefusedForEachFieldThatIsWrong) {
  const auto grow = [](const std::function<void(sluice_grow&)>& change) {
    return fault_after<sluice_grow>(kGrow, change);
  };
  EXPECT_THAT(grow([](auto& message) { message.lease.vm = 0; }), HasSubstr("a lease of VM 0"));
  EXPECT_THAT(grow([](auto& message) { message.reserved = 9; }), HasSubstr("reserved is 9"));
  EXPECT_THAT(grow([](auto& message) { message.brick_count = 129; }), HasSubstr("brick_count is 129"));
  EXPECT_THAT(grow([](auto& message) { message.brick_count = 1; }), HasSubstr("beyond brick_count"));
  EXPECT_THAT(grow([](auto& message) { message.bricks[1] = 0; }), HasSubstr("brick 1 has 0 bytes"));
  EXPECT_THAT(grow([](auto& message) { message.bricks[1] = ~0ULL; }), HasSubstr("brick 1 has 18446744073709551615"));
  EXPECT_THAT(grow([](auto& message) {
                message.brick_count = 0;
                message.bricks[0] = message.bricks[1] = 0;
              }),
              HasSubstr("at least one brick"));
  const auto shrink = [](const std::function<void(sluice_shrink&)>& change) {
    return fault_after<sluice_shrink>(kShrink, change);
  };
  EXPECT_THAT(shrink([](auto& message) { message.lease.vm = 0; }), HasSubstr("a lease of VM 0"));
  EXPECT_THAT(shrink([](auto& message) { message.reserved = 9; }), HasSubstr("reserved is 9"));
  EXPECT_THAT(shrink([](auto& message) { message.brick_count = 129; }), HasSubstr("brick_count is 129"));
  EXPECT_THAT(shrink([](auto& message) { message.brick_count = 2; }), HasSubstr("beyond brick_count"));
  EXPECT_THAT(shrink([](auto& message) { message.bricks[2] = 5; }), HasSubstr("brick 5 is there twice"));
  EXPECT_THAT(shrink([](auto& message) {
                message.brick_count = 0;
                std::memset(message.bricks, 0, sizeof message.bricks);
              }),
              HasSubstr("at least one brick"));
}

TEST(WireRequests, TheOthersAreRefusedForEachFieldThatIsWrong) {
  const auto notify = [](const std::function<void(sluice_notify&)>& change) {
    return fault_after<sluice_notify>(NotifyRequest{1, kLease, LeaseEvent::Reset}, change);
  };
  EXPECT_THAT(notify([](auto& message) { message.lease.vm = 0; }), HasSubstr("a lease of VM 0"));
  EXPECT_THAT(notify([](auto& message) { message.reserved = 2; }), HasSubstr("reserved is 2"));
  EXPECT_THAT(notify([](auto& message) { message.event = 0; }), HasSubstr("event 0"));
  EXPECT_THAT(notify([](auto& message) { message.event = 5; }), HasSubstr("event 5"));
  EXPECT_THAT(fault_after<sluice_status_request>(StatusRequest{1, kVm},
                                                 [](auto& message) { std::memset(message.vm, 0, sizeof message.vm); }),
              HasSubstr("UUID is all zeros"));
  EXPECT_THAT(fault_after<sluice_release>(ReleaseRequest{1, kLease},
                                          [](auto& message) {
                                            message.lease = {0, kLease.epoch};
                                          }),
              HasSubstr("a lease of VM 0"));
}

TEST(WireRequests, HaveASerialToAnswerToWhateverElseIsWrong) {
  Packet packet = encode(kGrow);
  EXPECT_EQ(serial_of(packet), 43U);
  packet[4] = std::byte{9};  // version
  packet.resize(sizeof(sluice_message));
  EXPECT_EQ(serial_of(packet), 43U);
  packet.pop_back();
  EXPECT_EQ(serial_of(packet), std::nullopt);
  packet = encode(kGrow);
  packet[0] = std::byte{0};
  EXPECT_EQ(serial_of(packet), std::nullopt) << "of another protocol";
}

TEST(WireReplies, LeaseHasItsBricksAndZerosBehindThem) {
  const LeaseBrick bricks[] = {{kGiB, 5, true}, {kMiB, 9, false}};
  const Packet packet = lease_packet(42, kLease, bricks, true);
  ASSERT_EQ(packet.size(), sizeof(sluice_lease_message));
  auto expected = request_message<sluice_lease_message>(SLUICE_LEASE, 42);
  expected.lease = {7, 3};
  expected.monitor = 1;
  expected.brick_count = 2;
  expected.bricks[0] = {kGiB.value(), 5, 1};
  expected.bricks[1] = {kMiB.value(), 9, 0};
  EXPECT_EQ(packet, bytes_of(expected));
}

TEST(WireReplies, DoneIsAHeaderAlone) {
  EXPECT_EQ(done_packet(8), bytes_of(request_message<sluice_message>(SLUICE_DONE, 8)));
}

TEST(WireReplies, StateHasTheFirstHoldersAndTheCountOfAll) {
  LeaseStatus status{LeaseState::Quarantined, kLease, 2, kGiB, {}};
  for (std::uint32_t process = 100; process < 120; ++process) status.holders.push_back(process);
  auto expected = request_message<sluice_state>(SLUICE_STATE, 8);
  expected.lease = {7, 3};
  expected.state = SLUICE_STATE_QUARANTINED;
  expected.brick_count = 2;
  expected.size = kGiB.value();
  expected.holder_count = 20;
  for (std::uint32_t at = 0; at < SLUICE_MOST_HOLDERS; ++at) expected.holders[at] = 100 + at;
  EXPECT_EQ(state_packet(8, status), bytes_of(expected));
}

TEST(WireReplies, RefusalHasAsManyWholeLettersAsFit) {
  const auto text_of = [](const std::string& text) {
    const Packet packet = refused_packet(8, Refusal::Size, text);
    EXPECT_EQ(packet.size(), sizeof(sluice_refused));
    const auto message = message_of<sluice_refused>(packet);
    EXPECT_EQ(message.reason, std::uint32_t{SLUICE_REFUSED_SIZE});
    EXPECT_EQ(message.message.serial, 8U);
    EXPECT_EQ(message.text[495], 0);
    return std::string(message.text);
  };
  EXPECT_EQ(text_of(""), "");
  EXPECT_EQ(text_of("no bricks of 3 bytes"), "no bricks of 3 bytes");
  EXPECT_EQ(text_of(std::string(495, 'x')), std::string(495, 'x'));
  EXPECT_EQ(text_of(std::string(496, 'x')), std::string(495, 'x'));
  EXPECT_EQ(text_of(std::string(493, 'x') + "\xE2\x82\xAC"), std::string(493, 'x')) << "half a letter is left out";
  EXPECT_EQ(text_of(std::string(492, 'x') + "\xE2\x82\xAC"), std::string(492, 'x') + "\xE2\x82\xAC");
  EXPECT_EQ(text_of(std::string("a\0b\xFFz\xC3", 6)), "a?b?z?");
}

}  // namespace
}  // namespace sluice::test
