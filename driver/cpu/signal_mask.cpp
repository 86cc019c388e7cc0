// SPDX-License-Identifier: Apache-2.0
#include "signal_mask.hpp"

#include <initializer_list>

namespace sluice::inline cpu {

SignalMask::SignalMask(Of thread) {
  sigset_t set;
  if (thread == Of::Helper) {
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGBUS);
    ::pthread_sigmask(SIG_UNBLOCK, &set, &before_);
    changed_ = ::sigismember(&before_, SIGBUS) == 1;
    return;
  }
  ::sigfillset(&set);
  for (const int own : {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGSYS}) ::sigdelset(&set, own);
  ::pthread_sigmask(SIG_SETMASK, &set, &before_);
}

SignalMask::~SignalMask() {
  if (changed_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace sluice::inline cpu
