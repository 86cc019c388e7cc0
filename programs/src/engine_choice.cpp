// SPDX-License-Identifier: Apache-2.0
#include "engine_choice.hpp"

#include "sluice/driver/cpu_engine.hpp"
#include "sluice/sim/rtl_factory.hpp"

namespace sluice {
namespace {

std::vector<MemorySpan> windows_of(const BackingMemory& memory) {
  std::vector<MemorySpan> windows;
  windows.reserve(memory.bricks().size());
  for (const Brick& brick : memory.bricks()) windows.push_back(brick.memory);
  return windows;
}

}  // namespace

EngineRegistry make_engine_registry() {
  EngineRegistry registry;
  registry.add(sim::make_rtl_factory());
  return registry;
}

Result<std::unique_ptr<Engine>> make_engine(const EngineRegistry& registry, const EngineName& name,
                                            const BackingMemory& memory) {
  return registry.create(name, windows_of(memory));
}

Result<std::unique_ptr<Engine>> make_idle_engine(const BackingMemory& memory) {
  CpuOptions options;
  options.fill = [](MemorySpan /*memory*/, std::uint64_t /*pattern*/) { return true; };
  auto engine = CpuEngine::create(options, windows_of(memory));
  if (!engine) return engine.error();
  return std::unique_ptr<Engine>(std::move(*engine));
}

}  // namespace sluice
