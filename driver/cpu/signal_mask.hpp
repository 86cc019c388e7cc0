// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>

namespace sluice::inline cpu {

/// The signals of this thread, as they were, are back when it ends.
class SignalMask {
 public:
  enum class Of : unsigned char {
    Worker,  ///< All are blocked, so that the program's handlers run on the program's threads; but not those that an
             ///< instruction of the thread itself causes: the kernel ends a process that blocks one of these.
    Helper,  ///< As it is, but SIGBUS comes through.
  };
  explicit SignalMask(Of thread);
  SignalMask(const SignalMask&) = delete;
  SignalMask& operator=(const SignalMask&) = delete;
  ~SignalMask();

 private:
  sigset_t before_;
  bool changed_ = true;
};

}  // namespace sluice::inline cpu
