// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "sluice/policy/caller.hpp"

namespace sluice::inline daemon {

/// Something that has happened on a host.
struct Event {
  std::uint64_t revision = 0;  ///< Larger than that of every event before, also of an earlier sluiced.
  std::string kind;            ///< "vm", "change", "engine", "failure"
  CustomerId customer;         ///< Whose it is; unset: the provider's alone.
  UserId user;                 ///< Who of that customer may see it as well; unset: nobody.
  boost::json::object data;
};

/// The last events, for those who follow them. Not thread-safe.
class Events {
 public:
  static constexpr std::size_t kMost = 1024;

  /// `now`: since 1970, where revisions begin.
  explicit Events(std::chrono::milliseconds now);

  /// Gives it its revision.
  void add(Event event);
  /// Of the last event, or where they begin.
  [[nodiscard]] std::uint64_t revision() const { return last_; }
  /// Whether all that came after this revision is kept.
  [[nodiscard]] bool has_all_after(std::uint64_t revision) const;
  /// Those after it that are kept and that the caller may see, oldest first.
  [[nodiscard]] std::vector<const Event*> after(std::uint64_t revision, const Caller& caller) const;
  /// Called after each event; it only takes note.
  void on_event(std::function<void()> told) { told_ = std::move(told); }

 private:
  std::uint64_t last_;
  std::deque<Event> events_;
  std::function<void()> told_ = [] {};
};

}  // namespace sluice::inline daemon
