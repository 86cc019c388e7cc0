// SPDX-License-Identifier: Apache-2.0
#include "completion_signal.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "sluice/base/descriptor.hpp"

namespace sluice::inline cpu {
namespace {

constexpr long kSoon = 1'000'000;  // nanoseconds

bool watch(int both, int descriptor) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = descriptor;
  return ::epoll_ctl(both, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

void drain(int descriptor) {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(descriptor, &count, sizeof count);
}

}  // namespace

Result<std::unique_ptr<CompletionSignal>> CompletionSignal::create() {
  const int event = above_standard(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const int timer = above_standard(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const int both = above_standard(::epoll_create1(EPOLL_CLOEXEC));
  std::unique_ptr<CompletionSignal> signal(new CompletionSignal(event, timer, both));
  if (event >= 0 && timer >= 0 && both >= 0 && watch(both, event) && watch(both, timer)) return signal;
  return Error{DriverErrc::NoResources,
               fmt::format("no descriptor for completions: {}; raise the limit of open files (ulimit -n)",
                           std::strerror(errno))};
}

CompletionSignal::~CompletionSignal() {
  for (const int descriptor : {both_, timer_, event_}) {
    if (descriptor >= 0) ::close(descriptor);
  }
}

int CompletionSignal::descriptor() {
  used_ = true;
  return both_;
}

void CompletionSignal::raise() {
  if (!used_ || now_) return;
  now_ = true;
  raised_.store(true, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto put = ::write(event_, &one, sizeof one);
}

void CompletionSignal::raise_soon() {
  if (!used_ || now_ || soon_) return;
  soon_ = true;
  raised_.store(true, std::memory_order_relaxed);
  set_timer(kSoon);
}

void CompletionSignal::clear() {
  if (soon_) set_timer(0);  // disarmed, and no longer readable
  if (now_) drain(event_);
  now_ = soon_ = false;
  raised_.store(false, std::memory_order_relaxed);
}

void CompletionSignal::set_timer(long nanoseconds) const {
  const itimerspec in{{}, {0, nanoseconds}};
  ::timerfd_settime(timer_, 0, &in, nullptr);
}

}  // namespace sluice::inline cpu
