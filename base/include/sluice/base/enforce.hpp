// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/assert/source_location.hpp>
#include <cstdio>
#include <cstdlib>

namespace sluice::inline base {

/// Checks a promise, in every build: a crash beats a leak.
inline void enforce(bool holds, const char* promise, const boost::source_location& where = BOOST_CURRENT_LOCATION) {
  if (holds) [[likely]]
    return;
  std::fprintf(stderr, "sluice: broken promise: %s (%s:%u)\n", promise, where.file_name(), where.line());
  std::abort();
}

}  // namespace sluice::inline base
