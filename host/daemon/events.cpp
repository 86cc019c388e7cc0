// SPDX-License-Identifier: Apache-2.0
#include "sluice/daemon/events.hpp"

#include <utility>

namespace sluice::inline daemon {
namespace {

bool sees(const Caller& caller, const Event& event) {
  if (caller.role == Caller::Role::Provider) return true;
  return (event.customer.is_set() && caller == Caller::customer(event.customer)) ||
         (event.user.is_set() && caller == Caller::user(event.user));
}

}  // namespace

/// A thousand events in each millisecond of an earlier process leave room for those of this one.
Events::Events(std::chrono::milliseconds now) : last_(static_cast<std::uint64_t>(now.count()) * 1000) {}

void Events::add(Event event) {
  event.revision = ++last_;
  events_.push_back(std::move(event));
  if (events_.size() > kMost) events_.pop_front();
  told_();
}

bool Events::has_all_after(std::uint64_t revision) const {
  if (revision > last_) return false;
  return revision == last_ || (!events_.empty() && revision + 1 >= events_.front().revision);
}

std::vector<const Event*> Events::after(std::uint64_t revision, const Caller& caller) const {
  std::vector<const Event*> found;
  for (const Event& event : events_) {
    if (event.revision > revision && sees(caller, event)) found.push_back(&event);
  }
  return found;
}

}  // namespace sluice::inline daemon
