// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <string_view>
#include <utility>

#include "sluice/base/parse.hpp"
#include "sluice/engine/engine_options.hpp"

namespace sluice::inline pmd {

/// What the arguments of the device say: [strict=0|1,][engine=NAME]. The name goes to the end, with its commas.
struct Arguments {
  bool strict = false;  ///< Only what the engine does itself: no copies.
  EngineName engine;

  static Result<Arguments> parse(std::string_view text) {
    Arguments arguments;
    std::string_view engine = "rtl";
    while (!text.empty()) {
      if (text.starts_with("engine=")) {
        engine = text.substr(std::strlen("engine="));
        break;
      }
      const std::string_view item = text.substr(0, text.find(','));
      if (item != "strict=0" && item != "strict=1") {
        return Error{DriverErrc::InvalidArgument,
                     fmt::format("{} is not understood: give strict=0 or strict=1, then engine=NAME", in_quotes(item))};
      }
      arguments.strict = item == "strict=1";
      text.remove_prefix(std::min(text.size(), item.size() + 1));
    }
    auto name = EngineName::parse(engine);
    if (!name) return name.error();
    arguments.engine = std::move(*name);
    return arguments;
  }
};

}  // namespace sluice::inline pmd
