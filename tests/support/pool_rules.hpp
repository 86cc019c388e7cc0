// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "support/manager_fixture.hpp"

namespace sluice::test {

/// In pages.
inline PoolRule rule_of(std::size_t least_free, std::size_t most_free, std::size_t step, std::size_t smallest,
                        std::size_t largest) {
  return {ManagerFixture::length(least_free), ManagerFixture::length(most_free), ManagerFixture::length(step),
          ManagerFixture::length(smallest), ManagerFixture::length(largest)};
}

}  // namespace sluice::test
