// SPDX-License-Identifier: Apache-2.0
#include "engine_choice.hpp"

namespace sluice {

Result<ChosenEngine> make_engine(const EngineChoice& choice, const BackingMemory& memory) {
  std::vector<MemorySpan> windows;
  for (const Brick& brick : memory.bricks()) windows.push_back(brick.memory);
  if (choice.kind == "cpu") {
    CpuOptions options;
    options.threads = choice.cpu_threads;
    if (choice.skip_writes) options.fill = [](MemorySpan, std::uint64_t) { return true; };
    auto engine = CpuEngine::create(options, windows);
    if (!engine) return engine.error();
    return ChosenEngine{std::move(*engine), nullptr};
  }
  if (choice.skip_writes) {
    return Error{DriverErrc::InvalidArgument, "writes can be skipped only with --engine cpu"};
  }
  auto device = sim::SimulatedDevice::create(choice.sim);
  if (!device) return device.error();
  RingOptions options;
  options.stall_timeout = choice.stall_timeout;
  auto engine = RingEngine::create(std::move(*device), options, windows);
  if (!engine) return engine.error();
  RingEngine* const ring = engine->get();
  return ChosenEngine{std::move(*engine), ring};
}

}  // namespace sluice
