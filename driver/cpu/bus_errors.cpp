// SPDX-License-Identifier: Apache-2.0
#include "sluice/cpu/bus_errors.hpp"

#include <ucontext.h>

#include <csetjmp>
#include <csignal>
#include <mutex>

namespace sluice::inline cpu {
namespace {

struct Guarded {
  MemorySpan memory;
  sigjmp_buf back;
  sigset_t blocked;  ///< Signals that were, when the error came.
};

thread_local Guarded* guarded = nullptr;  ///< What this thread is in.

struct sigaction before {};

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const auto* const address = static_cast<const std::byte*>(info->si_addr);
  if (guarded != nullptr && address >= guarded->memory.data() &&
      address < guarded->memory.data() + guarded->memory.size()) {
    guarded->blocked = static_cast<const ucontext_t*>(context)->uc_sigmask;
    siglongjmp(guarded->back, 1);
  }
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  } else {
    ::sigaction(signal, &before, nullptr);  // the access is tried again, and the process ends as if nobody had asked
  }
}

}  // namespace

void catch_bus_errors() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &before);
  });
}

bool survives(MemorySpan memory, void (*access)(void* context), void* context) {
  Guarded here;
  here.memory = memory;
  if (sigsetjmp(here.back, 0) == 0) {
    guarded = &here;
    access(context);
    guarded = nullptr;
    return true;
  }
  // To jump out of a handler leaves signals blocked; to save them before each access would cost a system call.
  ::pthread_sigmask(SIG_SETMASK, &here.blocked, nullptr);
  guarded = nullptr;
  return false;
}

}  // namespace sluice::inline cpu
