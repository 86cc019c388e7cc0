// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sluice::inline memory {

/// What an extent is, or is to be, filled with.
struct Fill {
  std::uint64_t pattern = 0;
  bool random = false;  ///< The next scrub chooses what nobody can predict.
  bool verify = false;  ///< Clean only after it was read back and found equal. With `random`: of a repeated pattern.
  bool operator==(const Fill&) const = default;
};

}  // namespace sluice::inline memory
