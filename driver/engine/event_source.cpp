// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/event_source.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>

#include "sluice/base/descriptor.hpp"

namespace sluice::inline engine {
namespace {

int make_timer(std::chrono::nanoseconds period) {
  const int timer = above_standard(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(period);
  const timespec time{seconds.count(), (period - seconds).count()};
  const itimerspec setting{time, time};
  if (timer >= 0) ::timerfd_settime(timer, 0, &setting, nullptr);
  return timer;
}

}  // namespace

EventSource::EventSource(std::chrono::nanoseconds wake_every) : wake_every_(wake_every) {
  epoll_ = above_standard(::epoll_create1(EPOLL_CLOEXEC));
  event_ = above_standard(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  bool complete = follow(event_);
  if (wake_every_.count() > 0) {
    timer_ = make_timer(wake_every_);
    next_wake_ = std::chrono::steady_clock::now() + wake_every_;
    complete = follow(timer_) && complete;
  }
  if (complete || epoll_ < 0) return;
  ::close(epoll_);
  epoll_ = -1;
}

EventSource::~EventSource() {
  for (const int fd : {timer_, event_, epoll_}) {
    if (fd >= 0) ::close(fd);
  }
}

bool EventSource::follow(int fd) {
  if (fd < 0 || epoll_ < 0) return false;
  epoll_event event{};
  event.events = EPOLLIN;
  return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void EventSource::leave(int fd) {
  if (fd >= 0 && epoll_ >= 0) ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

void EventSource::set_readable(bool readable) {
  if (readable == readable_ || event_ < 0) return;
  readable_ = readable;
  std::uint64_t count = 1;
  const auto done = readable ? ::write(event_, &count, sizeof count) : ::read(event_, &count, sizeof count);
  static_cast<void>(done);  // an eventfd that was never full or empty
}

void EventSource::looked() {
  if (timer_ < 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_wake_) return;
  next_wake_ = now + wake_every_;
  std::uint64_t count = 0;
  static_cast<void>(::read(timer_, &count, sizeof count));
}

}  // namespace sluice::inline engine
