// SPDX-License-Identifier: Apache-2.0
// The web service of a real sluiced: clients that behave and that do not, and what a call does to VMs that run.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <memory>
#include <set>

#include "support/http.hpp"
#include "support/sluiced.hpp"

namespace sluice::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint8_t kA = 1;
constexpr std::uint8_t kB = 2;
constexpr std::uint8_t kSecret = 0xA5;
constexpr const char* kBricks = R"([{ size = "1MiB", count = 4 }])";

std::string uuid_text(std::uint8_t vm) {
  return fmt::format(
      "{0:02x}{0:02x}{0:02x}{0:02x}-{0:02x}{0:02x}-{0:02x}{0:02x}-{0:02x}{0:02x}-{0:02x}{0:02x}{0:02x}{0:02x}{0:02x}{0:"
      "02x}",
      vm);
}

TEST(ApiServerTest, AnswersOneRequestAfterTheOtherOnAConnection) {
  const Sluiced sluiced;
  const RawClient client(sluiced.api_socket());
  for (int round = 0; round < 3; ++round) {
    client.send(http_request("GET", "/v1/vms"));
    EXPECT_THAT(client.answer(), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Content-Type: application/json"),
                                       HasSubstr("{\"vms\":[]}")));
  }
  client.send(http_request("GET", "/v1/vms") + http_request("GET", "/v1/users"));  // both at once
  EXPECT_THAT(client.answer(), HasSubstr("vms"));
  EXPECT_THAT(client.answer(), HasSubstr("users"));
  client.send("GET /v1/vms HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.all(), StartsWith("HTTP/1.1 200"));
}

TEST(ApiServerTest, ABodyThatIsTooLongIsAnsweredWith413) {
  const Sluiced sluiced;
  const RawClient client(sluiced.api_socket());
  client.send(http_request("POST", "/v1/templates", std::string((1 << 20) + 1, 'x')));
  EXPECT_THAT(client.all(), AllOf(StartsWith("HTTP/1.1 413"), HasSubstr("/problems/body-too-long")));
  const RawClient liar(sluiced.api_socket());  // says so, and sends nothing of it
  liar.send("POST /v1/templates HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n");
  EXPECT_THAT(liar.answer(), StartsWith("HTTP/1.1 413"));
  const RawClient chunked(sluiced.api_socket());
  chunked.send("POST /v1/templates HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n" +
               std::string(0x200000, 'x'));
  EXPECT_THAT(chunked.answer(), StartsWith("HTTP/1.1 413"));
  const RawClient header(sluiced.api_socket());
  header.send("GET /v1/vms HTTP/1.1\r\nX: " + std::string(10'000, 'x') + "\r\n\r\n");
  EXPECT_THAT(header.answer(), StartsWith("HTTP/1.1 431"));
}

TEST(ApiServerTest, RubbishIsAnsweredOnceAndEndsTheConnection) {
  const Sluiced sluiced;
  for (const std::string rubbish : {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 more of it\r\n\r\n", "GET\r\n\r\n",
                                    "GET /v1/vms HTTP/9.9\r\n\r\n", "GET /v1/vms HTTP/1.1\r\nno header\r\n\r\n",
                                    "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"}) {
    const RawClient client(sluiced.api_socket());
    client.send(rubbish);
    EXPECT_THAT(client.answer(), AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("/problems/bad-request"))) << rubbish;
  }
  EXPECT_THAT(call(sluiced.api_socket(), "HEAD", "/v1/vms"), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(call(sluiced.api_socket(), "GET", "/v1/vms"), StartsWith("HTTP/1.1 200"));
}

TEST(ApiServerTest, AClientThatIsSlowLosesItsConnectionAndNobodyElseWaits) {
  const Sluiced sluiced(kBricks, ::geteuid(), "timeout_s = 1");
  const RawClient slow(sluiced.api_socket());
  slow.send("GET /v1/vms HTTP/1.1\r\nHo");
  EXPECT_THAT(call(sluiced.api_socket(), "GET", "/v1/vms"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(slow.all(), IsEmpty());
  const RawClient silent(sluiced.api_socket());
  EXPECT_THAT(silent.all(), IsEmpty());
}

TEST(ApiServerTest, ConnectionsAreBoundedAndThoseThatEndMakeRoom) {
  const Sluiced sluiced;
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int count = 0; count < 256; ++count) {
    clients.push_back(std::make_unique<RawClient>(sluiced.api_socket()));
    clients.back()->send(http_request("GET", "/v1/users"));
    ASSERT_THAT(clients.back()->answer(), StartsWith("HTTP/1.1 200")) << count;
  }
  EXPECT_THAT(call(sluiced.api_socket(), "GET", "/v1/users"),
              AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("/problems/too-many-connections")));
  const std::size_t descriptors = sluiced.open_descriptors();
  clients.clear();
  EXPECT_TRUE(comes_true([&] { return sluiced.open_descriptors() + 250 <= descriptors; }));
  EXPECT_THAT(call(sluiced.api_socket(), "GET", "/v1/users"), StartsWith("HTTP/1.1 200"));
}

/// What `user` is answered; it connects in a child.
std::string call_as(uid_t user, const std::string& socket, std::string_view method, std::string_view target) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return "";
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(user) != 0) ::_exit(1);
    const std::string answer = call(socket, method, target);
    ::_exit(::write(pipe[1], answer.data(), answer.size()) == static_cast<ssize_t>(answer.size()) ? 0 : 2);
  }
  ::close(pipe[1]);
  std::string answer;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = ::read(pipe[0], buffer.data(), buffer.size())) > 0;) {
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  ::close(pipe[0]);
  ::waitpid(child, nullptr, 0);
  return answer;
}

