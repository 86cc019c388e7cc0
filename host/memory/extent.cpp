// SPDX-License-Identifier: Apache-2.0
#include "sluice/memory/extent.hpp"

namespace sluice::inline memory {

std::string_view to_string(ExtentState state) {
  switch (state) {
    case ExtentState::Owned:
      return "Owned";
    case ExtentState::Reserved:
      return "Reserved";
    case ExtentState::Dirty:
      return "Dirty";
    case ExtentState::Scrubbing:
      return "Scrubbing";
    case ExtentState::Cancelling:
      return "Cancelling";
    case ExtentState::Clean:
      return "Clean";
    case ExtentState::Quarantined:
      return "Quarantined";
  }
  return "unknown";
}

std::string_view to_string(ExtentEvent event) {
  switch (event) {
    case ExtentEvent::Grant:
      return "Grant";
    case ExtentEvent::Reserve:
      return "Reserve";
    case ExtentEvent::Release:
      return "Release";
    case ExtentEvent::StartScrub:
      return "StartScrub";
    case ExtentEvent::RequestCancel:
      return "RequestCancel";
    case ExtentEvent::ScrubZeroed:
      return "ScrubZeroed";
    case ExtentEvent::ScrubCancelled:
      return "ScrubCancelled";
    case ExtentEvent::ScrubFailed:
      return "ScrubFailed";
  }
  return "unknown";
}

std::optional<ExtentState> next_state(ExtentState state, ExtentEvent event) {
  const auto when = [event](ExtentEvent expected, ExtentState next) {
    return event == expected ? std::optional(next) : std::nullopt;
  };
  switch (state) {
    case ExtentState::Owned:
      if (event == ExtentEvent::Reserve) return ExtentState::Reserved;
      return when(ExtentEvent::Release, ExtentState::Dirty);
    case ExtentState::Reserved:
      if (event == ExtentEvent::Grant) return ExtentState::Owned;
      return when(ExtentEvent::Release, ExtentState::Dirty);
    case ExtentState::Dirty:
      if (event == ExtentEvent::Grant) return ExtentState::Owned;
      return when(ExtentEvent::StartScrub, ExtentState::Scrubbing);
    case ExtentState::Scrubbing:
      if (event == ExtentEvent::RequestCancel) return ExtentState::Cancelling;
      [[fallthrough]];
    case ExtentState::Cancelling:
      if (event == ExtentEvent::ScrubZeroed) return ExtentState::Clean;
      if (event == ExtentEvent::ScrubCancelled) return ExtentState::Dirty;
      return when(ExtentEvent::ScrubFailed, ExtentState::Quarantined);
    case ExtentState::Clean:
      if (event == ExtentEvent::Grant) return ExtentState::Owned;
      return when(ExtentEvent::StartScrub, ExtentState::Scrubbing);
    case ExtentState::Quarantined:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace sluice::inline memory
