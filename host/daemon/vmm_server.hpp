// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sluice/daemon/host.hpp"

namespace sluice::inline daemon {

/// The socket of docs/PROTOCOL.md: brings the requests of VMMs to a Host, and its answers back. Everything runs on one
/// executor, of one thread. It is destroyed before the Host is; answers that come later go nowhere, and their
/// descriptors are closed.
class VmmServer {
 public:
  static constexpr std::size_t kMostConnections = 1024;
  static constexpr std::size_t kMostRequests = 16;  ///< Of one connection, that wait for their answers.

  /// Listens at `path`, in place of a socket that is there: whoever calls has made sure that no other sluiced runs.
  /// `users` may ask; `after` is called after each call of the host. Errors: NoResources.
  [[nodiscard]] static Result<std::unique_ptr<VmmServer>> listen(const boost::asio::any_io_executor& executor,
                                                                 Host& host, const std::string& path,
                                                                 std::vector<uid_t> users, std::function<void()> after);
  ~VmmServer();
  VmmServer(const VmmServer&) = delete;
  VmmServer& operator=(const VmmServer&) = delete;

 private:
  class Connection;
  struct Shared;
  explicit VmmServer(std::shared_ptr<Shared> shared);
  static void accept(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace sluice::inline daemon
