// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace sluice::inline engine {

/// One descriptor for an engine that is made of others: readable while one that it follows is, and while its owner says
/// so. None of its descriptors is a standard one, even in a program that was started with those closed. Where the
/// system refuses descriptors it has none. One thread at a time.
class EventSource {
 public:
  /// `wake_every`: readable so often as well, so that a watchdog's owner is polled while nothing happens; 0: never.
  explicit EventSource(std::chrono::nanoseconds wake_every = std::chrono::nanoseconds(0));
  EventSource(const EventSource&) = delete;
  EventSource& operator=(const EventSource&) = delete;
  ~EventSource();

  /// -1: there is none.
  [[nodiscard]] int fd() const noexcept { return epoll_; }

  /// False: `fd` cannot be followed, and so this descriptor cannot be relied on. -1 never can.
  [[nodiscard]] bool follow(int fd);
  void leave(int fd);

  void set_readable(bool readable);
  /// To be called by whoever is polled: the owner has looked.
  void looked();

 private:
  int epoll_ = -1;
  int event_ = -1;
  int timer_ = -1;
  bool readable_ = false;
  std::chrono::nanoseconds wake_every_;
  std::chrono::steady_clock::time_point next_wake_{};
};

}  // namespace sluice::inline engine
