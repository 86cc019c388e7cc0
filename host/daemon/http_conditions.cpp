// SPDX-License-Identifier: Apache-2.0
#include "http_conditions.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <span>

#include "sluice/base/enforce.hpp"

namespace sluice::inline daemon {

std::array<std::byte, 32> digest_of(std::string_view text) {
  std::array<std::byte, 32> digest{};
  unsigned length = 0;
  const int done = EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(digest.data()), &length,
                              EVP_sha256(), nullptr);
  enforce(done == 1 && length == digest.size(), "SHA-256 works");
  return digest;
}

std::string etag_of(std::string_view body) {
  constexpr std::size_t kEnough = 16;
  const auto digest = digest_of(body);
  std::string tag = "\"";
  for (const std::byte byte : std::span(digest).first(kEnough)) {
    tag += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  }
  return tag + "\"";
}

bool names_etag(std::string_view field, std::string_view etag) {
  while (!field.empty()) {
    std::string_view one = field.substr(0, field.find(','));
    field.remove_prefix(std::min(field.size(), one.size() + 1));
    while (one.starts_with(' ') || one.starts_with('\t')) one.remove_prefix(1);
    while (one.ends_with(' ') || one.ends_with('\t')) one.remove_suffix(1);
    if (one == "*" || one == etag) return true;
  }
  return false;
}

}  // namespace sluice::inline daemon
