// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace sluice::test {

/// Signs certificates, for tests alone: its own is good for an hour.
class Authority {
 public:
  explicit Authority(const std::string& name) : key_(draw_key()), own_(make(name, "", "", kHour, *key_, nullptr)) {}

  [[nodiscard]] std::string write(const std::filesystem::path& path) const {
    with_file(path, [this](std::FILE* file) { return PEM_write_X509(file, own_.get()); });
    return path;
  }
  struct Files {
    std::string certificate;
    std::string key;
  };
  /// `uri`: of a client, who may be nobody (empty); `address`: of a server. `seconds`: until when it is good, from now.
  [[nodiscard]] Files issue(const std::filesystem::path& stem, const std::string& uri, const std::string& address = "",
                            long seconds = kHour) const {
    const Key key = draw_key();
    const Certificate certificate = make("client", uri, address, seconds, *key, this);
    Files files{stem.string() + ".pem", stem.string() + ".key"};
    with_file(files.certificate, [&](std::FILE* file) { return PEM_write_X509(file, certificate.get()); });
    with_file(files.key, [&](std::FILE* file) {
      return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
    return files;
  }

 private:
  static constexpr long kHour = 3600;
  using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

  static Key draw_key() { return {EVP_EC_gen("P-256"), &EVP_PKEY_free}; }
  template <class Write>
  static void with_file(const std::filesystem::path& path, Write write) {
    std::FILE* const file = std::fopen(path.c_str(), "w");
    EXPECT_TRUE(file != nullptr && write(file) == 1) << path;
    if (file != nullptr) std::fclose(file);
  }
  static void extend(X509* certificate, int kind, const std::string& value) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
    EXPECT_EQ(X509_add_ext(certificate, extension, -1), 1) << value;
    X509_EXTENSION_free(extension);
  }
  static Certificate make(const std::string& name, const std::string& uri, const std::string& address, long seconds,
                          EVP_PKEY& key, const Authority* by) {
    static long serial = 0;
    Certificate certificate(X509_new(), &X509_free);
    X509_set_version(certificate.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kHour);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), seconds);
    X509_set_pubkey(certificate.get(), &key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(by == nullptr ? certificate.get() : by->own_.get()));
    if (by == nullptr) extend(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
    if (!uri.empty()) extend(certificate.get(), NID_subject_alt_name, "URI:" + uri);
    if (!address.empty()) extend(certificate.get(), NID_subject_alt_name, "IP:" + address);
    EXPECT_NE(X509_sign(certificate.get(), by == nullptr ? &key : by->key_.get(), EVP_sha256()), 0);
    return certificate;
  }

  Key key_;
  Certificate own_;
};

}  // namespace sluice::test
