// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/error.hpp"

namespace sluice::inline engine {
namespace {

class DriverCategory final : public boost::system::error_category {
 public:
  DriverCategory() : error_category(0x5C8B'10E5'D21F'E401ULL) {}  // the same category in a plugin's copy of this code

  [[nodiscard]] const char* name() const noexcept override { return "sluice.driver"; }

  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<DriverErrc>(value)) {
      case DriverErrc::Busy:
        return "the engine's queue is full";
      case DriverErrc::InvalidArgument:
        return "invalid argument";
      case DriverErrc::OutsideWindow:
        return "memory outside the engine's windows";
      case DriverErrc::DeviceMissing:
        return "no scrub engine found";
      case DriverErrc::EngineFailed:
        return "the engine has failed";
      case DriverErrc::NoResources:
        return "a resource was refused";
    }
    return "unknown error";
  }
};

}  // namespace

const boost::system::error_category& driver_category() noexcept {
  static const DriverCategory category;
  return category;
}

boost::system::error_code make_error_code(DriverErrc errc) noexcept {
  return {static_cast<int>(errc), driver_category()};
}

}  // namespace sluice::inline engine
