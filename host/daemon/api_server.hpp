// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <string>

#include "sluice/daemon/api.hpp"

namespace sluice::inline daemon {

/// HTTP/1.1, and server-sent events (HTML Living Standard, 9.2), on a unix socket and, if config.tls is set, over TLS
/// (docs/API.md): brings requests to an Api, and its answers back. Everything runs on one executor, of one thread. It
/// is destroyed before the Api and the Events are, whose changes it adds and whose listener it is.
class ApiServer {
 public:
  static constexpr std::size_t kMostConnections = 256;

  /// Listens at config.socket, in place of a socket that is there: whoever calls has made sure that no other sluiced
  /// runs. `after` is called after each call of the Api. Errors: NoResources, InvalidArgument (files of config.tls).
  [[nodiscard]] static Result<std::unique_ptr<ApiServer>> listen(const boost::asio::any_io_executor& executor, Api& api,
                                                                 Events& events, const ApiConfig& config,
                                                                 std::function<void()> after);
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

 private:
  class Connection;
  template <class Stream>
  class ConnectionOver;
  struct Shared;
  explicit ApiServer(std::shared_ptr<Shared> shared);
  template <class Listener>
  static void accept(const std::shared_ptr<Shared>& shared, Listener& listener);

  std::shared_ptr<Shared> shared_;
};

}  // namespace sluice::inline daemon
