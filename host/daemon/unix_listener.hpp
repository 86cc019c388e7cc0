// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "sluice/memory/error.hpp"

namespace sluice::inline daemon {

/// A listening unix socket of this type (SOCK_STREAM, SOCK_SEQPACKET) in place of one that is there under this name,
/// where it appears when it listens. Everybody may connect: who it is is for the server to look at. The caller closes
/// it; it does not block. Errors: NoResources.
[[nodiscard]] Result<int> listen_at(const std::string& path, int type);

}  // namespace sluice::inline daemon
