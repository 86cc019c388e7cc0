// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "sluice/base/result.hpp"

namespace sluice {

/// Where sluiced is: at a unix socket, or elsewhere by TLS. The files are in PEM.
struct Service {
  std::string socket = "/run/sluice/api.sock";
  std::string url;          ///< "https://host:8443"; empty: the socket.
  std::string certificate;  ///< Of whoever calls.
  std::string key;
  std::string authority;  ///< Of the server's certificate; empty: those of the system.
};

struct HttpAnswer {
  unsigned status = 0;
  std::map<std::string, std::string> headers;  ///< Those that say what the body is, and what may be done with it.
  std::string body;
};

/// One request of the web service. Blocks until it is answered, at most a minute. `path` is as it stands in the
/// request. Errors: it cannot be reached, is not who it should be, or does not speak HTTP; options that make no sense.
[[nodiscard]] Result<HttpAnswer> call_service(const Service& service, const std::string& method,
                                              const std::string& path, const std::string& body);

/// Text as one part of a path.
[[nodiscard]] std::string path_part(const std::string& text);

}  // namespace sluice
