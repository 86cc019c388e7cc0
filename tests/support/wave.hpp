// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <string>

namespace sluice::test {

/// Where the simulated engine of a test writes its waves: SLUICE_WAVE=file.fst in the environment. Run one test at a
/// time with it (--gtest_filter): each engine starts the file anew.
inline std::string wave_file() {
  const char* const file = std::getenv("SLUICE_WAVE");
  return file == nullptr ? "" : file;
}

}  // namespace sluice::test
