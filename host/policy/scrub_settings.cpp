// SPDX-License-Identifier: Apache-2.0
#include "sluice/policy/scrub_settings.hpp"

namespace sluice::inline policy {

Fill fill_of(const ScrubSettings& settings) {
  switch (settings.method) {
    case FillMethod::Zeros:
      return {};
    case FillMethod::Ones:
      return {.pattern = ~0ULL};
    case FillMethod::Pattern:
      return {.pattern = settings.pattern};
    case FillMethod::Random:
      return {.random = true};
    case FillMethod::Erase:
      return {.verify = true};
  }
  return {};
}

}  // namespace sluice::inline policy
