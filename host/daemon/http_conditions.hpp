// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::inline daemon {

/// SHA-256
[[nodiscard]] std::array<std::byte, 32> digest_of(std::string_view text);

/// The strong entity tag of a body, in quotes (RFC 9110, 8.8.3): the same for the same bytes.
[[nodiscard]] std::string etag_of(std::string_view body);

/// Whether an If-Match or If-None-Match field (RFC 9110, 13.1) names this tag: by itself in its list, or by "*". Weak
/// tags name none.
[[nodiscard]] bool names_etag(std::string_view field, std::string_view etag);

}  // namespace sluice::inline daemon
