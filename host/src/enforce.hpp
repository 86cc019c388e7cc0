// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace sluice {

/// Checks a promise, in every build: a crash beats a leak.
inline void enforce(bool holds, const char* promise,
                    const std::source_location where = std::source_location::current()) {
  if (holds) [[likely]] return;
  std::fprintf(stderr, "sluice: broken promise: %s (%s:%u)\n", promise, where.file_name(), where.line());
  std::abort();
}

}  // namespace sluice
