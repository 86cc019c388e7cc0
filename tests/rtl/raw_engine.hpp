// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/sim/raw_engine.hpp"
#include "support/memory.hpp"
#include "support/wave.hpp"

namespace sluice::test {

/// Memory that is there before the engine is.
struct RawEngineData {
  Memory memory;
};

/// sim::RawEngine with memory of its own.
class RawEngine : private RawEngineData, public sim::RawEngine {
 public:
  explicit RawEngine(sim::SimOptions options = {}, std::size_t data_bytes = 1 << 20, std::uint32_t ring_log2 = 4)
      : RawEngineData{Memory(data_bytes)}, sim::RawEngine(with_waves(std::move(options)), memory.all(), ring_log2) {}

  [[nodiscard]] const Memory& data() const { return memory; }

 private:
  static sim::SimOptions with_waves(sim::SimOptions options) {
    if (options.wave_file.empty()) options.wave_file = wave_file();
    return options;
  }
};

}  // namespace sluice::test
