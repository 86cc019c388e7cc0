// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/ssl.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/daemon/config.hpp"
#include "sluice/policy/caller.hpp"

namespace sluice::inline daemon {

/// A server of TLS 1.3 alone, whose clients have certificates of config.client_ca. Errors: InvalidArgument with the
/// file that cannot be used, and why.
[[nodiscard]] Result<std::unique_ptr<boost::asio::ssl::context>> make_tls(const ApiTls& config);

/// Errors: NoResources, with the address.
[[nodiscard]] Result<void> listen_on(boost::asio::ip::tcp::acceptor& acceptor, const ApiTls& config);

/// Who the client of a session is, by the one URI among the names of its certificate (RFC 5280, 4.2.1.6):
/// "sluice:provider", "sluice:customer:7" or "sluice:user:3". Errors: NotPermitted, with what the certificate says.
[[nodiscard]] Result<Caller> caller_of(SSL* session, std::string& uri);
/// Errors: NotPermitted.
[[nodiscard]] Result<Caller> caller_of_uri(std::string_view uri);

}  // namespace sluice::inline daemon
