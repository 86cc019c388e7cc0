// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/device/raw_engine.hpp"
#include "support/memory.hpp"
#include "support/wave.hpp"

namespace sluice::test {

/// Memory that is there before the engine is.
struct RawEngineData {
  Memory memory;
};

/// RawEngine with memory of its own.
class RawEngine : private RawEngineData, public device::RawEngine {
 public:
  explicit RawEngine(SimOptions options = {}, std::size_t data_bytes = 1 << 20, std::uint32_t ring_log2 = 4)
      : RawEngineData{Memory(data_bytes)}, device::RawEngine(with_waves(std::move(options)), memory.all(), ring_log2) {}

  [[nodiscard]] const Memory& data() const { return memory; }

 private:
  static SimOptions with_waves(SimOptions options) {
    if (options.wave_file.empty()) options.wave_file = wave_file();
    return options;
  }
};

}  // namespace sluice::test
