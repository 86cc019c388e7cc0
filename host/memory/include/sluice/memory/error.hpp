// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/base/result.hpp"

namespace sluice::inline memory {

/// What can go wrong between an embedding program and the memory manager. Every message names the value and a way out.
enum class HostErrc {
  InvalidArgument = 1,  ///< For example a length that is not a multiple of the page size.
  UnknownId,            ///< A VM, pool or trust group that was never created, or has ended.
  IdUsedBefore,         ///< Identifiers are never used again.
  ForeignCustomer,      ///< A pool or trust group of another customer.
  WrongState,           ///< The call does not fit what the VM or pool is doing now.
  NotHeld,              ///< Memory that the VM does not hold.
  OutOfMemory,          ///< Not enough memory that could be granted.
  ScrubUnavailable,     ///< The claim needs a scrub, and the engine has failed or refuses it.
  Abandoned,            ///< The claim was given up by its caller.
  NoResources,          ///< The operating system refused memory or descriptors.
  NotPermitted,         ///< The caller may not do that.
};

[[nodiscard]] const boost::system::error_category& host_category() noexcept;
[[nodiscard]] boost::system::error_code make_error_code(HostErrc errc) noexcept;

}  // namespace sluice::inline memory

/// @cond
template <>
struct boost::system::is_error_code_enum<sluice::HostErrc> : std::true_type {};
/// @endcond
