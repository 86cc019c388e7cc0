// SPDX-License-Identifier: Apache-2.0
#include "api_server.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "sluice/base/parse.hpp"
#include "tls.hpp"
#include "unix_listener.hpp"

namespace sluice::inline daemon {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using Local = asio::local::stream_protocol;
using Tcp = asio::ip::tcp;
using LocalStream = beast::basic_stream<Local>;
using TlsStream = beast::ssl_stream<beast::basic_stream<Tcp>>;

constexpr std::uint32_t kLongestHeader = 8 << 10;
constexpr std::chrono::seconds kHeartbeat{15};

/// On whose behalf a unix user calls. Errors: NotPermitted.
Result<Caller> caller_of(const ApiConfig& config, uid_t user) {
  if (user == 0 || std::ranges::find(config.users, user) != config.users.end()) return Caller::provider();
  const auto customer = std::ranges::find(config.customers, user, &ApiCustomer::user);
  if (customer != config.customers.end()) return Caller::customer(customer->customer);
  return Error{HostErrc::NotPermitted,
               fmt::format("user {} may not call this service: put it into api.users or api.customers", user)};
}

}  // namespace

/// Whoever is connected, over whatever it is.
class ApiServer::Connection {
 public:
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  virtual ~Connection() = default;
  virtual void start() = 0;
  /// It is one too many, and is told so, if that needs no more than a few bytes.
  virtual void send_away() = 0;
  virtual void close() = 0;
  /// Something has happened.
  virtual void stream_on() = 0;
};

/// What connections have of their server, which may be gone.
struct ApiServer::Shared {
  template <class Protocol>
  struct Listener {
    explicit Listener(const asio::any_io_executor& executor) : acceptor(executor), pause(executor) {}
    asio::basic_socket_acceptor<Protocol> acceptor;
    asio::steady_timer pause;
    void close() {
      boost::system::error_code ignored;
      acceptor.close(ignored);
      pause.cancel();
    }
  };
  Shared(const asio::any_io_executor& executor, Api& for_api, Events& of_host, ApiConfig of, std::function<void()> then)
      : local(executor),
        tcp(executor),
        api(&for_api),
        events(&of_host),
        config(std::move(of)),
        after(std::move(then)) {}

  Listener<Local> local;
  Listener<Tcp> tcp;
  std::unique_ptr<asio::ssl::context> tls;
  Api* api;  ///< nullptr: the server has gone.
  Events* events;
  bool tells = false;  ///< Those who stream will hear of what has happened.
  ApiConfig config;
  std::function<void()> after;
  std::set<std::shared_ptr<Connection>> connections;
};

/// One client: a request after the other. It lives as long as something is under way.
template <class Stream>
class ApiServer::ConnectionOver final : public Connection, public std::enable_shared_from_this<ConnectionOver<Stream>> {
 public:
  template <class... Arguments>
  explicit ConnectionOver(const std::shared_ptr<Shared>& shared, Arguments&&... stream)
      : server_(shared), stream_(std::forward<Arguments>(stream)...), heartbeat_(stream_.get_executor()) {}

