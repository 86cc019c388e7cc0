// SPDX-License-Identifier: Apache-2.0
#include "api_server.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <set>
#include <utility>

#include "sluice/base/printable.hpp"
#include "unix_listener.hpp"

namespace sluice::inline daemon {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using Socket = asio::local::stream_protocol::socket;

constexpr std::uint32_t kLongestHeader = 8 << 10;

/// On whose behalf a unix user calls; nullopt: nobody's.
std::optional<Caller> caller_of(const ApiConfig& config, uid_t user) {
  if (user == 0 || std::ranges::find(config.users, user) != config.users.end()) return Caller::provider();
  const auto customer = std::ranges::find(config.customers, user, &ApiCustomer::user);
  if (customer == config.customers.end()) return std::nullopt;
  return Caller::customer(customer->customer);
}

}  // namespace

/// What connections have of their server, which may be gone.
struct ApiServer::Shared {
  Shared(const asio::any_io_executor& executor, Api& for_api, ApiConfig of, std::function<void()> then)
      : listener(executor), pause(executor), api(&for_api), config(std::move(of)), after(std::move(then)) {}

  asio::local::stream_protocol::acceptor listener;
  asio::steady_timer pause;
  Api* api;  ///< nullptr: the server has gone.
  ApiConfig config;
  std::function<void()> after;
  std::set<std::shared_ptr<Connection>> connections;
};

/// One client: a request after the other. It lives as long as something is under way.
class ApiServer::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(const std::shared_ptr<Shared>& shared, Socket socket) : server_(shared), stream_(std::move(socket)) {}

  void start() {
    ucred peer{};
    socklen_t length = sizeof peer;
    if (::getsockopt(stream_.socket().native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) {
      user_ = peer.uid;
      caller_ = caller_of(server_->config, peer.uid);
    }
    read();
  }
  /// It is one too many, and is told so.
  void send_away() {
    send(problem(503, "too-many-connections", "There are too many connections",
                 fmt::format("there are {} connections already: end one, or try again", kMostConnections)),
         false);
  }
  void close() {
    stream_.close();
    server_->connections.erase(shared_from_this());
  }

 private:
  /// The whole request must be there within the time: a client that is slow has no more of it.
  void read() {
    parser_.emplace();
    parser_->header_limit(kLongestHeader);
    parser_->body_limit(kLongestApiBody);
    stream_.expires_after(server_->config.timeout);
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](boost::system::error_code error, std::size_t /*bytes*/) { self->take(error); });
  }

  void take(boost::system::error_code error) {
    if (server_->api == nullptr) return;
    if (error == http::error::body_limit) {
      send(problem(413, "body-too-long", "The body is too long",
                   fmt::format("the body is longer than {} bytes: give a shorter one", kLongestApiBody)),
           false);
    } else if (error == http::error::header_limit) {
      send(problem(431, "header-too-long", "The header is too long",
                   fmt::format("the header is longer than {} bytes: give a shorter one", kLongestHeader)),
           false);
    } else if (error.category() == http::make_error_code(http::error::bad_method).category() &&
               error != http::error::end_of_stream && error != http::error::partial_message) {
      send(problem(400, "bad-request", "It is no HTTP request", error.message()), false);
    } else if (error) {
      close();  // it has gone, or is too slow
    } else {
      answer(parser_->release());
    }
  }

  void answer(const http::request<http::string_body>& request) {
    if (!caller_) {
      send(problem_of(
               {HostErrc::NotPermitted,
                user_ ? fmt::format("user {} may not call this service: put it into api.users or api.customers", *user_)
                      : "the kernel does not say whose process this is"}),
           false);
      return;
    }
    const ApiRequest asked{std::string(request.method_string()), std::string(request.target()), request.body()};
    auto answered = server_->api->answer(asked, *caller_);
    if (request.method() != http::verb::get || answered.status >= 400) {
      spdlog::log(answered.status >= 500 ? spdlog::level::warn : spdlog::level::info, "api: user {}: {} {}: {}", *user_,
                  printable(asked.method, 16), printable(asked.target, 200), answered.status);
    }
    // An answer to HEAD has no body, and no route takes it: what is said ends with the connection.
    send(std::move(answered), request.keep_alive() && request.method() != http::verb::head);
    if (request.method() != http::verb::get) server_->after();
  }

  void send(ApiResponse answered, bool keep_alive) {
    response_.emplace(static_cast<http::status>(answered.status), 11);
    if (!answered.type.empty()) response_->set(http::field::content_type, answered.type);
    if (!answered.allow.empty()) response_->set(http::field::allow, answered.allow);
    response_->set(http::field::cache_control, "no-store");
    response_->set("X-Content-Type-Options", "nosniff");
    if (answered.type.starts_with("text/html")) {
      // The page is what this server has, and nothing else: whatever is named in its data is no script.
      response_->set("Content-Security-Policy",
                     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
                     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    }
    response_->keep_alive(keep_alive);
    response_->body() = std::move(answered.body);
    if (answered.status != 204) response_->content_length(response_->body().size());
    stream_.expires_after(server_->config.timeout);
    http::async_write(
        stream_, *response_,
        [self = shared_from_this()](boost::system::error_code error, std::size_t /*bytes*/) { self->sent(error); });
  }

  void sent(boost::system::error_code error) {
    if (server_->api == nullptr) return;
    if (!error && response_->keep_alive()) {
      read();
      return;
    }
    // What it still sends would otherwise have the kernel throw the answer away before it is read.
    boost::system::error_code ignored;
    stream_.socket().shutdown(Socket::shutdown_send, ignored);
    if (error) {
      close();
    } else {
      drain();
    }
  }

  void drain() {
    stream_.async_read_some(asio::buffer(rest_),
                            [self = shared_from_this()](boost::system::error_code error, std::size_t bytes) {
                              if (self->server_->api == nullptr) return;
                              self->drained_ += bytes;
                              if (error || self->drained_ > 4 * kLongestApiBody) {
                                self->close();
                              } else {
                                self->drain();
                              }
                            });
  }

  std::shared_ptr<Shared> server_;
  beast::basic_stream<asio::local::stream_protocol> stream_;
  beast::flat_buffer buffer_{kLongestApiBody + kLongestHeader};
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  std::optional<uid_t> user_;
  std::optional<Caller> caller_;  ///< nullopt: whoever it is may call nothing.
  std::array<char, 4096> rest_{};
  std::size_t drained_ = 0;
};

