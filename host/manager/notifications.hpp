// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>

#include "tenants.hpp"

namespace sluice::inline manager {

/// Claims that have ended and whose users are to be notified, in the order in which they ended.
class Notifications {
 public:
  struct Ended {
    Claim claim;
    GrantHandler grant_handler;
    PoolHandler pool_handler;
    SuspectHandler test_handler;
    SuspectReport report;
    Result<Grant> result;
  };

  explicit Notifications(Tenants& tenants) : tenants_(tenants) {}
  Notifications(const Notifications&) = delete;
  Notifications& operator=(const Notifications&) = delete;

  void add(Ended ended) { ended_.push_back(std::move(ended)); }
  [[nodiscard]] bool empty() const { return ended_.empty(); }

  /// Calls the handlers that wait now. A handler may call the manager, deliver() too, but what it starts is delivered
  /// next time at the earliest. It may destroy the manager: this object may be gone when deliver() returns.
  void deliver();
  /// The manager is being destroyed: calls all handlers with this in place of their results, and deliver(), if that is
  /// what called, touches nothing any more.
  void close(const Error& reason);

 private:
  void deliver_first();

  Tenants& tenants_;
  std::deque<Ended> ended_;
  bool* destroyed_ = nullptr;  ///< Of the innermost deliver().
};

}  // namespace sluice::inline manager
