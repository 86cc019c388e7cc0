// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/engine_choice.hpp"

#include "sluice/bench/auto_factory.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/device/rtl_factory.hpp"

#ifndef SLUICE_DMADEV_PLUGIN
#define SLUICE_DMADEV_PLUGIN "sluice_engine_dmadev.so"
#endif
#ifndef SLUICE_XRT_PLUGIN
#define SLUICE_XRT_PLUGIN "sluice_engine_xrt.so"
#endif

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
  EngineRegistry registry = make_plain_registry();
  registry.add(make_auto_factory(make_plain_registry()));
  return registry;
}

EngineRegistry make_plain_registry() {
  EngineRegistry registry;
  registry.add(make_cpu_factory());
  registry.add(make_rtl_factory());
  registry.add_plugin("dmadev", SLUICE_DMADEV_PLUGIN);
  registry.add_plugin("xrt", SLUICE_XRT_PLUGIN);
  return registry;
}

Result<std::unique_ptr<FailoverEngine>> make_engine(const EngineRegistry& registry,
                                                    const std::vector<EngineName>& names, const BackingMemory& memory,
                                                    const FailoverOptions& options) {
  std::vector<EngineCandidate> candidates;
  candidates.reserve(names.size());
  for (const EngineName& name : names) {
    candidates.push_back({name.text, [&registry, &memory, name] { return registry.create(name, windows_of(memory)); }});
  }
  return FailoverEngine::create(std::move(candidates), options);
}

Result<std::unique_ptr<FailoverEngine>> make_idle_engine(const BackingMemory& memory) {
  const auto make = [&memory]() -> Result<std::unique_ptr<Engine>> {
    CpuOptions options;
    options.fill = [](MemorySpan /*memory*/, std::uint64_t /*pattern*/) { return true; };
    auto engine = CpuEngine::create(options, windows_of(memory));
    if (!engine) return engine.error();
    return std::unique_ptr<Engine>(std::move(*engine));
  };
  return FailoverEngine::create({{"idle", make}}, {});
}

}  // namespace sluice
