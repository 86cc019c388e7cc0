// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>
#include <sched.h>

#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

namespace sluice::bench {

/// While this lives, the thread that made it keeps one CPU for itself where the process has two or more. A kernel may
/// put a worker on the CPU of who wakes it and leave another idle; then a caller that looks for completions without
/// sleeping measures the kernel's changes from one to the other.
class OwnCpu {
 public:
  OwnCpu() {
    CPU_ZERO(&all_);
    ::pthread_getaffinity_np(::pthread_self(), sizeof all_, &all_);
    if (CPU_COUNT(&all_) < 2) return;
    cpu_set_t mine;
    CPU_ZERO(&mine);
    CPU_SET(::sched_getcpu(), &mine);
    CPU_XOR(&others_, &all_, &mine);
    ::pthread_setaffinity_np(::pthread_self(), sizeof mine, &mine);
    alone_ = true;
  }
  ~OwnCpu() {
    if (alone_) ::pthread_setaffinity_np(::pthread_self(), sizeof all_, &all_);
  }
  OwnCpu(const OwnCpu&) = delete;
  OwnCpu& operator=(const OwnCpu&) = delete;

  /// What `work` returns. Threads that it starts run on the other CPUs. It must not throw.
  template <class Work>
  [[nodiscard]] auto elsewhere(Work work) const {
    std::optional<std::invoke_result_t<Work>> returned;
    std::thread([&] {
      if (alone_) ::pthread_setaffinity_np(::pthread_self(), sizeof others_, &others_);
      returned.emplace(work());
    }).join();
    return std::move(*returned);
  }

 private:
  cpu_set_t all_{};
  cpu_set_t others_{};
  bool alone_ = false;
};

}  // namespace sluice::bench
