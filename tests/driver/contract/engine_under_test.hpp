// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>

#include "sluice/engine/engine.hpp"

namespace sluice::test {

template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

/// What a contract test asks of the engine that it gets.
struct EngineWish {
  MemorySpan window;
  std::uint32_t max_jobs = 32;
  MemorySpan bad_range;  ///< Writes that touch it fail.
  bool stalls = false;   ///< It stops for good after some work, and says so after a short time-out.
  bool gated = false;    ///< It works only while the test lets it: see EngineUnderTest::let_work.
  std::uint64_t seed = 1;
};

/// How the contract suite makes one kind of engine and holds it back. The suite itself knows no engine.
class EngineUnderTest {
 public:
  EngineUnderTest() = default;
  EngineUnderTest(const EngineUnderTest&) = delete;
  EngineUnderTest& operator=(const EngineUnderTest&) = delete;
  virtual ~EngineUnderTest() = default;

  /// What the engine's jobs lie in, if it reaches only memory of its own; empty: any memory.
  [[nodiscard]] virtual MemorySpan memory(std::size_t /*length*/) { return {}; }
  [[nodiscard]] virtual std::unique_ptr<Engine> make(const EngineWish& wish) = 0;
  /// Gated engines: lets a little work happen and returns when it has.
  virtual void let_work(Engine& engine) = 0;
  /// Gated engines, and stalled ones before they are destroyed: lets everything happen from now on.
  virtual void open_gate() = 0;
};

struct EngineKind {
  std::string name;
  std::function<std::unique_ptr<EngineUnderTest>()> make;
  bool cuts = false;     ///< It works on several pieces of a job at once: what follows the prefix may be written, too.
  bool goes_on = false;  ///< When one of the engines in it stalls, another takes over.

  friend std::ostream& operator<<(std::ostream& out, const EngineKind& kind) { return out << kind.name; }
};

}  // namespace sluice::test