TEST(ApiServerTest, ItIsTheKernelThatSaysWhoCalls) {
  if (::geteuid() != 0) return;  // only root can be somebody else
  const Sluiced sluiced(kBricks, 0, "users = [4001]\ncustomers = [{ user = 4007, customer = 7 }]");
  ASSERT_EQ(::chmod(sluiced.folder().path().c_str(), 0755), 0);
  const std::string socket = sluiced.api_socket();
  EXPECT_THAT(call_as(4001, socket, "GET", "/v1/host"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(call_as(4007, socket, "GET", "/v1/vms"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(call_as(4007, socket, "GET", "/v1/host"), AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("customer 7")));
  EXPECT_THAT(call_as(4002, socket, "GET", "/v1/vms"),
              AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("user 4002"), HasSubstr("api.users")));
}

/// A policy that is changed while the VM runs, and a sluiced that is killed after it has answered.
TEST(ApiServerTest, APolicyReachesAVmThatRunsAlsoAfterACrash) {
  for (const bool crashes : {false, true}) {
    Sluiced sluiced;
    Vmm first(sluiced);
    first.filter();
    ASSERT_EQ(first.acquire(kA, 2 * kMiB).refused, 0);
    first.fill(kSecret);
    ASSERT_THAT(call(sluiced.api_socket(), "PUT", "/v1/attachments/instance/" + uuid_text(kA),
                     R"({"policy": {"recycle_on_reboot": false}})"),
                StartsWith("HTTP/1.1 200"));
    if (crashes) {
      sluiced.end(SIGKILL);
      sluiced.start();
    }
    ASSERT_THAT(call(sluiced.api_socket(), "POST", "/v1/vms/" + uuid_text(kA) + ":reboot"), StartsWith("HTTP/1.1 202"));
    first.end();
    const Client client(sluiced.socket());
    ASSERT_TRUE(comes_true([&] { return client.status(kA).state != SLUICE_STATE_RUNNING; }));
    Vmm again(sluiced);
    const auto given = again.acquire(kA, 2 * kMiB);
    ASSERT_EQ(given.refused, 0) << sluiced.log();
    EXPECT_EQ(given.recycled, 0U);
    EXPECT_EQ(given.found, 0U);
  }
}

TEST(ApiServerTest, WithoutAPolicyARebootThatIsAnnouncedKeepsTheMemory) {
  const Sluiced sluiced;
  const Client client(sluiced.socket());
  Vmm first(sluiced);
  first.filter();
  ASSERT_EQ(first.acquire(kA, 2 * kMiB).refused, 0);
  first.fill(kSecret);
  ASSERT_THAT(call(sluiced.api_socket(), "POST", "/v1/vms/" + uuid_text(kA) + ":reboot"), StartsWith("HTTP/1.1 202"));
  first.end();
  ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_RESERVED));
  Vmm again(sluiced);
  EXPECT_EQ(again.acquire(kA, 2 * kMiB).found, kSecret);
}

