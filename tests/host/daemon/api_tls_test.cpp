// SPDX-License-Identifier: Apache-2.0
// The web service over TLS: who its clients are, and who is none.
#include <gmock/gmock.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>

#include "sluice/daemon/api.hpp"
#include "support/certificates.hpp"
#include "support/http.hpp"
#include "support/program.hpp"
#include "support/sluiced.hpp"

namespace sluice::test {
namespace {

namespace asio = boost::asio;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::uint16_t free_port() {
  asio::io_context context;
  asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
  return acceptor.local_endpoint().port();
}

class ApiTls : public ::testing::Test {
 protected:
  std::string file(const std::string& name) const { return folder_ / name; }
  Authority::Files client(const std::string& uri, long seconds = 3600) const {
    return clients_.issue(folder_ / "client", uri, "", seconds);
  }
  /// The whole answer; "refused" and why, where there is none.
  std::string call(const std::optional<Authority::Files>& files, const std::string& request,
                   int version = TLS1_3_VERSION) const {
    asio::io_context context;
    asio::ssl::context tls(asio::ssl::context::tls_client);
    SSL_CTX_set_max_proto_version(tls.native_handle(), version);
    tls.set_verify_mode(asio::ssl::verify_peer);
    tls.load_verify_file(file("servers.pem"));
    if (files) {
      tls.use_certificate_chain_file(files->certificate);
      tls.use_private_key_file(files->key, asio::ssl::context::pem);
    }
    asio::ssl::stream<asio::ip::tcp::socket> stream(context, tls);
    stream.set_verify_callback(asio::ssl::host_name_verification("127.0.0.1"));
    boost::system::error_code error;
    stream.lowest_layer().connect({asio::ip::address_v4::loopback(), port_}, error);
    const timeval limit{20, 0};
    ::setsockopt(stream.lowest_layer().native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (!error) stream.handshake(asio::ssl::stream_base::client, error);
    if (!error) asio::write(stream, asio::buffer(request), error);
    std::string answer;
    std::array<char, 4096> buffer;
    while (!error) {
      answer.append(buffer.data(), stream.read_some(asio::buffer(buffer), error));
    }
    return answer.empty() ? "refused: " + error.message() : answer;
  }
  std::string get(const std::optional<Authority::Files>& files, const std::string& target) const {
    return call(files, fmt::format("GET {} HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n", target));
  }

  TemporaryFolder folder_;
  Authority servers_{"servers"};
  Authority clients_{"clients"};
  std::uint16_t port_ = free_port();
  Authority::Files own_ = servers_.issue(folder_ / "server", "", "127.0.0.1");
  std::string tls_ =
      fmt::format(R"(tls = {{ listen = "127.0.0.1:{}", certificate = "{}", key = "{}", client_ca = "{}" }})", port_,
                  own_.certificate, own_.key, clients_.write(folder_ / "clients.pem"));
  TemporaryFolder other_{"/dev/shm"};
  std::string server_ca_ = servers_.write(folder_ / "servers.pem");
  Sluiced sluiced_{R"([{ size = "1MiB", count = 4 }])", ::geteuid(), "timeout_s = 1\n" + tls_};
};

TEST_F(ApiTls, AClientIsWhoItsCertificateSays) {
  EXPECT_THAT(get(client("sluice:provider"), "/v1/host"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(get(client("sluice:customer:7"), "/v1/vms"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(get(client("sluice:customer:7"), "/v1/host"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(get(client("sluice:user:3"), "/v1/vms"), AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("user 3")));
  EXPECT_THAT(sluiced_.log(), Not(HasSubstr("refused by TLS")));
}

TEST_F(ApiTls, ACertificateOfNobodyIsRefusedWithTheReason) {
  EXPECT_THAT(get(client(""), "/v1/vms"), AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("0 URIs")));
  EXPECT_THAT(get(client("sluice:provider,URI:sluice:customer:7"), "/v1/vms"), HasSubstr("2 URIs"));
  for (const char* const uri :
       {"sluice:king", "sluice:customer:0", "sluice:customer:7x", "sluice:customer:", "sluice:provider:1"}) {
    EXPECT_THAT(get(client(uri), "/v1/vms"), AllOf(StartsWith("HTTP/1.1 403"), HasSubstr(uri)));
  }
}

TEST_F(ApiTls, WhoseCertificateIsNotGoodGetsNoAnswer) {
  const Authority strangers("clients");
  EXPECT_THAT(get(std::nullopt, "/v1/host"), StartsWith("refused"));
  EXPECT_THAT(get(strangers.issue(folder_ / "stranger", "sluice:provider"), "/v1/host"), StartsWith("refused"));
  EXPECT_THAT(get(client("sluice:provider", -60), "/v1/host"), StartsWith("refused")) << "its time is over";
  const std::string request = "GET /v1/host HTTP/1.1\r\nHost: sluice\r\n\r\n";
  EXPECT_THAT(call(client("sluice:provider"), request, TLS1_2_VERSION), StartsWith("refused"));
  EXPECT_THAT(get(client("sluice:provider"), "/v1/host"), StartsWith("HTTP/1.1 200")) << "and it goes on";
}

TEST_F(ApiTls, LongBodiesAndSlowClientsAreBounded) {
  const std::string body(kLongestApiBody + 1, 'x');
  EXPECT_THAT(call(client("sluice:provider"), http_request("POST", "/v1/users", body)), StartsWith("HTTP/1.1 413"));
  asio::io_context context;
  asio::ip::tcp::socket silent(context);
  silent.connect({asio::ip::address_v4::loopback(), port_});
  const timeval limit{20, 0};
  ::setsockopt(silent.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char letter = 0;
  EXPECT_EQ(::recv(silent.native_handle(), &letter, 1, 0), 0) << "it is left after timeout_s";
  EXPECT_THAT(call(client("sluice:provider"), "GET /v1/host HT"), StartsWith("refused"));
}

TEST_F(ApiTls, SluicectlCallsFromElsewhere) {
  const Authority::Files me = client("sluice:provider");
  const std::string url = fmt::format("{} --url https://127.0.0.1:{}", SLUICECTL_PROGRAM, port_);
  const std::string files = fmt::format(" --cert {} --key {}", me.certificate, me.key);
  const Outcome host = run_program(fmt::format("{}{} --ca {} --json host", url, files, server_ca_));
  EXPECT_EQ(host.exit_code, 0) << host.output;
  EXPECT_THAT(host.output, HasSubstr("bytes_by_state"));
  EXPECT_EQ(run_program(fmt::format("{}{} --ca {} host", url, files, file("clients.pem"))).exit_code, 3)
      << "the server is none that this authority knows";
  EXPECT_THAT(run_program(url + " host").output, HasSubstr("--cert"));
  EXPECT_THAT(run_program(url + files + " --ca /nowhere.pem host").output, HasSubstr("--ca /nowhere.pem"));
  for (const char* const wrong : {"http://127.0.0.1:1", "https://127.0.0.1", "https://:8443", "x"}) {
    const Outcome outcome = run_program(fmt::format("{} --url {} host", SLUICECTL_PROGRAM, wrong));
    EXPECT_EQ(outcome.exit_code, 2) << wrong;
    EXPECT_THAT(outcome.output, HasSubstr("https://host:8443"));
  }
}

TEST_F(ApiTls, WhatCannotBeUsedIsNamedAtTheStart) {
  const auto start = [&](const std::string& key, const std::string& path) {
    std::string tls = tls_;
    const std::size_t at = tls.find(key + " = \"") + key.size() + 4;
    tls.replace(at, tls.find('"', at) - at, path);
    const std::string config = folder_ / "other.toml";
    std::ofstream(config) << fmt::format(
        "[memory]\nfolder = \"{0}/memory\"\nbricks = [{{ size = \"64KiB\", count = 1 }}]\n[folders]\nrun = "
        "\"{0}/run\"\n"
        "state = \"{0}/state\"\n[vmm]\nsocket = \"{0}/vmm.sock\"\n[api]\nsocket = \"{0}/api.sock\"\n{1}\n",
        other_.path().string(), tls);
    return run_program(fmt::format("{} --config {}", SLUICED_PROGRAM, config));
  };
  for (const char* const key : {"certificate", "key", "client_ca"}) {
    const Outcome outcome = start(key, "/nowhere.pem");
    EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
    EXPECT_THAT(outcome.output, AllOf(HasSubstr(fmt::format("api.tls.{}", key)), HasSubstr("/nowhere.pem")));
  }
  EXPECT_THAT(start("key", client("sluice:provider").key).output, HasSubstr("api.tls.key")) << "another one's key";
  EXPECT_THAT(start("listen", fmt::format("127.0.0.1:{}", port_)).output, HasSubstr("cannot be listened on"));
  EXPECT_THAT(start("listen", "127.0.0.1").output, HasSubstr("give an address and a port"));
}

}  // namespace
}  // namespace sluice::test
