// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "sluice/ring/ring_format.hpp"
#include "sluice/ring/transport.hpp"
#include "support/memory.hpp"

namespace sluice::test {

/// Registers that remember what was written, and rings in ordinary memory.
class ScriptedTransport final : public Transport {
 public:
  struct Script {
    std::map<std::uint32_t, std::uint32_t> registers = {
        {ring::kRegId, ring::kId}, {ring::kRegVersion, ring::kVersion}, {ring::kRegCapabilities, 0x00080106}};
    std::vector<std::unique_ptr<Memory>> rings;
    std::chrono::nanoseconds time{0};
    std::function<void(Script&)> on_advance = [](Script& /*script*/) {};
    std::function<void(std::uint32_t offset, std::uint32_t value)> on_write = [](std::uint32_t, std::uint32_t) {};
    bool forgets_writes = false;
    bool never_rests = false;

    void post(std::uint32_t index, std::uint16_t slot, std::uint32_t generation, std::uint8_t outcome,
              std::uint8_t cause, std::uint64_t bytes) {
      ring::CompletionEntry entry;
      entry.low = bytes | static_cast<std::uint64_t>(slot) << 48;
      entry.high =
          generation | static_cast<std::uint64_t>(outcome) << 32 | static_cast<std::uint64_t>(cause) << 40 | 1ULL << 63;
      std::memcpy(rings.at(1)->all().data() + index * sizeof entry, &entry, sizeof entry);
    }
  };

  explicit ScriptedTransport(Script& script) : script_(script) {}

  std::uint32_t read_register(std::uint32_t offset) override { return script_.registers[offset]; }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    if (script_.forgets_writes) return;
    script_.registers[offset] = value;
    script_.on_write(offset, value);
    // A reset is over at once, and says so.
    if (offset == ring::kRegCtrl && !script_.never_rests) script_.registers[offset] &= ~ring::kEngineCtrlReset;
  }
  Result<DmaBuffer> allocate_ring(ByteCount length) override {
    script_.rings.push_back(std::make_unique<Memory>((length.value() + 4095) / 4096 * 4096));
    return DmaBuffer{script_.rings.back()->all().first(length.value()), Iova(script_.rings.size() << 20)};
  }
  Result<Iova> map(MemorySpan memory) override { return Iova(reinterpret_cast<std::uintptr_t>(memory.data())); }
  void advance() override {
    script_.time += std::chrono::milliseconds(1);
    script_.on_advance(script_);
  }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return script_.time; }

 private:
  Script& script_;
};

}  // namespace sluice::test
