// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

struct evp_cipher_ctx_st;

namespace sluice::inline cpu {

/// Bytes that nobody can predict: the key stream of AES-256 in counter mode (NIST SP 800-38A) under a key of the
/// kernel's generator that nobody keeps. One thread at a time.
class RandomStream {
 public:
  RandomStream();
  RandomStream(const RandomStream&) = delete;
  RandomStream(RandomStream&&) noexcept;
  RandomStream& operator=(const RandomStream&) = delete;
  ~RandomStream();

  /// Begins another stream, with a new key. False: there is no cipher, or no memory for it.
  [[nodiscard]] bool renew();
  /// The next bytes, at most `most` of them, until the next call; none if the cipher failed. After renew() only.
  [[nodiscard]] std::span<const std::byte> next(std::size_t most);

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  static constexpr std::size_t kBytes = 8 << 10;  // stay in the nearest cache until they are copied
  std::unique_ptr<evp_cipher_ctx_st, Free> context_;
  std::unique_ptr<std::array<std::byte, kBytes>> bytes_;
};

}  // namespace sluice::inline cpu
