// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/base/units.hpp"

namespace sluice::inline cpu {

/// Makes this process survive, inside survives(), memory that is not there any more: the kernel answers with SIGBUS
/// when a file was cut, when no huge page is left, and when the machine has found the memory broken. All other SIGBUS
/// goes to whoever handled it before. The first call installs the handler; thread-safe.
void catch_bus_errors();

/// Calls `access`, which reads or writes `memory` and nothing else of which a SIGBUS may come, and has no destructors
/// to run. False: it was left in the middle.
bool survives(MemorySpan memory, void (*access)(void* context), void* context);

template <class Access>
bool survives(MemorySpan memory, Access access) {
  return survives(
      memory, [](void* context) { (*static_cast<Access*>(context))(); }, &access);
}

}  // namespace sluice::inline cpu
