// SPDX-License-Identifier: Apache-2.0
#include "sluicectl/page.hpp"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "sluice/base/output.hpp"
#include "sluice/base/parse.hpp"

namespace sluice {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace json = boost::json;
using asio::ip::tcp;

constexpr std::size_t kLongestBody = 1 << 20;
constexpr std::uint32_t kLongestHeader = 16 << 10;
constexpr std::chrono::seconds kPatience{60};
constexpr std::string_view kToken = "/?token=";

using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

/// As long for each guess that is as long as the secret.
bool equal(std::string_view guess, std::string_view secret) {
  if (guess.size() != secret.size()) return false;
  unsigned differs = 0;
  for (std::size_t at = 0; at < secret.size(); ++at) differs |= static_cast<unsigned>(guess[at] ^ secret[at]);
  return differs == 0;
}

/// The value of a cookie; empty: it is not there.
std::string_view cookie(std::string_view cookies, std::string_view name) {
  while (!cookies.empty()) {
    const std::string_view one = cookies.substr(0, cookies.find(';'));
    if (one.starts_with(name) && one.substr(name.size()).starts_with('=')) return one.substr(name.size() + 1);
    cookies.remove_prefix(std::min(cookies.size(), one.size() + 1));
    while (cookies.starts_with(' ')) cookies.remove_prefix(1);
  }
  return {};
}

Response refuse(http::status status, std::string_view detail) {
  Response response(status, 11);
  response.set(http::field::content_type, "application/problem+json");
  response.body() = json::serialize(json::object{{"type", "/problems/not-permitted"},
                                                 {"title", "The caller may not do that"},
                                                 {"status", static_cast<unsigned>(status)},
                                                 {"detail", detail}}) +
                    "\n";
  return response;
}

/// Who may use the relay, and what it passes on.
class Relay {
 public:
  Relay(Service service, std::uint16_t port, std::string secret)
      : service_(std::move(service)), port_(port), secret_(std::move(secret)), name_(fmt::format("sluice-{}", port)) {}

  [[nodiscard]] Response answer(const Request& request) const {
    const std::string_view host = request[http::field::host];
    // A foreign name that leads here would have its scripts in the same origin as the page.
    if (host != fmt::format("127.0.0.1:{}", port_) && host != fmt::format("localhost:{}", port_)) {
      return refuse(http::status::forbidden,
                    fmt::format("this is not {}: open the address that sluicectl has printed", in_quotes(host)));
    }
    const std::string_view target = request.target();
    if (target.starts_with(kToken)) return let_in(target.substr(kToken.size()));
    if (!equal(cookie(request[http::field::cookie], name_), secret_)) {
      return refuse(http::status::forbidden, "open the address that sluicectl has printed, with its token");
    }
    // Other sites can send forms here, but no such header.
    if (request.method() != http::verb::get && request["X-Sluice-Page"] != "1") {
      return refuse(http::status::forbidden, "only the page itself may change something: it sends X-Sluice-Page: 1");
    }
    return pass_on(request);
  }

 private:
  [[nodiscard]] Response let_in(std::string_view token) const {
    if (!equal(token, secret_)) {
      return refuse(http::status::forbidden, "that is not the token of the address that sluicectl has printed");
    }
    Response response(http::status::see_other, 11);
    response.set(http::field::location, "/");
    response.set(http::field::set_cookie, fmt::format("{}={}; HttpOnly; SameSite=Strict; Path=/", name_, secret_));
    return response;
  }
  [[nodiscard]] Response pass_on(const Request& request) const {
    auto answered =
        call_service(service_, std::string(request.method_string()), std::string(request.target()), request.body());
    if (!answered) return refuse(http::status::bad_gateway, answered.error().message);
    Response response(static_cast<http::status>(answered->status), 11);
    for (const auto& [name, value] : answered->headers) response.set(name, value);
    response.body() = std::move(answered->body);
    return response;
  }

  Service service_;
  std::uint16_t port_;
  std::string secret_;
  std::string name_;
};

asio::awaitable<void> serve(tcp::socket socket, const Relay& relay) {
  beast::tcp_stream stream(std::move(socket));
  beast::flat_buffer buffer(kLongestBody + kLongestHeader);
  for (bool goes_on = true; goes_on;) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(kLongestHeader);
    parser.body_limit(kLongestBody);
    stream.expires_after(kPatience);
    boost::system::error_code error;
    co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    const Request request = parser.release();
    Response response = relay.answer(request);
    goes_on = request.keep_alive();
    response.set(http::field::cache_control, "no-store");
    response.set("Referrer-Policy", "no-referrer");
    response.keep_alive(goes_on);
    if (response.result() != http::status::no_content) response.prepare_payload();
    stream.expires_after(kPatience);
    co_await http::async_write(stream, response, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
  }
}

asio::awaitable<void> accept(tcp::acceptor& acceptor, const Relay& relay) {
  for (;;) {
    boost::system::error_code error;
    tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (error == asio::error::operation_aborted) co_return;
    if (!error) asio::co_spawn(acceptor.get_executor(), serve(std::move(socket), relay), asio::detached);
  }
}

Result<std::string> draw_secret() {
  std::array<unsigned char, 32> drawn{};
  if (::getrandom(drawn.data(), drawn.size(), 0) != static_cast<ssize_t>(drawn.size())) {
    return Error{boost::system::errc::make_error_code(boost::system::errc::io_error),
                 "the kernel has no random bytes for the address of the page"};
  }
  std::string secret;
  for (const unsigned char byte : drawn) secret += fmt::format("{:02x}", byte);
  return secret;
}

}  // namespace

Result<void> serve_page(const Service& service, std::uint16_t port) {
  if (const auto there = call_service(service, "GET", "/", ""); !there) return there.error();
  const auto secret = draw_secret();
  if (!secret) return secret.error();
  asio::io_context context(1);
  tcp::acceptor acceptor(context);
  boost::system::error_code error;
  const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return Error{error, fmt::format("port {} of 127.0.0.1 cannot be listened on: {}; give another with --port, or none",
                                    port, error.message())};
  }
  const std::uint16_t given = acceptor.local_endpoint().port();
  const auto written = write_standard_output(fmt::format("http://127.0.0.1:{}{}{}\n", given, kToken, *secret));
  if (!written) return written;
  const Relay relay(service, given, *secret);
  asio::signal_set signals(context, SIGINT, SIGTERM);
  signals.async_wait([&](boost::system::error_code ended, int /*signal*/) {
    if (!ended) context.stop();
  });
  asio::co_spawn(context, accept(acceptor, relay), asio::detached);
  context.run();
  return {};
}

}  // namespace sluice
