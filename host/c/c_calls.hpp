// SPDX-License-Identifier: Apache-2.0
// How functions of sluice.h call the manager.
#pragma once

#include <type_traits>

#include "c_api.hpp"

namespace sluice::c {

inline std::vector<sluice_range> ranges_of(const Grant& grant) {
  std::vector<sluice_range> ranges;
  ranges.reserve(grant.ranges.size());
  for (const GrantedRange& range : grant.ranges) {
    ranges.push_back(
        {range.memory.data(), range.memory.size(), range.fd, range.fd_offset, range.recycled ? 1 : 0, range.pattern});
  }
  return ranges;
}

/// What a function does with the manager. A handler may have begun to destroy it.
template <class Work>
int with_manager(sluice_manager* manager, Work work) noexcept {
  return guarded([&] {
    if (manager == nullptr) return missing("the manager");
    if (manager->state->manager() == nullptr) return fail(SLUICE_WRONG_STATE, "the manager is being destroyed");
    return work(*manager->state->manager());
  });
}

/// Starts a claim. Its handler gets the claim's number.
template <class Value, class Start>
int start_claim(sluice_manager* manager, const Waiting& who, std::uint64_t* claim, Start start) {
  return with_manager(manager, [&](MemoryManager& to) {
    if (who.handler == nullptr && who.report_handler == nullptr) return missing("the handler");
    State& state = *manager->state;
    const std::uint64_t ticket = state.expect(who);
    const auto answer = [&state, ticket](const Result<Value>& result) {
      if (!result) {
        state.answer(ticket, {.code = code_of(result.error()), .message = result.error().message});
      } else if constexpr (std::is_void_v<Value>) {
        state.answer(ticket, {});
      } else if constexpr (std::is_same_v<Value, SuspectReport>) {
        state.answer(ticket, {.report = *result});
      } else {
        state.answer(ticket, {.ranges = ranges_of(*result)});
      }
    };
    Result<ClaimId> started = [&]() -> Result<ClaimId> {
      try {
        return start(to, answer);
      } catch (...) {
        state.forget(ticket);
        throw;
      }
    }();
    if (!started) {
      state.forget(ticket);
      return fail(started.error());
    }
    state.started(ticket, started->value());
    if (claim != nullptr) *claim = started->value();
    return static_cast<int>(SLUICE_OK);
  });
}

}  // namespace sluice::c
