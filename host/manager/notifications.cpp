// SPDX-License-Identifier: Apache-2.0
#include "notifications.hpp"

#include <utility>

namespace sluice::inline manager {

void Notifications::deliver() {
  bool destroyed = false;
  bool* const outer = std::exchange(destroyed_, &destroyed);
  for (std::size_t count = ended_.size(); count > 0 && !ended_.empty(); --count) {
    deliver_first();
    if (!destroyed) continue;
    if (outer != nullptr) *outer = true;
    return;
  }
  destroyed_ = outer;
}

void Notifications::close(const Error& reason) {
  if (destroyed_ != nullptr) *destroyed_ = true;
  while (!ended_.empty()) {
    ended_.front().result = reason;
    deliver_first();
  }
}

/// This object may be gone when it returns.
void Notifications::deliver_first() {
  Ended ended = std::move(ended_.front());
  ended_.pop_front();
  tenants_.claim_notified(ended.claim);
  if (ended.grant_handler) {
    ended.grant_handler(std::move(ended.result));
  } else if (ended.pool_handler) {
    ended.pool_handler(ended.result ? Result<void>() : Result<void>(ended.result.error()));
  } else if (ended.test_handler) {
    ended.test_handler(ended.result ? Result<SuspectReport>(std::move(ended.report)) : ended.result.error());
  }
}

}  // namespace sluice::inline manager