/// The memory of the first VM goes to the second as it is; without the group it does not. Scrubbing is put off, so that
/// it is still there.
TEST(ApiServerTest, VmsOfATrustGroupHaveEachOthersMemory) {
  for (const bool crashes : {false, true}) {
    for (const bool in_group : {false, true}) {
      Sluiced sluiced;
      const std::string socket = sluiced.api_socket();
      ASSERT_THAT(call(socket, "POST", "/v1/trust-groups", R"({"id": 7, "customer": 3})"), StartsWith("HTTP/1.1 201"));
      ASSERT_THAT(call(socket, "PUT", "/v1/attachments/customer/3",
                       R"({"policy": {"scrub_timing": "scheduled", "scrub_delay_s": 3600}})"),
                  StartsWith("HTTP/1.1 200"));
      for (const std::uint8_t vm : {kA, kB}) {
        ASSERT_THAT(call(socket, "PUT", "/v1/registrations/" + uuid_text(vm),
                         in_group ? R"({"customer": 3, "trust_group": 7})" : R"({"customer": 3})"),
                    StartsWith("HTTP/1.1 201"));
      }
      if (crashes) {
        sluiced.end(SIGKILL);
        sluiced.start();
      }
      const Client client(sluiced.socket());
      Vmm first(sluiced);
      first.filter();
      ASSERT_EQ(first.acquire(kA, 4 * kMiB).refused, 0);
      first.fill(kSecret);
      first.end();
      ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE));
      Vmm second(sluiced);
      second.filter();
      const auto given = second.acquire(kB, 4 * kMiB);
      ASSERT_EQ(given.refused, 0) << sluiced.log();
      EXPECT_EQ(given.recycled, in_group ? 4U : 0U);
      EXPECT_EQ(given.found, in_group ? kSecret : 0U);
    }
  }
}

TEST(ApiServerTest, HowAVmGotItsMemoryIsSaidAlsoAfterACrash) {
  Sluiced sluiced;
  const std::string socket = sluiced.api_socket();
  ASSERT_THAT(call(socket, "POST", "/v1/trust-groups", R"({"id": 7, "customer": 3})"), StartsWith("HTTP/1.1 201"));
  ASSERT_THAT(call(socket, "PUT", "/v1/attachments/customer/3",
                   R"({"policy": {"scrub_timing": "scheduled", "scrub_delay_s": 3600}})"),
              StartsWith("HTTP/1.1 200"));
  for (const std::uint8_t vm : {kA, kB}) {
    ASSERT_THAT(call(socket, "PUT", "/v1/registrations/" + uuid_text(vm), R"({"customer": 3, "trust_group": 7})"),
                StartsWith("HTTP/1.1 201"));
  }
  const auto bricks = [&] {
    const std::string said = call(socket, "GET", "/v1/vms/" + uuid_text(kB));
    const std::size_t from = said.find("\"bricks\":[");
    std::set<std::string> each;  // they come in any order
    for (std::size_t at = said.find('{', from); at < said.find(']', from); at = said.find('{', at + 1)) {
      each.insert(said.substr(at, said.find('}', at) + 1 - at));
    }
    return each;
  };
  const Client client(sluiced.socket());
  Vmm first(sluiced);
  first.filter();
  ASSERT_EQ(first.acquire(kA, 2 * kMiB).refused, 0);
  first.end();
  ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE));
  Vmm second(sluiced);
  second.filter();
  ASSERT_EQ(second.acquire(kB, 4 * kMiB).recycled, 2U) << sluiced.log();
  const auto before = bricks();
  EXPECT_THAT(before, SizeIs(4));
  EXPECT_THAT(
      before,
      Contains(HasSubstr(R"("recycled":true,"reason":"trust group","allowed_by":"recycle_within_trust_group"})"))
          .Times(2));
  EXPECT_THAT(before, Contains(HasSubstr(R"("recycled":false})")).Times(2));
  sluiced.end(SIGKILL);
  sluiced.start();
  EXPECT_EQ(bricks(), before) << "the end of sluiced recycles nothing";
}

TEST(ApiServerTest, PoolsAndGroupsOutliveACrash) {
  Sluiced sluiced;
  ASSERT_THAT(call(sluiced.api_socket(), "POST", "/v1/pools", R"({"id": 5, "customer": 3, "length": "2MiB"})"),
              StartsWith("HTTP/1.1 202"));
  const auto is_ready = [&] {
    return call(sluiced.api_socket(), "GET", "/v1/pools/5").find("\"ready\":true") != std::string::npos;
  };
  ASSERT_TRUE(comes_true(is_ready));
  ASSERT_THAT(call(sluiced.api_socket(), "POST", "/v1/trust-groups", R"({"id": 7, "customer": 3})"),
              StartsWith("HTTP/1.1 201"));
  sluiced.end(SIGKILL);
  sluiced.start();
  EXPECT_TRUE(comes_true(is_ready)) << sluiced.log();
  EXPECT_THAT(call(sluiced.api_socket(), "GET", "/v1/trust-groups/7"), StartsWith("HTTP/1.1 200"));
  // The host's memory is gone with a power cut, and what was stored is not.
  sluiced.end(SIGKILL);
  std::filesystem::remove_all(sluiced.folder() / "memory");
  std::filesystem::remove_all(sluiced.folder() / "run");
  sluiced.start();
  EXPECT_TRUE(comes_true(is_ready)) << sluiced.log();
}

