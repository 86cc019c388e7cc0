// SPDX-License-Identifier: Apache-2.0
// An answer that is not as the protocol says is not believed, and no descriptor of it stays open.
#include <sys/resource.h>

#include "host/client/scripted_sluiced.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

class ClientAnswers : public ClientTest {
 protected:
  /// The client has closed everything but its bricks, and the connection.
  void expect_lost(const std::string& says) {
    EXPECT_THAT(error(), HasSubstr(says));
    EXPECT_EQ(client_->fd, -1);
    EXPECT_EQ(sluice_client_release(client_, kLease), -1);
    EXPECT_THAT(error(), HasSubstr("there is no connection to sluiced"));
    EXPECT_EQ(lease_.brick_count, 0U);
  }
  /// A new connection for the next case, with the serials from 1.
  void connect_anew() {
    sluice_client_close(client_);
    peer_.reset();
    const auto ends = connection();
    client_ = sluice_client_adopt(ends[0]);
    peer_ = std::make_unique<Peer>(ends[1]);
  }
};

struct BadLease {
  const char* says;
  void (*change)(sluice_lease_message&);
};

TEST_F(ClientAnswers, ALeaseIsRefusedForEachFieldThatIsWrong) {
  const BadLease table[] = {
      {"does not begin with SLIC", [](auto& message) { message.message.magic ^= 1; }},
      {"another version", [](auto& message) { message.message.version = 2; }},
      {"another type", [](auto& message) { message.message.type = SLUICE_DONE; }},
      {"another type", [](auto& message) { message.message.type = SLUICE_ACQUIRE; }},
      {"not as long as its type", [](auto& message) { ++message.message.length; }},
      {"serial of another request", [](auto& message) { message.message.serial = 2; }},
      {"a lease of no VM", [](auto& message) { message.lease.vm = 0; }},
      {"neither there nor not", [](auto& message) { message.monitor = 2; }},
      {"0 or too many bricks", [](auto& message) { message.brick_count = 0; }},
      {"0 or too many bricks", [](auto& message) { message.brick_count = SLUICE_MOST_BRICKS + 1; }},
      {"0 or too many bricks", [](auto& message) { message.brick_count = 0xFFFFFFFF; }},
      {"a brick of 0 bytes", [](auto& message) { message.bricks[1].length = 0; }},
      {"longer than any file", [](auto& message) { message.bricks[1].length = ~0ULL >> 1; }},
      {"longer than any file", [](auto& message) { message.bricks[0].length = 1ULL << 63; }},
      {"neither recycled nor not", [](auto& message) { message.bricks[0].recycled = 2; }},
      {"two bricks of one number", [](auto& message) { message.bricks[1].number = message.bricks[0].number; }},
      {"bricks beyond their count", [](auto& message) { message.bricks[127].number = 1; }},
  };
  const std::vector<int> fds = brick_fds();
  for (const auto& [says, change] : table) {
    SCOPED_TRACE(says);
    auto message = lease_message(1);
    change(message);
    peer_->send(bytes_of(message), fds);
    EXPECT_EQ(acquire(), -1);
    expect_lost(says);
    connect_anew();
  }
}

TEST_F(ClientAnswers, AnAnswerHasTheLengthOfItsType) {
  const std::vector<int> fds = brick_fds();
  const Packet good = bytes_of(lease_message(1));
  for (const std::size_t length :
       {std::size_t{1}, std::size_t{15}, std::size_t{16}, good.size() - 1, good.size() + 1, good.size() + 4096}) {
    SCOPED_TRACE(length);
    Packet other = good;
    other.resize(length);
    peer_->send(other, fds);
    EXPECT_EQ(acquire(), -1);
    expect_lost(length < 16 ? "too short" : length < good.size() ? "not as long as its type" : "too long");
    connect_anew();
  }
}

TEST_F(ClientAnswers, ALengthThatFitsThePacketAndNotTheTypeIsRefused) {
  auto message = message_of<sluice_state>(done_packet(1));
  message.message.length = sizeof message;
  peer_->send(bytes_of(message));
  EXPECT_EQ(sluice_client_release(client_, kLease), -1);
  expect_lost("not as long as its type");
}

TEST_F(ClientAnswers, OnlyALeaseComesWithDescriptors) {
  const std::vector<int> fds = brick_fds();
  peer_->send(done_packet(1), fds);
  EXPECT_EQ(sluice_client_release(client_, kLease), -1);
  expect_lost("descriptors came with it");
  connect_anew();
  peer_->send(refused_packet(1, Refusal::NoMemory, "no"), fds);
  EXPECT_EQ(acquire(), -1);
  EXPECT_EQ(sluice_client_reason(client_), 0) << "not believed";
  expect_lost("descriptors came with it");
}

TEST_F(ClientAnswers, AStateIsRefusedForEachFieldThatIsWrong) {
  const std::pair<const char*, void (*)(sluice_state&)> table[] = {
      {"a state that this client does not know", [](auto& state) { state.state = 6; }},
      {"too many bricks", [](auto& state) { state.brick_count = 129; }},
      {"reserved field", [](auto& state) { state.reserved = 1; }},
      {"holders beyond their count", [](auto& state) { state.holders[0] = 1; }},
  };
  for (const auto& [says, change] : table) {
    auto message = message_of<sluice_state>(state_packet(1, {}));
    change(message);
    peer_->send(bytes_of(message));
    sluice_state state{};
    EXPECT_EQ(sluice_client_status(client_, request_.vm, &state), -1);
    expect_lost(says);
    connect_anew();
  }
}

