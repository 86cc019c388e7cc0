// SPDX-License-Identifier: Apache-2.0
// What the parts of the C interface share: its objects, and how errors leave it.
#pragma once

#include <fmt/format.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/engine/engine_registry.hpp"
#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/ledger.hpp"
#include "sluice/sluice.h"

namespace sluice::c {

// What the handles stand for. A manager keeps what it uses, so destroying things in another order than sluice.h says
// does no harm; and each of them serves one manager at a time.

struct Used {
  bool by_manager = false;
};
struct Memory : Used {
  std::unique_ptr<BackingMemory> memory;
};
struct OpenEngine : Used {
  std::shared_ptr<Memory> memory;  ///< What it may write; an engine of the caller has none.
  EngineRegistry registry;
  std::unique_ptr<Engine> engine;
};
struct OpenLedger : Used {
  std::unique_ptr<Ledger> ledger;
};

/// A claim whose handler is to be called.
struct Waiting {
  sluice_handler handler = nullptr;
  void* context = nullptr;
  VmId vm;                                         ///< Unset: of a pool, or a test.
  sluice_report_handler report_handler = nullptr;  ///< Of a test, which has no other.
  std::uint64_t number = 0;
};
/// With what.
struct Answer {
  int code = SLUICE_OK;
  std::string message = {};
  std::vector<sluice_range> ranges = {};
  SuspectReport report = {};
};

/// A manager and its claims. Handlers are called when no function of the manager is under way, so they may call all of
/// sluice.h, and destroy the manager too; whoever calls them holds a State of its own.
class State {
 public:
  State(std::shared_ptr<Memory> memory, std::shared_ptr<OpenEngine> engine, std::shared_ptr<OpenLedger> ledger,
        std::unique_ptr<MemoryManager> manager);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /// nullptr: it is being destroyed.
  [[nodiscard]] MemoryManager* manager() const { return manager_.get(); }
  /// Before a claim is started: its ticket.
  [[nodiscard]] std::uint64_t expect(const Waiting& who);
  void started(std::uint64_t ticket, std::uint64_t number) { waiting_.at(ticket).number = number; }
  void forget(std::uint64_t ticket) { waiting_.erase(ticket); }
  void answer(std::uint64_t ticket, Answer answer);
  /// Whether a VM has a claim that ended and whose handler has not been called.
  [[nodiscard]] bool has_answer_for(VmId vm) const;
  [[nodiscard]] bool has_answers() const { return !answers_.empty(); }
  /// Calls handlers until there are no more answers.
  void deliver() noexcept;
  /// Ends the manager, and all claims with it.
  void end() noexcept;

 private:
  std::shared_ptr<Memory> memory_;
  std::shared_ptr<OpenEngine> engine_;
  std::shared_ptr<OpenLedger> ledger_;
  std::unique_ptr<MemoryManager> manager_;
  std::map<std::uint64_t, Waiting> waiting_;  ///< By ticket, which are in the order of the claims.
  std::deque<std::pair<Waiting, Answer>> answers_;
  std::uint64_t next_ticket_ = 0;
};

}  // namespace sluice::c

struct sluice_memory {
  std::shared_ptr<sluice::c::Memory> object;
};
struct sluice_engine {
  std::shared_ptr<sluice::c::OpenEngine> object;
};
struct sluice_ledger {
  std::shared_ptr<sluice::c::OpenLedger> object;
};
struct sluice_manager {
  std::shared_ptr<sluice::c::State> state;
};

namespace sluice::c {

inline thread_local std::string last_message;

/// Never throws: a message for which there is no memory is empty.
inline int fail(int code, std::string_view message) noexcept {
  try {
    last_message.assign(message);
  } catch (...) {
    last_message.clear();
  }
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

/// The message of a call that has no code.
template <class Value>
Value nothing(Value value, const char* what) noexcept {
  static_cast<void>(guarded([&] { return fail(SLUICE_INVALID_ARGUMENT, fmt::format("{} is NULL: give one", what)); }));
  return value;
}

inline int missing(const char* what) {
  return fail(SLUICE_INVALID_ARGUMENT, fmt::format("{} is NULL: give one", what));
}

inline bool known_pages(int pages) { return pages >= SLUICE_PAGES_SMALL && pages <= SLUICE_PAGES_1GIB; }

inline int unknown_pages(int pages) {
  return fail(SLUICE_INVALID_ARGUMENT, fmt::format("pages {}: give SLUICE_PAGES_SMALL, _2MIB or _1GIB", pages));
}

}  // namespace sluice::c