TEST(ApiServerTest, TagsAndKeysComeAndGoAsHeaders) {
  Sluiced sluiced;
  const auto send = [&](const std::string& method, const std::string& target, const std::string& field,
                        const std::string& body = "") {
    const RawClient client(sluiced.api_socket());
    client.send(fmt::format("{} {} HTTP/1.1\r\nHost: sluice\r\n{}\r\nContent-Length: {}\r\n\r\n{}", method, target,
                            field, body.size(), body));
    return client.answer();
  };
  const std::string made = send("POST", "/v1/templates", "Idempotency-Key: once", R"({"name": "web", "policy": {}})");
  EXPECT_THAT(made, StartsWith("HTTP/1.1 201"));
  const std::string read = send("GET", "/v1/templates/web", "Accept: */*");
  const std::size_t at = read.find("ETag: ") + 6;
  const std::string tag = read.substr(at, read.find('\r', at) - at);
  EXPECT_THAT(send("GET", "/v1/templates/web", "If-None-Match: " + tag), StartsWith("HTTP/1.1 304"));
  EXPECT_THAT(send("PUT", "/v1/templates/web", "If-Match: \"x\"", R"({"policy": {}})"), StartsWith("HTTP/1.1 412"));
  sluiced.end(SIGKILL);
  sluiced.start();
  const std::string again = send("POST", "/v1/templates", "Idempotency-Key: once", R"({"name": "web", "policy": {}})");
  EXPECT_THAT(again, AllOf(StartsWith("HTTP/1.1 201"), HasSubstr("Idempotent-Replayed: true")));
}

/// A client that follows the events.
class Follower {
 public:
  explicit Follower(const Sluiced& sluiced, const std::string& field = "") : client_(sluiced.api_socket()) {
    client_.send(fmt::format("GET /v1/events HTTP/1.1\r\nHost: sluice\r\nAccept: text/event-stream\r\n{}\r\n", field));
  }
  /// All that has come, once this is in it; or after a while.
  const std::string& until(const std::string& text) {
    while (all_.find(text) == std::string::npos) {
      const std::string more = client_.some();
      if (more.empty()) break;
      all_ += more;
    }
    return all_;
  }

 private:
  RawClient client_;
  std::string all_;
};

TEST(ApiServerTest, EventsAreStreamedAsTheyHappenAndFromTheLastThatWasSeen) {
  Sluiced sluiced;
  Follower first(sluiced);
  EXPECT_THAT(first.until("\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Type: text/event-stream")));
  {
    Vmm vmm(sluiced);
    ASSERT_EQ(vmm.acquire(1, 1 << 20).refused, 0);
    EXPECT_THAT(first.until("running"), HasSubstr("event: vm\ndata: {"));
  }
  const std::string seen = first.until("ended");
  EXPECT_THAT(seen, HasSubstr(uuid_text(1)));
  EXPECT_THAT(call(sluiced.api_socket(), "POST", "/v1/templates", R"({"name": "web", "policy": {}})"),
              StartsWith("HTTP/1.1 201"));
  EXPECT_THAT(first.until("/v1/templates"), HasSubstr("event: change"));
  // Another one goes on after the event that says that the VM runs.
  const std::size_t running = seen.find("running");
  const std::size_t id = seen.rfind("id: ", running) + 4;
  Follower second(sluiced, fmt::format("Last-Event-ID: {}\r\n", seen.substr(id, seen.find('\n', id) - id)));
  EXPECT_THAT(second.until("/v1/templates"), AllOf(HasSubstr("ended"), Not(HasSubstr("running"))));
  Follower late(sluiced, "Last-Event-ID: 1\r\n");
  EXPECT_THAT(late.until("events-gone"), StartsWith("HTTP/1.1 410"));
  const std::size_t descriptors = sluiced.open_descriptors();
  {
    Follower gone(sluiced);
    static_cast<void>(gone.until("\r\n\r\n"));
  }
  EXPECT_TRUE(comes_true([&] { return sluiced.open_descriptors() == descriptors; })) << "one that has gone is left";
}

}  // namespace
}  // namespace sluice::test
