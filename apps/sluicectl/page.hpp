// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "sluicectl/connection.hpp"

namespace sluice {

/// Serves the page of this service to a browser on this host, with what its caller may do, until a signal
/// ends it: at 127.0.0.1, port `port` (0: one that is free). Prints the address to open, which has a secret in it; who
/// does not know that is refused. Errors: sluiced does not answer; the port is taken; standard output.
[[nodiscard]] Result<void> serve_page(const Service& service, std::uint16_t port);

}  // namespace sluice
