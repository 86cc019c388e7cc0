// SPDX-License-Identifier: Apache-2.0
// What the parts of the C interface share: its objects, and how errors leave it.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <unordered_map>

#include "sluice/engine/engine_registry.hpp"
#include "sluice/manager/memory_manager.hpp"
#include "sluice/sluice.h"

struct sluice_memory {
  std::unique_ptr<sluice::BackingMemory> memory;
};
struct sluice_engine {
  sluice::EngineRegistry registry;
  std::unique_ptr<sluice::Engine> engine;
};
struct sluice_ledger {
  std::unique_ptr<sluice::Ledger> ledger;
};
struct sluice_manager {
  sluice::Engine* engine;
  std::unique_ptr<sluice::MemoryManager> manager;
  /// Numbers of those whose handlers are to be called, by ticket.
  std::unordered_map<std::uint64_t, std::uint64_t> claims{};
  std::uint64_t next_ticket = 0;
};

namespace sluice::c {

inline thread_local std::string last_message;

inline int fail(int code, const std::string& message) {
  last_message = message;
  return code;
}

inline int code_of(const Error& error) {
  if (error.code.category() == sluice::host_category()) return error.code.value();
  return SLUICE_ENGINE;
}

inline int fail(const Error& error) { return fail(code_of(error), error.message); }

template <class Value>
int code_of(const Result<Value>& result) {
  return result ? SLUICE_OK : fail(result.error());
}

/// No exception leaves a call.
template <class Work>
int guarded(Work work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return fail(SLUICE_NO_RESOURCES, "out of heap memory");
  } catch (const std::exception& error) {
    return fail(SLUICE_INTERNAL, error.what());
  } catch (...) {
    return fail(SLUICE_INTERNAL, "an unknown exception");
  }
}

inline int missing(const char* what) {
  return fail(SLUICE_INVALID_ARGUMENT, fmt::format("{} is NULL: give one", what));
}

inline bool known_pages(int pages) { return pages >= SLUICE_PAGES_SMALL && pages <= SLUICE_PAGES_1GIB; }

inline int unknown_pages(int pages) {
  return fail(SLUICE_INVALID_ARGUMENT, fmt::format("pages {}: give SLUICE_PAGES_SMALL, _2MIB or _1GIB", pages));
}

}  // namespace sluice::c
