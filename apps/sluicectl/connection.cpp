// SPDX-License-Identifier: Apache-2.0
#include "sluicectl/connection.hpp"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <utility>

#include "sluice/base/parse.hpp"

namespace sluice {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::seconds kPatience{60};
constexpr std::size_t kLongestAnswer = 256 << 20;
constexpr std::size_t kLongestPath = 107;  // unix(7)
constexpr std::string_view kScheme = "https://";

/// A request and its answer, over whatever is connected.
struct Exchange {
  http::request<http::string_body> request;
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  error_code outcome;

  Exchange(const std::string& method, const std::string& path, const std::string& host, const std::string& body)
      : request(http::string_to_verb(method), path, 11) {
    request.set(http::field::host, host);
    request.set(http::field::content_type, "application/json");
    request.keep_alive(false);
    request.body() = body;
    request.prepare_payload();
    parser.body_limit(kLongestAnswer);
  }
  template <class Stream>
  void begin(Stream& stream) {
    http::async_write(stream, request, [this, &stream](error_code /*ignored*/, std::size_t /*bytes*/) {
      // It may have been refused, with an answer, before it was sent.
      http::async_read(stream, buffer, parser, [this](error_code read, std::size_t /*bytes*/) { outcome = read; });
    });
  }
  [[nodiscard]] HttpAnswer answer() {
    HttpAnswer answer{parser.get().result_int(), {}, {}};
    for (const char* const name : {"Allow", "Content-Security-Policy", "Content-Type", "X-Content-Type-Options"}) {
      const auto value = parser.get().find(name);
      if (value != parser.get().end()) answer.headers[name] = value->value();
    }
    answer.body = std::move(parser.get().body());
    return answer;
  }
};

Error wrong(std::string message) {
  return {boost::system::errc::make_error_code(boost::system::errc::invalid_argument), std::move(message)};
}

Result<HttpAnswer> call_at_socket(const std::string& socket, Exchange exchange) {
  const auto failed = [&](error_code error) {
    return Error{error, fmt::format("sluiced at {} does not answer: {}; see that it runs, or name its socket with "
                                    "--socket",
                                    socket, error.message())};
  };
  if (socket.empty() || socket.size() > kLongestPath) {
    return failed(boost::system::errc::make_error_code(boost::system::errc::filename_too_long));
  }
  asio::io_context context(1);
  beast::basic_stream<asio::local::stream_protocol> stream(context);
  stream.expires_after(kPatience);
  stream.async_connect(asio::local::stream_protocol::endpoint(socket), [&](error_code connected) {
    exchange.outcome = connected;
    if (!connected) exchange.begin(stream);
  });
  context.run();
  if (exchange.outcome) return failed(exchange.outcome);
  return exchange.answer();
}

/// "host:8443" of "https://host:8443". Errors: another scheme, no port, a path.
Result<std::pair<std::string, std::string>> host_and_port(const std::string& url) {
  const std::string rest = url.substr(std::min(url.size(), kScheme.size()));
  const std::size_t colon = rest.rfind(':');
  const auto port = colon == std::string::npos
                        ? std::uint16_t{0}
                        : parse_integer<std::uint16_t>(std::string_view(rest).substr(colon + 1)).value_or(0);
  std::string host = rest.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (!url.starts_with(kScheme) || host.empty() || port == 0) {
    return wrong(fmt::format("--url {} is none: give one such as https://host:8443", in_quotes(url)));
  }
  return std::pair(host, std::to_string(port));
}

Result<void> load(asio::ssl::context& tls, const Service& service) {
  if (service.certificate.empty() || service.key.empty()) {
    return wrong("over TLS the service knows callers by their certificates: give --cert and --key");
  }
  error_code error;
  const auto failed = [&](std::string_view option, const std::string& path) {
    return wrong(fmt::format("{} {} cannot be used: {}; give a file in PEM", option, path, error.message()));
  };
  tls.set_verify_mode(asio::ssl::verify_peer);
  if (service.authority.empty()) {
    tls.set_default_verify_paths(error);
  } else {
    tls.load_verify_file(service.authority, error);
  }
  if (error) return failed("--ca", service.authority);
  tls.use_certificate_chain_file(service.certificate, error);
  if (error) return failed("--cert", service.certificate);
  tls.use_private_key_file(service.key, asio::ssl::context::pem, error);
  if (error) return failed("--key", service.key);
  return {};
}

Result<HttpAnswer> call_by_tls(const Service& service, const std::pair<std::string, std::string>& at,
                               Exchange exchange) {
  asio::ssl::context tls(asio::ssl::context::tls_client);
  ::SSL_CTX_set_min_proto_version(tls.native_handle(), TLS1_3_VERSION);
  if (auto loaded = load(tls, service); !loaded) return loaded.error();
  asio::io_context context(1);
  beast::ssl_stream<beast::tcp_stream> stream(context, tls);
  stream.set_verify_callback(asio::ssl::host_name_verification(at.first));
  ::SSL_set_tlsext_host_name(stream.native_handle(), at.first.c_str());
  tcp::resolver resolver(context);
  beast::get_lowest_layer(stream).expires_after(kPatience);
  const auto connected = [&](error_code error, const tcp::endpoint& /*endpoint*/) {
    exchange.outcome = error;
    if (error) return;
    stream.async_handshake(asio::ssl::stream_base::client, [&](error_code shaken) {
      exchange.outcome = shaken;
      if (!shaken) exchange.begin(stream);
    });
  };
  resolver.async_resolve(at.first, at.second, [&](error_code error, const tcp::resolver::results_type& found) {
    exchange.outcome = error;
    if (!error) beast::get_lowest_layer(stream).async_connect(found, connected);
  });
  context.run();
  if (!exchange.outcome) return exchange.answer();
  return Error{exchange.outcome,
               fmt::format("sluiced at {} does not answer: {}; see that it runs, knows the authority of "
                           "your certificate, and that you know its own (--ca)",
                           service.url, exchange.outcome.message())};
}

}  // namespace

Result<HttpAnswer> call_service(const Service& service, const std::string& method, const std::string& path,
                                const std::string& body) {
  if (service.url.empty()) return call_at_socket(service.socket, Exchange(method, path, "sluice", body));
  const auto at = host_and_port(service.url);
  if (!at) return at.error();
  return call_by_tls(service, *at, Exchange(method, path, at->first, body));
}

std::string path_part(const std::string& text) {
  std::string part;
  for (const char letter : text) {
    const bool plain = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                       (letter >= '0' && letter <= '9') || letter == '-' || letter == '_' || letter == '.';
    part += plain ? std::string(1, letter) : fmt::format("%{:02X}", static_cast<unsigned char>(letter));
  }
  return part;
}

}  // namespace sluice