TEST_F(ClientAnswers, ARefusalHasAReasonAndAnEnd) {
  const std::pair<const char*, void (*)(sluice_refused&)> table[] = {
      {"a refusal without a reason", [](auto& refused) { refused.reason = 0; }},
      {"a refusal without a reason", [](auto& refused) { refused.reserved = 1; }},
      {"a text without an end", [](auto& refused) { std::memset(refused.text, 'x', sizeof refused.text); }},
  };
  for (const auto& [says, change] : table) {
    auto message = message_of<sluice_refused>(refused_packet(1, Refusal::Busy, "later"));
    change(message);
    peer_->send(bytes_of(message));
    EXPECT_EQ(sluice_client_release(client_, kLease), -1);
    expect_lost(says);
    connect_anew();
  }
}

/// A lease message in order, with descriptors that are not: the memory is given back, and the connection goes on.
struct BadDescriptors {
  const char* says;
  std::vector<int> fds;
  bool monitor = false;
};

TEST_F(ClientAnswers, ALeaseWithoutItsDescriptorsIsGivenBack) {
  const std::vector<int> good = brick_fds();
  const int short_file = keep(make_brick((2 << 20) - 1));
  const int no_file = keep(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::vector<int> many(SLUICE_MOST_DESCRIPTORS, good[0]);
  std::vector<int> most(250, good[0]);
  const BadDescriptors table[] = {
      {"has sent 0 descriptors for a lease with 2", {}},
      {"has sent 1 descriptors for a lease with 2", {good[0]}},
      {"has sent 3 descriptors for a lease with 2", {good[0], good[1], good[1]}},
      {"has sent 129 descriptors for a lease with 2", many},
      {"has sent 129 and more descriptors for a lease with 2", most},
      {"has sent 2 descriptors for a lease with 3", good, true},
      {"brick 5 is no file of 2097152 bytes", {short_file, good[1]}},
      {"brick 6 is no file of 1048576 bytes", {good[0], no_file}},
      {"the monitor's descriptor is no socket", {good[0], good[1], good[1]}, true},
      {"a monitor's socket that nobody asked for", {good[0], good[1], no_file}, true},
  };
  std::uint32_t serial = 1;
  for (const auto& [says, fds, monitor] : table) {
    SCOPED_TRACE(says);
    auto message = lease_message(serial++);
    message.monitor = monitor ? 1 : 0;
    peer_->send(bytes_of(message), fds);
    peer_->send(done_packet(serial++));
    const std::size_t before = open_descriptors();
    EXPECT_EQ(acquire(), -1);
    EXPECT_THAT(error(), HasSubstr(says));
    EXPECT_EQ(open_descriptors(), before) << "none is left";
    static_cast<void>(peer_->take<AcquireRequest>());
    EXPECT_EQ(peer_->take<ReleaseRequest>().lease, (LeaseId{VmId(7), 3}));
    EXPECT_EQ(lease_.brick_count, 0U);
  }
}

TEST_F(ClientAnswers, OtherMemoryThanWasAskedForIsGivenBack) {
  const std::vector<int> fds = brick_fds();
  const std::uint64_t other_lengths[] = {1 << 20, 2 << 20, 1 << 20};
  std::uint32_t serial = 1;
  const auto expect_given_back = [&] {
    peer_->send(bytes_of(lease_message(serial++)), fds);
    peer_->send(done_packet(serial++));
    EXPECT_EQ(acquire(), -1);
    EXPECT_THAT(error(), HasSubstr("not what was asked for"));
    static_cast<void>(peer_->take<AcquireRequest>());
    static_cast<void>(peer_->take<ReleaseRequest>());
  };
  request_.bricks = other_lengths;
  expect_given_back();
  request_.bricks = other_lengths + 1;
  request_.brick_count = 1;
  expect_given_back();
  request_.brick_count = 0;
  request_.size = (3 << 20) + 1;
  expect_given_back();
}

TEST_F(ClientAnswers, GrownBricksThatCannotBeUsedAreGivenBackByTheirNumbers) {
  const std::vector<int> fds = brick_fds();
  std::uint32_t serial = 1;
  for (const char* const says : {"has sent 1 descriptors for a lease with 2", "bricks of another lease"}) {
    auto message = lease_message(serial++);
    const bool other = std::string_view(says) == "bricks of another lease";
    if (other) ++message.lease.epoch;
    peer_->send(bytes_of(message), other ? fds : std::vector<int>{fds[0]});
    peer_->send(refused_packet(serial++, Refusal::Unknown, "which bricks?"));
    EXPECT_EQ(grow(), -1);
    EXPECT_THAT(error(), HasSubstr(says));
    EXPECT_EQ(sluice_client_reason(client_), 0) << "that of the answer to the call";
    static_cast<void>(peer_->take<GrowRequest>());
    EXPECT_EQ(peer_->take<ShrinkRequest>().bricks, (std::vector<std::uint32_t>{5, 6}));
  }
}

TEST_F(ClientAnswers, AtTheLimitOfOpenFilesTheLeaseIsGivenBack) {
  peer_->send(bytes_of(lease_message(1)), brick_fds());
  peer_->send(done_packet(2));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  const int lowest_free = ::dup(0);
  ::close(lowest_free);
  low.rlim_cur = static_cast<rlim_t>(lowest_free) + 1;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  const int result = acquire();
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(result, -1);
  EXPECT_THAT(error(), HasSubstr("only 1 of the lease's 2 descriptors could be received: raise the limit"));
  static_cast<void>(peer_->take<AcquireRequest>());
  EXPECT_EQ(peer_->take<ReleaseRequest>().lease, (LeaseId{VmId(7), 3}));
}

}  // namespace
}  // namespace sluice::test
