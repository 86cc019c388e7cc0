// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <csignal>

namespace sluice {

namespace detail {
inline std::atomic<bool> stop_requested{false};
}

/// True once the user has asked the program to stop (SIGINT or SIGTERM), which from now on does not end it.
inline const std::atomic<bool>& stop_on_signals() {
  const auto request = [](int /*signal*/) { detail::stop_requested.store(true, std::memory_order_relaxed); };
  std::signal(SIGINT, request);
  std::signal(SIGTERM, request);
  return detail::stop_requested;
}

}  // namespace sluice
