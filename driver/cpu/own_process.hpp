// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>

namespace sluice::inline cpu {

/// Tells the process that made it from those that came from it by fork(). Asked with each job: it costs a system call
/// only where the kernel does not wipe a page in children (MADV_WIPEONFORK, Linux 4.14).
class OwnProcess {
 public:
  OwnProcess();
  OwnProcess(const OwnProcess&) = delete;
  OwnProcess& operator=(const OwnProcess&) = delete;
  ~OwnProcess();

  [[nodiscard]] pid_t id() const { return id_; }
  [[nodiscard]] bool is_this() const { return mark_ != nullptr ? mark_->load(std::memory_order_relaxed) : asks(); }

 private:
  [[nodiscard]] bool asks() const;

  pid_t id_;
  std::atomic<bool>* mark_ = nullptr;  // in a page of its own
};

}  // namespace sluice::inline cpu