  void start() override {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      lowest().expires_after(server_->config.timeout);
      stream_.async_handshake(asio::ssl::stream_base::server,
                              [self = this->shared_from_this()](boost::system::error_code error) {
                                if (self->server_->api == nullptr) return;
                                if (error) {
                                  spdlog::info("api: a client is refused by TLS: {}", error.message());
                                  self->close();
                                } else {
                                  self->caller_ = sluice::caller_of(self->stream_.native_handle(), self->who_);
                                  self->who_ = printable(self->who_, 100);
                                  self->read();
                                }
                              });
    } else {
      ucred peer{};
      socklen_t length = sizeof peer;
      if (::getsockopt(lowest().socket().native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) {
        who_ = fmt::format("user {}", peer.uid);
        caller_ = caller_of(server_->config, peer.uid);
      }
      read();
    }
  }
  void send_away() override {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      close();  // it would have to be spoken to for long before it could be told
    } else {
      send(problem(503, "too-many-connections", "There are too many connections",
                   fmt::format("there are {} connections already: end one, or try again", kMostConnections)),
           false);
    }
  }
  void close() override {
    streams_ = false;
    heartbeat_.cancel();
    lowest().close();
    server_->connections.erase(this->shared_from_this());
  }

 private:
  auto& lowest() { return beast::get_lowest_layer(stream_); }

  /// The whole request must be there within the time: a client that is slow has no more of it.
  void read() {
    parser_.emplace();
    parser_->header_limit(kLongestHeader);
    parser_->body_limit(kLongestApiBody);
    lowest().expires_after(server_->config.timeout);
    http::async_read(stream_, buffer_, *parser_,
                     [self = this->shared_from_this()](boost::system::error_code error, std::size_t /*bytes*/) {
                       self->take(error);
                     });
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
      send(problem_of(caller_.error()), false);
      return;
    }
    const ApiRequest asked{std::string(request.method_string()),
                           std::string(request.target()),
                           request.body(),
                           std::string(request[http::field::if_match]),
                           std::string(request[http::field::if_none_match]),
                           std::string(request["Idempotency-Key"])};
    if (asked.method == "GET" && asked.target == "/v1/events" && wants_stream(request)) {
      begin_stream(request);
      return;
    }
    auto answered = server_->api->answer(asked, *caller_);
    if (request.method() != http::verb::get || answered.status >= 400) {
      spdlog::log(answered.status >= 500 ? spdlog::level::warn : spdlog::level::info, "api: {}: {} {}: {}", who_,
                  printable(asked.method, 16), printable(asked.target, 200), answered.status);
    }
    const bool changed = answered.status < 300 && !answered.replayed;
    // An answer to HEAD has no body, and no route takes it: what is said ends with the connection.
    send(std::move(answered), request.keep_alive() && request.method() != http::verb::head);
    if (request.method() == http::verb::get) return;
    if (changed) note_change(asked);
    server_->after();
  }

  void note_change(const ApiRequest& asked) {
    Event event{.kind = "change", .data = {{"method", asked.method}, {"path", printable(asked.target, 2048)}}};
    if (caller_->role == Caller::Role::Customer) event.customer = CustomerId(caller_->id);
    if (caller_->role == Caller::Role::User) event.user = UserId(caller_->id);
    server_->events->add(std::move(event));
  }

  static bool wants_stream(const http::request<http::string_body>& request) {
    return std::string_view(request[http::field::accept]).find("text/event-stream") != std::string_view::npos;
  }

  /// From the event after Last-Event-ID on, or from now.
  void begin_stream(const http::request<http::string_body>& request) {
    const std::string_view last = request["Last-Event-ID"];
    const std::uint64_t from =
        last.empty() ? server_->events->revision() : parse_integer<std::uint64_t>(last).value_or(0);
    const auto known = server_->api->check_caller(*caller_);
    if (!known || !server_->events->has_all_after(from)) {
      send(known ? server_->api->answer({.method = "GET", .target = fmt::format("/v1/events/{}", from), .body = {}},
                                        *caller_)
                 : problem_of(known.error()),
           false);
      return;
    }
    streams_ = true;
    seen_ = from;
    text_ =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n";
    write_stream();
    // It says nothing any more: what comes is its end.
    lowest().async_read_some(asio::buffer(rest_), [self = this->shared_from_this()](boost::system::error_code /*error*/,
                                                                                    std::size_t /*bytes*/) {
      if (self->server_->api != nullptr && self->streams_) self->close();
    });
  }

  void stream_on() override {
    if (!streams_ || writes_) return;
    // Whoever reads so slowly that events have gone meanwhile learns of that when it asks again.
    if (!server_->events->has_all_after(seen_)) {
      close();
      return;
    }
    for (const Event* const event : server_->events->after(seen_, *caller_)) {
      text_ += fmt::format("id: {}\nevent: {}\ndata: {}\n\n", event->revision, event->kind,
                           boost::json::serialize(event_json(*event)));
    }
    seen_ = server_->events->revision();
    if (!text_.empty()) write_stream();
  }

  void write_stream() {
    writes_ = true;
    lowest().expires_after(server_->config.timeout);
    asio::async_write(stream_, asio::buffer(text_),
                      [self = this->shared_from_this()](boost::system::error_code error, std::size_t /*bytes*/) {
                        if (self->server_->api == nullptr || !self->streams_) return;
                        self->writes_ = false;
                        self->text_.clear();
                        if (error) {
                          self->close();
                          return;
                        }
                        self->lowest().expires_never();
                        self->wait_for_heartbeat();
                        self->stream_on();
                      });
  }

  /// So that those between do not take it for dead.
  void wait_for_heartbeat() {
    heartbeat_.expires_after(kHeartbeat);
    heartbeat_.async_wait([self = this->shared_from_this()](boost::system::error_code error) {
      if (error || self->server_->api == nullptr || !self->streams_ || self->writes_) return;
      self->text_ = ": alive\n\n";
      self->write_stream();
    });
  }

  void send(ApiResponse answered, bool keep_alive) {
    response_.emplace(static_cast<http::status>(answered.status), 11);
    if (!answered.type.empty()) response_->set(http::field::content_type, answered.type);
    if (!answered.allow.empty()) response_->set(http::field::allow, answered.allow);
    if (!answered.etag.empty()) response_->set(http::field::etag, answered.etag);
    if (answered.replayed) response_->set("Idempotent-Replayed", "true");
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
    if (answered.status != 204 && answered.status != 304) response_->content_length(response_->body().size());
    lowest().expires_after(server_->config.timeout);
    http::async_write(stream_, *response_,
                      [self = this->shared_from_this()](boost::system::error_code error, std::size_t /*bytes*/) {
                        self->sent(error);
                      });
  }

  void sent(boost::system::error_code error) {
    if (server_->api == nullptr) return;
    if (!error && response_->keep_alive()) {
      read();
      return;
    }
    if (error) {
      close();
    } else if constexpr (std::is_same_v<Stream, TlsStream>) {
      lowest().expires_after(server_->config.timeout);
      stream_.async_shutdown([self = this->shared_from_this()](boost::system::error_code /*ignored*/) {
        if (self->server_->api != nullptr) self->finish();
      });
    } else {
      finish();
    }
  }

  /// What it still sends would otherwise have the kernel throw the answer away before it is read.
  void finish() {
    boost::system::error_code ignored;
    lowest().socket().shutdown(asio::socket_base::shutdown_send, ignored);
    lowest().expires_after(server_->config.timeout);
    drain();
  }

  void drain() {
    lowest().async_read_some(asio::buffer(rest_),
                             [self = this->shared_from_this()](boost::system::error_code error, std::size_t bytes) {
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
  Stream stream_;
  beast::flat_buffer buffer_{kLongestApiBody + kLongestHeader};
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  std::string who_;  ///< For people.
  Result<Caller> caller_ = Error{HostErrc::NotPermitted, "the kernel does not say whose process this is"};
  bool streams_ = false;
  bool writes_ = false;     ///< Some of the stream is under way.
  std::uint64_t seen_ = 0;  ///< The last event that the stream has.
  std::string text_;        ///< Of the stream, to be written.
  asio::steady_timer heartbeat_;
  std::array<char, 4096> rest_{};
  std::size_t drained_ = 0;
};

ApiServer::ApiServer(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

ApiServer::~ApiServer() {
  shared_->api = nullptr;
  shared_->local.close();
  shared_->tcp.close();
  for (const auto& connection : std::exchange(shared_->connections, {})) connection->close();
}

Result<std::unique_ptr<ApiServer>> ApiServer::listen(const asio::any_io_executor& executor, Api& api, Events& events,
                                                     const ApiConfig& config, std::function<void()> after) {
  auto shared = std::make_shared<Shared>(executor, api, events, config, std::move(after));
  // Not from inside what has happened.
  events.on_event([executor, weak = std::weak_ptr(shared)] {
    const auto to = weak.lock();
    if (!to || to->api == nullptr || std::exchange(to->tells, true)) return;
    asio::post(executor, [to] {
      to->tells = false;
      if (to->api == nullptr) return;
      for (const auto& connection : std::set(to->connections)) connection->stream_on();
    });
  });
  if (config.tls) {
    auto tls = make_tls(*config.tls);
    if (!tls) return tls.error();
    shared->tls = std::move(*tls);
    if (auto listening = listen_on(shared->tcp.acceptor, *config.tls); !listening) return listening.error();
  }
  const auto listening = listen_at(config.socket, SOCK_STREAM);
  if (!listening) return listening.error();
  shared->local.acceptor.assign(Local(), *listening);
  std::unique_ptr<ApiServer> server(new ApiServer(shared));
  accept(shared, shared->local);
  if (shared->tls) accept(shared, shared->tcp);
  return server;
}

template <class Listener>
void ApiServer::accept(const std::shared_ptr<Shared>& shared, Listener& listener) {
  listener.acceptor.async_accept([shared, &listener](boost::system::error_code error, auto socket) {
    if (shared->api == nullptr || error == asio::error::operation_aborted) return;
    if (!error) {
      // Those beyond are answered, as far as that needs no memory without end.
      const std::size_t count = shared->connections.size();
      if (count < 2 * kMostConnections) {
        std::shared_ptr<Connection> connection;
        if constexpr (std::is_same_v<decltype(socket), Tcp::socket>) {
          connection = std::make_shared<ConnectionOver<TlsStream>>(shared, std::move(socket), *shared->tls);
        } else {
          connection = std::make_shared<ConnectionOver<LocalStream>>(shared, std::move(socket));
        }
        shared->connections.insert(connection);
        if (count < kMostConnections) {
          connection->start();
        } else {
          connection->send_away();
        }
      }
    }
    if (!error || error == asio::error::connection_aborted) {
      accept(shared, listener);
      return;
    }
    // No descriptor is left: the one that waits would be announced again at once, for ever.
    listener.pause.expires_after(std::chrono::milliseconds(100));
    listener.pause.async_wait([shared, &listener](boost::system::error_code ended) {
      if (!ended && shared->api != nullptr) accept(shared, listener);
    });
  });
}

}  // namespace sluice::inline daemon
