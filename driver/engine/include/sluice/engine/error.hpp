// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/base/result.hpp"

namespace sluice::inline engine {

/// What can go wrong between a caller and an engine. Zero is never used: it means success.
enum class DriverErrc {
  Busy = 1,         ///< The engine's queue is full. Collect completions, then try again.
  InvalidArgument,  ///< A value that no engine could accept.
  OutsideWindow,    ///< Memory that was not opened to the engine when it was created.
  DeviceMissing,    ///< The device does not identify itself as a scrub engine of a known version.
  EngineFailed,     ///< The engine has stopped for good; what it had in flight is reported as Failed.
  NoResources,      ///< The operating system or the device refused memory, threads or descriptors.
};

[[nodiscard]] const boost::system::error_category& driver_category() noexcept;
[[nodiscard]] boost::system::error_code make_error_code(DriverErrc errc) noexcept;

}  // namespace sluice::inline engine

/// @cond
template <>
struct boost::system::is_error_code_enum<sluice::DriverErrc> : std::true_type {};
/// @endcond
