// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "sluice/manager/memory_manager.hpp"

namespace sluice::inline manager {

/// Polls a manager on an executor, when its engine or the time says so, and knows the operations that wait. Part of
/// AsyncMemoryManager, which it outlives as long as one of its own handlers is on its way.
class AsyncPoller : public std::enable_shared_from_this<AsyncPoller> {
 public:
  using Abort = std::function<void(boost::system::error_code)>;

  AsyncPoller(boost::asio::any_io_executor executor, MemoryManager& manager, std::chrono::microseconds interval)
      : executor_(std::move(executor)),
        manager_(&manager),
        interval_(interval),
        timer_(executor_),
        descriptor_(executor_) {}

  [[nodiscard]] const boost::asio::any_io_executor& executor() const { return executor_; }
  [[nodiscard]] MemoryManager& manager() const { return *manager_; }
  [[nodiscard]] bool alive() const { return manager_ != nullptr; }

  /// An operation that waits, and how it ends early. Returns its number.
  [[nodiscard]] std::uint64_t add(Abort abort) {
    operations_.emplace(next_number_, Waiting{std::move(abort), std::nullopt, false});
    return next_number_++;
  }
  /// The same for one that waits until the manager has nothing to do.
  [[nodiscard]] std::uint64_t add_drain(Abort abort) {
    if (!alive()) {
      abort(boost::asio::error::operation_aborted);
      return 0;
    }
    operations_.emplace(next_number_, Waiting{std::move(abort), std::nullopt, true});
    return next_number_++;
  }
  void started(std::uint64_t number, ClaimId claim) {
    if (const auto found = operations_.find(number); found != operations_.end()) found->second.claim = claim;
  }
  void remove(std::uint64_t number) { operations_.erase(number); }
  void abort(std::uint64_t number) { finish(number, boost::asio::error::operation_aborted); }

  /// Something has changed: polls soon, not inside the caller.
  void wake() {
    if (!alive() || std::exchange(woken_, true)) return;
    boost::asio::post(executor_, [self = shared_from_this()] {
      self->woken_ = false;
      self->poll();
    });
  }

  /// No more polls. What waits is given up, and ends.
  void end() {
    MemoryManager* const manager = std::exchange(manager_, nullptr);
    timer_.cancel();
    boost::system::error_code ignored;
    descriptor_.close(ignored);
    for (auto& [number, waiting] : std::exchange(operations_, {})) {
      if (waiting.claim) manager->abandon(*waiting.claim);
      waiting.end(boost::asio::error::operation_aborted);
    }
  }

 private:
  struct Waiting {
    Abort end;
    std::optional<ClaimId> claim;
    bool drains;
  };

  void finish(std::uint64_t number, boost::system::error_code code) {
    const auto found = operations_.find(number);
    if (found == operations_.end()) return;
    const Abort end = std::move(found->second.end);
    operations_.erase(found);
    end(code);
  }

  void poll() {
    if (!alive()) return;
    manager_->poll();
    if (manager_->has_work()) {
      follow(manager_->completion_fd());
      // An engine that is busy with the jobs of others has nothing of ours to announce.
      if (descriptor_.is_open() && manager_->jobs_in_flight() > 0) {
        wait_for_descriptor();
        wait_until_due();
      } else {
        wait(interval_);
      }
      return;
    }
    // A wait that is left would keep the context running.
    boost::system::error_code ignored;
    if (std::exchange(waiting_, false)) descriptor_.cancel(ignored);
    for (auto at = operations_.begin(); at != operations_.end();) {
      const auto operation = at++;
      if (operation->second.drains) finish(operation->first, {});
    }
    wait_until_due();
  }

  /// The descriptor of an engine may change: one engine takes over for another.
  void follow(int fd) {
    if (fd == followed_) return;
    boost::system::error_code code;
    descriptor_.close(code);
    waiting_ = false;
    followed_ = fd;
    const int own = fd < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (own < 0) return;
    descriptor_.assign(own, code);
    if (code) ::close(own);
  }

  void wait_for_descriptor() {
    if (std::exchange(waiting_, true)) return;
    descriptor_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                           [self = shared_from_this(), fd = followed_](boost::system::error_code code) {
                             if (code == boost::asio::error::operation_aborted || fd != self->followed_) return;
                             self->waiting_ = false;
                             self->poll();
                           });
  }

  void wait_until_due() {
    if (const auto due = manager_->next_scheduled()) wait(*due - manager_->now());
  }

  void wait(std::chrono::nanoseconds time) {
    timer_.expires_after(std::min<std::chrono::nanoseconds>(time, kLongestWait));
    timer_.async_wait([self = shared_from_this()](boost::system::error_code code) {
      if (!code) self->poll();
    });
  }

  /// A clock cannot add more to its own time than it can count.
  static constexpr std::chrono::hours kLongestWait{24};

  boost::asio::any_io_executor executor_;
  MemoryManager* manager_;  ///< nullptr: the end.
  std::chrono::microseconds interval_;
  boost::asio::steady_timer timer_;
  boost::asio::posix::stream_descriptor descriptor_;  ///< A duplicate of the engine's.
  int followed_ = -1;                                 ///< The engine's own.
  bool waiting_ = false;                              ///< For the descriptor.
  bool woken_ = false;
  std::map<std::uint64_t, Waiting> operations_;
  std::uint64_t next_number_ = 1;
};

}  // namespace sluice::inline manager
