// SPDX-License-Identifier: Apache-2.0
#include "random_stream.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>

namespace sluice::inline cpu {
namespace {

using Key = std::array<unsigned char, 32>;
constexpr std::array<unsigned char, 16> kFirstCounter{};  // may be the same for all: no key is used twice

/// getrandom(2) gives up to 256 bytes at once, or waits until the machine has started.
bool draw(Key& key) {
  ssize_t got = -1;
  do {
    got = ::getrandom(key.data(), key.size(), 0);
  } while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(key.size());
}

}  // namespace

void RandomStream::Free::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }

RandomStream::RandomStream() : bytes_(std::make_unique<std::array<std::byte, kBytes>>()) {}
RandomStream::RandomStream(RandomStream&&) noexcept = default;
RandomStream::~RandomStream() = default;

bool RandomStream::renew() {
  const EVP_CIPHER* cipher = nullptr;  // which the context has from the first time on
  if (context_ == nullptr) {
    context_.reset(EVP_CIPHER_CTX_new());
    cipher = EVP_aes_256_ctr();
  }
  Key key;
  const bool begun = context_ != nullptr && draw(key) &&
                     EVP_EncryptInit_ex(context_.get(), cipher, nullptr, key.data(), kFirstCounter.data()) == 1;
  OPENSSL_cleanse(key.data(), key.size());
  if (!begun) context_.reset();
  return begun;
}

std::span<const std::byte> RandomStream::next(std::size_t most) {
  const std::size_t count = std::min(most, kBytes);
  std::fill_n(bytes_->begin(), count, std::byte{0});
  auto* const bytes = reinterpret_cast<unsigned char*>(bytes_->data());
  int written = 0;
  if (EVP_EncryptUpdate(context_.get(), bytes, &written, bytes, static_cast<int>(count)) != 1) return {};
  return {bytes_->data(), static_cast<std::size_t>(written)};
}

}  // namespace sluice::inline cpu
