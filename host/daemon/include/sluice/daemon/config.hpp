// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/ids.hpp"
#include "sluice/memory/backing_memory.hpp"

namespace sluice::inline daemon {

/// Bricks of one length.
struct BrickClass {
  ByteCount length;
  std::uint32_t count = 0;
  bool operator==(const BrickClass&) const = default;
};

/// A unix user who calls the web service as a customer.
struct ApiCustomer {
  uid_t user = 0;
  CustomerId customer;
  bool operator==(const ApiCustomer&) const = default;
};

/// The web service over TCP: TLS 1.3, for clients who have a certificate. The files are in PEM.
struct ApiTls {
  std::string address;  ///< Of the host; "0.0.0.0" or "::": all of them.
  std::uint16_t port = 0;
  std::string certificate;  ///< With those between it and its authority.
  std::string key;
  std::string client_ca;  ///< Whose certificates clients have.
  bool operator==(const ApiTls&) const = default;
};

/// The web service.
struct ApiConfig {
  std::string socket = "/run/sluice/api.sock";
  std::vector<uid_t> users;            ///< Who calls as the provider, beside root.
  std::vector<ApiCustomer> customers;  ///< None of `users`, each once.
  std::optional<ApiTls> tls;
  std::chrono::seconds timeout{30};  ///< For a request to be there, and for an answer to be read.
  bool operator==(const ApiConfig&) const = default;
};

/// What sluiced is told in its file; docs/SLUICED.md has each key. What is here is what holds without one.
struct DaemonConfig {
  std::string memory_folder = "/run/sluice/memory";  ///< On tmpfs or hugetlbfs; sluiced makes it.
  PageKind pages = PageKind::Small;
  std::optional<std::uint32_t> node;
  std::vector<BrickClass> bricks = {{ByteCount(64ULL << 20), 8}};  ///< By their length, shortest first.
  std::vector<std::string> engines = {"cpu"};                      ///< The next one takes over from one that fails.
  ByteCount background_rate{0};                                    ///< bytes/s; 0: as the engine can.
  std::string run_folder = "/run/sluice";                          ///< Of one boot: the ledger and the leases.
  std::string state_folder = "/var/lib/sluice";                    ///< What outlives a boot: policies.
  std::string socket = "/run/sluice/sluiced.sock";
  std::vector<uid_t> users = {0};  ///< Who may ask for memory.
  CustomerId customer{1};          ///< Of VMs that name none.
  ApiConfig api;
  std::string log_level = "info";  ///< trace, debug, info, warn, error
  bool log_json = false;
  bool operator==(const DaemonConfig&) const = default;
};

/// A TOML document of at most 1 MiB; `file` is its name in messages. Pure. Errors: InvalidArgument with the line, the
/// key and what could stand there.
[[nodiscard]] Result<DaemonConfig> parse_config(std::string_view toml, std::string_view file);

}  // namespace sluice::inline daemon
