// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "sluice/base/result.hpp"

namespace sluice {

struct HttpAnswer {
  unsigned status = 0;
  std::map<std::string, std::string> headers;  ///< Those that say what the body is, and what may be done with it.
  std::string body;
};

/// One request of the web service at the unix socket `socket`. Blocks until it is answered, at most a minute. `path` is
/// as it stands in the request. Errors: it cannot be reached, or does not speak HTTP.
[[nodiscard]] Result<HttpAnswer> call_service(const std::string& socket, const std::string& method,
                                              const std::string& path, const std::string& body);

/// Text as one part of a path.
[[nodiscard]] std::string path_part(const std::string& text);

}  // namespace sluice
