// SPDX-License-Identifier: Apache-2.0
#include "sluicectl/connection.hpp"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>

namespace sluice {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::chrono::seconds kPatience{60};
constexpr std::size_t kLongestAnswer = 256 << 20;
constexpr std::size_t kLongestPath = 107;  // unix(7)

}  // namespace

Result<HttpAnswer> call_service(const std::string& socket, const std::string& method, const std::string& path,
                                const std::string& body) {
  const auto failed = [&](boost::system::error_code error) {
    return Error{error, fmt::format("sluiced at {} does not answer: {}; see that it runs, or name its socket with "
                                    "--socket",
                                    socket, error.message())};
  };
  if (socket.empty() || socket.size() > kLongestPath) {
    return failed(boost::system::errc::make_error_code(boost::system::errc::filename_too_long));
  }
  asio::io_context context(1);
  beast::basic_stream<asio::local::stream_protocol> stream(context);
  http::request<http::string_body> request(http::string_to_verb(method), path, 11);
  request.set(http::field::host, "sluice");
  request.set(http::field::content_type, "application/json");
  request.keep_alive(false);
  request.body() = body;
  request.prepare_payload();
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kLongestAnswer);
  boost::system::error_code outcome;
  stream.expires_after(kPatience);
  stream.async_connect(asio::local::stream_protocol::endpoint(socket), [&](boost::system::error_code connected) {
    outcome = connected;
    if (connected) return;
    http::async_write(stream, request, [&](boost::system::error_code /*ignored*/, std::size_t /*bytes*/) {
      // It may have been refused, with an answer, before it was sent.
      http::async_read(stream, buffer, parser,
                       [&](boost::system::error_code read, std::size_t /*bytes*/) { outcome = read; });
    });
  });
  context.run();
  if (outcome) return failed(outcome);
  HttpAnswer answer{parser.get().result_int(), {}, {}};
  for (const char* const name : {"Allow", "Content-Security-Policy", "Content-Type", "X-Content-Type-Options"}) {
    if (const auto value = parser.get().find(name); value != parser.get().end()) answer.headers[name] = value->value();
  }
  answer.body = std::move(parser.get().body());
  return answer;
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
