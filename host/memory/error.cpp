// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/error.hpp"

namespace sluice::inline memory {
namespace {

class HostCategory final : public boost::system::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "sluice.host"; }

  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<HostErrc>(value)) {
      case HostErrc::InvalidArgument:
        return "invalid argument";
      case HostErrc::UnknownId:
        return "unknown identifier";
      case HostErrc::IdUsedBefore:
        return "identifier was used before";
      case HostErrc::ForeignCustomer:
        return "belongs to another customer";
      case HostErrc::WrongState:
        return "not possible in this state";
      case HostErrc::NotHeld:
        return "memory is not held by the VM";
      case HostErrc::OutOfMemory:
        return "out of memory";
      case HostErrc::ScrubUnavailable:
        return "no engine can scrub";
      case HostErrc::Abandoned:
        return "claim was abandoned";
      case HostErrc::NoResources:
        return "a resource was refused";
      case HostErrc::NotPermitted:
        return "not permitted";
    }
    return "unknown error";
  }
};

}  // namespace

const boost::system::error_category& host_category() noexcept {
  static const HostCategory category;
  return category;
}

boost::system::error_code make_error_code(HostErrc errc) noexcept { return {static_cast<int>(errc), host_category()}; }

}  // namespace sluice::inline memory
