// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "sluice/driver/cpu_engine.hpp"
#include "sluice/driver/ring_engine.hpp"
#include "sluice/host/backing_memory.hpp"
#include "sluice/sim/simulated_device.hpp"

namespace sluice {

struct EngineChoice {
  std::string kind = "rtl";  ///< "rtl" or "cpu"
  sim::SimOptions sim;
  std::chrono::microseconds stall_timeout{1000};  ///< rtl, on the simulated clock
  std::uint32_t cpu_threads = 1;
  bool skip_writes = false;  ///< For tests: report everything as zeroed and write nothing.
};

/// An engine and, for a ring engine, its own face.
struct ChosenEngine {
  std::unique_ptr<Engine> engine;
  RingEngine* ring = nullptr;
};

/// Makes the engine and opens the pool's memory to it.
[[nodiscard]] Result<ChosenEngine> make_engine(const EngineChoice& choice, const BackingMemory& memory);

}  // namespace sluice