ApiServer::ApiServer(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

ApiServer::~ApiServer() {
  shared_->api = nullptr;
  boost::system::error_code ignored;
  shared_->listener.close(ignored);
  shared_->pause.cancel();
  for (const auto& connection : std::exchange(shared_->connections, {})) connection->close();
}

Result<std::unique_ptr<ApiServer>> ApiServer::listen(const asio::any_io_executor& executor, Api& api,
                                                     const ApiConfig& config, std::function<void()> after) {
  const auto listening = listen_at(config.socket, SOCK_STREAM);
  if (!listening) return listening.error();
  auto shared = std::make_shared<Shared>(executor, api, config, std::move(after));
  shared->listener.assign(asio::local::stream_protocol(), *listening);
  std::unique_ptr<ApiServer> server(new ApiServer(shared));
  accept(shared);
  return server;
}

void ApiServer::accept(const std::shared_ptr<Shared>& shared) {
  shared->listener.async_accept([shared](boost::system::error_code error, Socket socket) {
    if (shared->api == nullptr || error == asio::error::operation_aborted) return;
    if (!error) {
      // Those beyond are answered, as far as that needs no memory without end.
      const std::size_t count = shared->connections.size();
      if (count < 2 * kMostConnections) {
        const auto connection = std::make_shared<Connection>(shared, std::move(socket));
        shared->connections.insert(connection);
        if (count < kMostConnections) {
          connection->start();
        } else {
          connection->send_away();
        }
      }
    }
    if (!error || error == asio::error::connection_aborted) {
      accept(shared);
      return;
    }
    // No descriptor is left: the one that waits would be announced again at once, for ever.
    shared->pause.expires_after(std::chrono::milliseconds(100));
    shared->pause.async_wait([shared](boost::system::error_code ended) {
      if (!ended && shared->api != nullptr) accept(shared);
    });
  });
}

}  // namespace sluice::inline daemon
