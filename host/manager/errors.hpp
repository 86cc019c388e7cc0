// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include "sluice/base/ids.hpp"
#include "sluice/memory/backing_memory.hpp"

namespace sluice::inline manager::errors {

inline Error used_before(const char* kind, std::uint64_t id) {
  return {HostErrc::IdUsedBefore, fmt::format("{} {} exists or has existed: identifiers are never used again, choose a "
                                              "new one",
                                              kind, id)};
}

inline Error unset(const char* what) {
  return {HostErrc::InvalidArgument, fmt::format("{} id 0 means none: give an id from 1", what)};
}

inline Error unknown(const char* kind, std::uint64_t id) {
  return {HostErrc::UnknownId, fmt::format("{} {} does not exist: create it first", kind, id)};
}

inline Error foreign(const char* kind, std::uint64_t id, CustomerId customer) {
  return {HostErrc::ForeignCustomer,
          fmt::format("{} {} is not customer {}'s: choose one of its own", kind, id, customer.value())};
}

inline Error scrub_unavailable(const Error& why) {
  return {HostErrc::ScrubUnavailable, "the claim needs a scrub and " + why.message};
}

inline Result<void> check_length(ByteCount length, ByteCount unit) {
  if (length > ByteCount(0) && length.value() % unit.value() == 0) return {};
  return Error{HostErrc::InvalidArgument,
               fmt::format("a length of {} bytes: give a multiple of {} bytes", length.value(), unit.value())};
}

}  // namespace sluice::inline manager::errors
