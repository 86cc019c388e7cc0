// SPDX-License-Identifier: Apache-2.0
#include "tls.hpp"

#include <fmt/format.h>
#include <openssl/x509v3.h>

#include <vector>

#include "sluice/base/parse.hpp"

namespace sluice::inline daemon {

namespace asio = boost::asio;

Result<std::unique_ptr<asio::ssl::context>> make_tls(const ApiTls& config) {
  auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  ::SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_3_VERSION);
  // Each connection shows its certificate: none goes on with what an earlier one has shown.
  ::SSL_CTX_set_session_cache_mode(tls->native_handle(), SSL_SESS_CACHE_OFF);
  ::SSL_CTX_set_num_tickets(tls->native_handle(), 0);
  tls->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  boost::system::error_code error;
  const auto failed = [&](std::string_view key, const std::string& path) {
    return Error{HostErrc::InvalidArgument, fmt::format("api.tls.{}: {} cannot be used: {}; give a file in PEM", key,
                                                        in_quotes(path, 200), error.message())};
  };
  tls->use_certificate_chain_file(config.certificate, error);
  if (error) return failed("certificate", config.certificate);
  tls->use_private_key_file(config.key, asio::ssl::context::pem, error);
  if (error) return failed("key", config.key);
  tls->load_verify_file(config.client_ca, error);
  if (error) return failed("client_ca", config.client_ca);
  return tls;
}

Result<void> listen_on(asio::ip::tcp::acceptor& acceptor, const ApiTls& config) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(config.address, error);
  const asio::ip::tcp::endpoint endpoint(address, config.port);
  if (!error) acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) return {};
  return Error{HostErrc::NoResources, fmt::format("api.tls.listen: {}:{} cannot be listened on: {}; give another one",
                                                  config.address, config.port, error.message())};
}

Result<Caller> caller_of(SSL* session, std::string& uri) {
  const std::unique_ptr<X509, decltype(&::X509_free)> certificate(::SSL_get1_peer_certificate(session), &::X509_free);
  if (!certificate) return Error{HostErrc::NotPermitted, "the client has shown no certificate"};
  const std::unique_ptr<GENERAL_NAMES, decltype(&::GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(::X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)),
      &::GENERAL_NAMES_free);
  std::vector<std::string> uris;
  for (int at = 0; names && at < sk_GENERAL_NAME_num(names.get()); ++at) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), at);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* const text = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(::ASN1_STRING_get0_data(text)),
                      static_cast<std::size_t>(::ASN1_STRING_length(text)));
  }
  if (uris.size() != 1) {
    return Error{HostErrc::NotPermitted,
                 fmt::format("the client's certificate has {} URIs among its names: give it one, such as "
                             "URI:sluice:customer:7",
                             uris.size())};
  }
  uri = uris.front();
  return caller_of_uri(uri);
}

Result<Caller> caller_of_uri(std::string_view uri) {
  constexpr std::string_view kCustomer = "sluice:customer:";
  constexpr std::string_view kUser = "sluice:user:";
  const auto id_after = [uri](std::string_view beginning) {
    return uri.starts_with(beginning) ? parse_integer<std::uint64_t>(uri.substr(beginning.size())).value_or(0) : 0;
  };
  if (uri == "sluice:provider") return Caller::provider();
  if (const std::uint64_t id = id_after(kCustomer); id != 0) return Caller::customer(CustomerId(id));
  if (const std::uint64_t id = id_after(kUser); id != 0) return Caller::user(UserId(id));
  return Error{HostErrc::NotPermitted,
               fmt::format("the client's certificate names {}: give it sluice:provider, sluice:customer:NUMBER or "
                           "sluice:user:NUMBER",
                           in_quotes(uri))};
}

}  // namespace sluice::inline daemon
