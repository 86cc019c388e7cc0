// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/engine.hpp"

namespace sluice::inline engine {

bool offers(const EngineCapabilities& engine, Operation operation) {
  switch (operation) {
    case Operation::Fill:
      return true;
    case Operation::Verify:
    case Operation::FillVerify:
      return engine.verifies;
    case Operation::FillRandom:
      return engine.fills_random;
  }
  return false;
}

bool reads_back(Operation operation) {
  switch (operation) {
    case Operation::Fill:
    case Operation::FillRandom:
      return false;
    case Operation::Verify:
    case Operation::FillVerify:
      return true;
  }
  return false;
}

std::string to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::Zeroed:
      return "zeroed";
    case Outcome::Cancelled:
      return "cancelled";
    case Outcome::Failed:
      return "failed";
  }
  return "unknown";
}

std::string to_string(FailureCause cause) {
  switch (cause) {
    case FailureCause::None:
      return "none";
    case FailureCause::BadDescriptor:
      return "bad descriptor";
    case FailureCause::OutsideWindow:
      return "outside the window";
    case FailureCause::SlaveError:
      return "slave error";
    case FailureCause::DecodeError:
      return "decode error";
    case FailureCause::Timeout:
      return "timeout";
    case FailureCause::EngineFault:
      return "engine fault";
    case FailureCause::Mismatch:
      return "mismatch";
  }
  return "unknown";
}

}  // namespace sluice::inline engine
